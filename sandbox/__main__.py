from common.process import run
from sandbox.app import build

if __name__ == "__main__":
    run("sandbox", build)
