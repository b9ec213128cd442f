"""What `halfmessage drill --app examples/order_two_ways/app.py` does with the shop, and what must hold."""

from app import app, engine, shop
from shop import Base, Coupon, Goods, Order
from sqlalchemy import func, select
from sqlalchemy.orm import Session

MANY = 100


def prepare() -> None:
    Base.metadata.create_all(engine)
    with Session(engine) as session, session.begin():
        session.add_all([Goods(id=1, left=MANY), Coupon(id=1, left=MANY), Coupon(id=2, left=0)])


def act_saga(key: int) -> None:
    app.test_client().post(f"/orders/{key}/saga")


def act_message(key: int) -> None:
    app.test_client().post(f"/orders/{key}/message")


def act_refused(key: int) -> None:
    shop.by_saga(key, goods_id=1, coupon_id=2)  # which is used up: the piece has to go back


def check(_key: int) -> None:
    with Session(engine) as session:
        orders = session.scalar(select(func.count()).select_from(Order)) or 0
        left = session.scalar(select(Goods.left)), *session.scalars(select(Coupon.left).order_by(Coupon.id))
    assert left == (MANY - orders, MANY - orders, 0), f"of {orders} orders, these are left: {left}"
