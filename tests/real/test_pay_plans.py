"""Every statement of paying, explained on tables with thousands of payments: an index serves it."""

from pathlib import Path
from typing import Any

from sqlalchemy import insert

from common.db import Database
from common.idempotency import purge_older
from common.telemetry import Metrics
from halfmessage.clock import now_ms
from pay import model
from pay.instruments import Instruments
from pay.model import PaymentState
from pay.providers.port import Kind, ProviderEvent
from pay.service.inbox import forget_strangers
from tests.payments import Till, success
from tests.real.conftest import Migrated, OpenDatabase
from tests.real.explaining import MANY, ROWS, Collected, opened

OLD = 20  # idempotency keys, and events of strangers, to purge
PAGE = 20  # payments
NEW = range(10**9, 10**9 + 20)


def _fill(database: Database) -> None:
    """Most payments are over, as after some weeks: paid and known, or closed; some had money that went back."""
    now = now_ms()
    rows: dict[Any, list[dict[str, Any]]] = {table: [] for table in model.metadata.sorted_tables}
    for order_id in range(1, ROWS + 1):
        is_paid, is_late = order_id % 4 != 0, order_id % 40 == 0
        state = "succeeded" if is_paid else "refunded" if is_late else "closed"
        header = {"order_id": order_id, "tx_id": 1, "state": "deducted" if is_paid else "released", "created_at": 1}
        rows[model.reservations].append(header | {"released_at": None if is_paid else 1, "verified": True})
        owed = {"order_id": order_id, "user_id": "ann", "amount": 500, "currency": "EUR", "state": state}
        rows[model.payments].append(owed | {"known": is_paid, "expires_at": 1, "created_at": 1, "provider": "fake"})
        tried = {"attempt_id": order_id, "order_id": order_id, "provider": "fake", "reference": f"s{order_id}"}
        rows[model.attempts].append(tried | {"state": "over", "created_at": 1})
        event = {"provider": "fake", "event_id": f"e{order_id}", "order_id": order_id, "charge_id": f"old{order_id}"}
        event |= {"kind": "succeeded", "via": "callback", "raw": b"", "received_at": 1, "handled_at": now}
        rows[model.payment_events].append(event)
        charge = {"provider": "fake", "charge_id": f"old{order_id}", "order_id": order_id, "amount": 500}
        charge |= {"currency": "EUR", "taken_at": 1, "kept_for": order_id if is_paid else None}
        if is_paid or is_late:
            rows[model.charges].append(charge | {"state": "kept" if is_paid else "refunded"})
    for number in range(ROWS):
        used = {"user_id": f"u{number % 9}", "idempotency_key": f"k{number}", "request_hash": "", "answer": {}}
        rows[model.idempotency_keys].append(used | {"created_at": 1 if number < OLD else now})
    for number in range(OLD):
        event = {"provider": "fake", "event_id": f"stranger{number}", "order_id": None, "charge_id": None}
        event |= {"kind": "other", "via": "callback", "raw": b"", "received_at": 1, "handled_at": now}
        rows[model.payment_events].append(event)
    for table, values in rows.items():
        if values:
            database.transact(lambda c, table=table, values=values: c.execute(insert(table), values))  # type: ignore[misc]


def test_pay(tmp_path: Path, migrated: Migrated, open_database: OpenDatabase) -> None:
    """Reservations, tries, events, polls, refunds, tellings, look-ups and gauges use indexes."""
    url = migrated("pay")
    with opened(open_database, url, _fill) as database:
        till = Till(tmp_path, database=database)
        collected = Collected(database)
        _live(till, open_database(url))
        # a walk along either key that leaves most rows out would end at its LIMIT, too, but late
        assert collected.most_read("payments.state = %(state_1)s") < 10 * PAGE
        assert not collected.complaints(), "\n".join(collected.last)
        Instruments(Metrics("pay"), database)._going_back()  # groups in a temporary table: a row for each currency
        assert collected.most_read("sum(charges.amount)") < MANY
        till.close()


def _live(till: Till, aside: Database) -> None:
    """Have everything happen once; what only tests do is done over a database `aside`."""
    paid, late, again, page, *others = NEW
    till.owe(*NEW)
    for order_id in (paid, again):
        till.pay(order_id)
    pages = [till.page(order_id) for order_id in (page, late, *others)]
    till.last_question.ask([page, late])
    till.release(late, again, *others)
    till.hear(till.provider.take(pages[1]), success("other", 5, 499), success("unknown", None))
    till.provider.taken |= {"other": (5, 499, "EUR"), "unknown": (None, 500, "EUR")}
    till.hear(till.provider.no(pages[0], Kind.FAILED))
    till.hear(ProviderEvent("back", Kind.REFUNDED, None, b"", "old40"))
    till.reservations.settle({paid: (77, "paid")})
    till.sending_back.send_back(paid, "broken", None)
    for _ in range(2):
        till.make_due(aside)
        till.handling.handle_due()
        till.polling.run()
        till.refunding.run()
        till.telling.run()
    assert purge_older(till.database, model.idempotency_keys, 3600) == OLD
    assert forget_strangers(till.database, 3600) >= OLD
    till.reader.get(paid, owner=None)
    till.reader.lookup(list(NEW))
    for status in (None, PaymentState.SUCCEEDED, PaymentState.REFUNDED):  # the first is that of most
        for below in (None, ROWS // 2):
            till.reader.page(status, below=below, limit=PAGE)
    Instruments(Metrics("pay"), till.database)._waiting()
    with till.database.read() as connection:
        effect = till.reservations._effect
        effect.keeps(connection, [*others, 4, 8])
        effect.weigh(connection, [*others, 4, 8])
