"""A shop: an order that is paid is told to the consumer that sends mails, whatever is killed in between."""

from flask import Flask
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from halfmessage.contrib.flask import TransactionalMessages


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)


class Mail(Base):
    __tablename__ = "mails"
    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int]


app = Flask(__name__)
engine = create_engine("sqlite:///shop.db")
tx = TransactionalMessages(app, engine, name="shop", broker="embedded:///broker.db")  # or rocketmq://, or table://


@app.post("/orders/<int:order_id>/pay")
def pay(order_id: int) -> tuple[dict[str, str], int]:
    with tx.message("order_paid", key=order_id) as m, Session(engine) as session, m.begin(session):
        session.add(Order(id=order_id))  # your session, your transaction
        m.body = {"order_id": order_id}
    return {"status": "paid"}, 201


@tx.consumer("order_paid", group="mail", once_per="order_id")
def send(body: dict[str, int], session: Session) -> None:
    session.add(Mail(order_id=body["order_id"]))  # once for each order, whatever comes twice


@app.cli.command("create")
def create() -> None:
    Base.metadata.create_all(engine)
