"""What must hold once all is quiet, whatever a service does: read from the database and the broker."""

from collections.abc import Iterator

from sqlalchemy import select

from halfmessage.errors import MessageRefused
from halfmessage.mq.port import MessageView, Resolution, State
from halfmessage.transactional import TransactionalMessages, tables
from halfmessage.transactional.incoming import Subscription, digest, read
from halfmessage.tx.opened import TX_ID
from halfmessage.tx.record import Outcome

_MOST = 1000
"""Messages that are looked at; a drill makes a few."""


def broken(tx: TransactionalMessages) -> Iterator[str]:
    """Tell each thing that does not hold."""
    stats = tx.status().stats
    for name in ("half", "parked", "dead", "pending"):
        if many := getattr(stats, name):
            yield f"{many} messages are {name} and stay so"
    for run in tx.sagas.list():
        errors = "; ".join(f"{name}: {step.error}" for name, step in run.steps.items() if step.error)
        if not tx.sagas.is_known(run):
            errors = (
                "it was begun under a definition that is declared no more; declare that one too, behind the new one, "
                "until no run of it is open"
            )
        yield f"the run of {run.saga} with the key {run.key} is {run.state} and stays so" + f": {errors}" * bool(errors)
    with tx.engine.connect() as connection:
        outcomes = dict(connection.execute(select(tables.RECORDS.c.tx_id, tables.RECORDS.c.outcome)).tuples().all())
        handled = set(connection.scalars(select(tables.INBOX.c.digest)))
    seen = set()
    for view in tx.console().find(limit=_MOST):
        tx_id = int(view.message.properties[TX_ID])
        seen.add(tx_id)
        committed = view.resolution is not Resolution.ROLLBACK and view.state is not State.PARKED
        if tx_id in outcomes and committed != (outcomes[tx_id] == Outcome.COMMITTED):
            yield f"the transaction of {_named(view)} is {outcomes[tx_id]}, its message is not"
        if committed:
            yield from _unhandled(view, tx.subscriptions, handled)
    for tx_id, outcome in outcomes.items():
        if outcome == Outcome.COMMITTED and tx_id not in seen:
            yield f"transaction {tx_id} was committed, and its message is gone"


def _unhandled(view: MessageView, subscriptions: tuple[Subscription, ...], handled: set[str]) -> Iterator[str]:
    for each in subscriptions:
        if each.topic != view.message.topic:
            continue
        try:
            _, once = read(each, view.message)
        except MessageRefused as error:
            yield f"{each.group} can't take {_named(view)}: {error.detail}"
            continue
        if digest(each, once) not in handled:
            yield f"{_named(view)} was delivered, and {each.group} did nothing"


def _named(view: MessageView) -> str:
    return f"{view.message.topic} {' '.join(view.message.keys)}"
