"""A small service of a stranger's: orders that are paid, mails that are sent, both in one database."""

from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Engine, String, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from halfmessage.mq.port import BrokerOptions
from halfmessage.transactional import Options, OutgoingMessage, TransactionalMessages
from halfmessage.transactional.tables import METADATA

FAST = Options(
    deadline=0.5,
    poll_every=0.05,
    broker=BrokerOptions(check_first_after=0.2, check_interval=0.2, invisible_for=1.0, retry_first_after=0.05),
)


class Base(DeclarativeBase):
    """The shop's own tables."""


class Paid(Base):
    __tablename__ = "paid"
    order_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


class Mail(Base):
    __tablename__ = "mails"
    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int]
    text: Mapped[str] = mapped_column(String(40))


def told(message: OutgoingMessage, order_id: int) -> None:
    """Say which order it is."""
    message.body = {"order_id": order_id}


class Shop:
    """One process of it, on a database that it may share with others."""

    def __init__(self, url: str, broker: str, options: Options = FAST) -> None:
        self.engine: Engine = create_engine(url)
        self.tx = TransactionalMessages("shop", self.engine, broker=broker, sends=["order_paid"], options=options)
        self.fails = 0

        @self.tx.consumer("order_paid", group="mail", once_per="order_id")
        def _send(body: dict[str, int], session: Session) -> None:
            if self.fails:
                self.fails -= 1
                raise ValueError("the mail server is down")
            session.add(Mail(order_id=body["order_id"], text="thank you"))

    @classmethod
    def new(cls, directory: Path, broker: str, options: Options = FAST, *, database: str | None = None) -> "Shop":
        """Make one with tables of its own, in an empty database."""
        url = broker if broker == "table://" else f"embedded:///{directory}/broker.db"
        made = cls(database or f"sqlite:///{directory}/shop.db", url, options)
        Base.metadata.create_all(made.engine)
        METADATA.create_all(made.engine)
        return made

    def pay(
        self,
        order_id: int,
        *,
        key: str | int | None = None,
        body: Callable[[OutgoingMessage, int], object] = told,
        last: Callable[[Session], object] = lambda _: None,
    ) -> None:
        """Mark an order as paid, and tell; `last` comes at the end of the transaction."""
        key = order_id if key is None else key
        with self.tx.message("order_paid", key=key) as m, Session(self.engine) as s, m.begin(s):
            s.add(Paid(order_id=order_id))
            body(m, order_id)
            last(s)

    def paid(self) -> list[int]:
        with Session(self.engine) as session:
            return sorted(session.scalars(select(Paid.order_id)))

    def mails(self) -> list[int]:
        with Session(self.engine) as session:
            return sorted(session.scalars(select(Mail.order_id)))

    def close(self) -> None:
        """End it, as a process that is told to does."""
        self.tx.close()
        self.engine.dispose()
