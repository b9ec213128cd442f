from common.process import run
from order.app import build

if __name__ == "__main__":
    run("order", build)
