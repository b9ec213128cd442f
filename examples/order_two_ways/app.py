"""The shop over HTTP: `POST /orders/1/saga` and `POST /orders/1/message` (docs/library/order-two-ways.md)."""

from flask import Flask
from shop import Base, Coupon, Goods, Shop
from sqlalchemy import create_engine
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from halfmessage.contrib.flask import TransactionalMessages
from halfmessage.saga.model import RunState

app = Flask(__name__)
engine = create_engine("sqlite:///shop.db")
shop = Shop(TransactionalMessages(app, engine, name="shop", broker="embedded:///broker.db").current)


@app.post("/orders/<int:order_id>/saga")
def by_saga(order_id: int) -> tuple[dict[str, str | None], int]:
    run = shop.by_saga(order_id, goods_id=1, coupon_id=1)
    status = {RunState.DONE: 201, RunState.UNDONE: 409}.get(run.state, 202)  # a step has failed: it is tried again
    return {"state": run.state, "reason": run.reason}, status


@app.post("/orders/<int:order_id>/message")
def by_message(order_id: int) -> tuple[dict[str, str], int]:
    try:
        shop.by_message(order_id, goods_id=1, coupon_id=1)
    except IntegrityError:
        return {"state": "there already"}, 409
    return {"state": "placed"}, 201


@app.cli.command("create")
def create() -> None:
    Base.metadata.create_all(engine)
    with Session(engine) as session, session.begin():
        session.add_all([Goods(id=1, left=100), Coupon(id=1, left=3)])
