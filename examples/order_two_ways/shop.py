"""An order takes one piece and one use of a coupon. It is placed in two ways, so that they can be compared."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from halfmessage.saga.definition import Call, Local, Outside, Saga
from halfmessage.saga.errors import StepRefused
from halfmessage.saga.model import Run
from halfmessage.transactional import TransactionalMessages


class Base(DeclarativeBase):
    pass


class Goods(Base):  # stands for the stock service
    __tablename__ = "goods"
    id: Mapped[int] = mapped_column(primary_key=True)
    left: Mapped[int]


class Coupon(Base):  # stands for the coupon service
    __tablename__ = "coupons"
    id: Mapped[int] = mapped_column(primary_key=True)
    left: Mapped[int]


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    goods_id: Mapped[int]
    coupon_id: Mapped[int]


Held = type[Goods] | type[Coupon]


class Shop:
    def __init__(self, tx: TransactionalMessages) -> None:
        self.tx = tx
        steps: list[Outside | Local] = [
            Outside("reserve", do=self._take(Goods, "goods_id"), undo=self._give_back(Goods, "goods_id")),
            Outside("coupon", do=self._take(Coupon, "coupon_id"), undo=self._give_back(Coupon, "coupon_id")),
            Local("write", do=_write, undo=_remove),
        ]
        tx.saga(Saga("order", steps, deadline=60))  # seconds, after which it turns back
        tx.consumer("order_placed", group="stock", once_per="order_id")(_take_pieces)
        tx.consumer("order_placed", group="coupon", once_per="order_id")(_use_coupon)

    def by_saga(self, order_id: int, goods_id: int, coupon_id: int) -> Run:
        """Reserve, use and write, one after the other; each may say no, and then nothing is left of those before."""
        wish = {"goods_id": goods_id, "coupon_id": coupon_id}
        return self.tx.saga_engine.run("order", key=str(order_id), value=wish)

    def by_message(self, order_id: int, goods_id: int, coupon_id: int) -> None:
        """Write, and have piece and coupon taken for certain, soon; they can't say no. Raise `IntegrityError`."""
        with (
            self.tx.message("order_placed", key=order_id) as message,
            Session(self.tx.engine) as session,
            message.begin(session),
        ):
            session.add(Order(id=order_id, goods_id=goods_id, coupon_id=coupon_id))
            message.body = {"order_id": order_id, "goods_id": goods_id, "coupon_id": coupon_id}

    def _take(self, held: Held, which: str) -> Callable[[Call], Any]:
        def do(call: Call) -> Any:  # as at the other end of a REST call, which comes once or more
            def work(connection: Connection) -> None:
                one = update(held).where(held.id == call.input[which], held.left > 0).values(left=held.left - 1)
                if connection.execute(one).rowcount == 0:
                    raise StepRefused(f"nothing is left of {which} {call.input[which]}")

            return self.tx.barrier.do(call.idempotency_key, work)

        return do

    def _give_back(self, held: Held, which: str) -> Callable[[Call], None]:
        def undo(call: Call) -> None:
            one = update(held).where(held.id == call.input[which]).values(left=held.left + 1)
            self.tx.barrier.undo(call.idempotency_key, lambda connection, _done: connection.execute(one))

        return undo


def _write(connection: Connection, call: Call) -> None:
    if connection.scalar(select(Order.id).where(Order.id == int(call.key))) is not None:
        raise StepRefused(f"there is an order {call.key}")
    connection.execute(insert(Order).values(id=int(call.key), **call.input))


def _remove(connection: Connection, call: Call) -> None:
    connection.execute(delete(Order).where(Order.id == int(call.key)))


def _take_pieces(body: dict[str, int], session: Session) -> None:  # below 0 is what the shop owes
    session.execute(update(Goods).where(Goods.id == body["goods_id"]).values(left=Goods.left - 1))


def _use_coupon(body: dict[str, int], session: Session) -> None:
    session.execute(update(Coupon).where(Coupon.id == body["coupon_id"]).values(left=Coupon.left - 1))
