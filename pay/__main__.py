from common.process import run
from pay.app import build

if __name__ == "__main__":
    run("pay", build)
