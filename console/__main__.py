from common.process import run
from console.app import build

if __name__ == "__main__":
    run("console", build)
