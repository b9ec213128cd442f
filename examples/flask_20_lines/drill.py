"""What `halfmessage drill --app examples/flask_20_lines/app.py` does with the shop, and what must hold."""

from app import Base, Mail, Order, app, engine
from sqlalchemy import select
from sqlalchemy.orm import Session


def prepare() -> None:
    Base.metadata.create_all(engine)


def act(key: int) -> None:
    app.test_client().post(f"/orders/{key}/pay")


def check(key: int) -> None:
    with Session(engine) as session:
        paid = list(session.scalars(select(Order.id).where(Order.id == key)))
        mails = list(session.scalars(select(Mail.order_id).where(Mail.order_id == key)))
    assert mails == paid, f"{len(paid)} orders have {len(mails)} mails"
