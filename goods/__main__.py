from common.process import run
from goods.app import build

if __name__ == "__main__":
    run("goods", build)
