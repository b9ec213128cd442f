from common.process import run
from coupon.app import build

if __name__ == "__main__":
    run("coupon", build)
