from common.process import run
from stock.app import build

if __name__ == "__main__":
    run("stock", build)
