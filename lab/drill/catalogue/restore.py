"""Databases restored from older backups, and stops that last: what can be repaired is, and what is lost is known."""

import time
from contextlib import closing
from typing import Any

import orjson
import urllib3
from pydantic import SecretStr

from common import sandbox
from lab.drill import backups
from lab.drill.drill import Drill, Limit, ServerKind
from lab.drill.drill_run import Broken, DrillRun
from lab.drill.profiles import LONG_STOP, RESTORED, RESTORED_WITH_CONSOLE
from lab.drill.provider import taken
from lab.drill.sut import STOCK
from lab.visitor import Page, Visitor
from ops.client import Client

_OK, _CREATED, _UNAVAILABLE, _NOT_FOUND = 200, 201, 503, 404
_UNAUTHENTICATED = 401
_PASSWORD, _NEWER = "correct horse battery", "wrong mule accumulator"
_SWEPT_WITHIN = 90.0  # seconds, on a machine that is busy with much else
_OLDER_THAN_THE_GRACE = 5.0  # seconds; longer than the deadline of a transaction in that profile
_RESTOCKED = 5  # pieces
_STOPPED_FOR = 8.0  # seconds; records are kept for 5 in that profile


def _back_up(run: DrillRun, name: str) -> backups.Restore:
    restore = backups.take(run.sut.deployment, name)
    run.say(f"a backup of the {name} database is taken")
    return restore


def _restore(run: DrillRun, name: str, restore: backups.Restore) -> None:
    """Stop everything, put the backup in the database's place, start everything."""
    processes = run.sut.deployment.plan.processes
    for process in processes:
        run.take_down(process)
    run.sut.broker.close()
    restore()
    run.fault(f"the {name} database is restored from the older backup")
    for process in processes:
        run.supervisor.release(process)
    run.supervisor.wait_ready()
    run.sut.broker = run.sut.deployment.open_broker()
    run.mended("everything is started again")


def _repair(run: DrillRun) -> dict[str, Any]:
    """Do what `orders reconcile --repair` does; return what it did."""
    swept = _sweep(run)
    done = (f"{name} {number}" for name, number in swept.items() if number and name != "violations")
    run.say(f"repaired: {', '.join(done)}")
    if swept["violations"]:
        raise Broken(f"Orders stand without their stock after the repair: {swept['violations']}.")
    return swept


def _released(run: DrillRun, order_id: str, by: str = "stock") -> None:
    """Cancel an order, and wait until a participant that holds something for it has given that back."""
    run.change(order_id, "cancel")
    run.wait(
        f"{by} to have given back what it held for the cancelled order",
        lambda: run.sut.admin.get(by, f"/reservations/{order_id}")["state"] == "released" or None,
    )


def _settled_once(run: DrillRun) -> None:
    """Let the orders get older than the grace period, and have a sweep verify and confirm them."""
    run.pause(_OLDER_THAN_THE_GRACE)
    _sweep(run)


def _sweep(run: DrillRun) -> dict[str, Any]:
    """Sweep once everything answers again."""
    answer = run.wait(
        "a sweep that comes to its end",
        lambda: done if (done := run.sut.admin.ask("order", "POST", "/sweep/full")).status == _OK else None,
        within=_SWEPT_WITHIN,
    )
    return dict(answer.body)


def _participant(run: DrillRun, name: str, held: str) -> None:
    """Restore a participant whose reservations, of something `held`, an order is not paid without."""
    run.needing(name)
    closed = run.placed()
    _settled_once(run)
    backup = _back_up(run, name)
    paid, unpaid = run.placed(), run.placed()
    run.change(paid, "pay")
    _released(run, closed, name)
    _settled_once(run)
    _restore(run, name, backup)
    refused = run.change(unpaid, "pay")
    run.same("HTTP status of a payment for what is not held", refused and refused.status, _UNAVAILABLE)
    swept = _repair(run)
    run.same(f"orders whose {held} reserved anew", swept["reserved"], 2)
    run.settle()
    run.stands("created", "paid", "closed")
    answer = run.change(unpaid, "pay")
    run.same("HTTP status of a payment now", answer and answer.status, _OK)
    run.settle()


def _stock(run: DrillRun) -> None:
    _participant(run, "stock", "stock is")


def _coupon(run: DrillRun) -> None:
    _participant(run, "coupon", "use of their coupon is")


def _flash(run: DrillRun) -> None:
    _participant(run, "flash", "pieces of the sale are")
    run.placed()
    run.settle()


def _order(run: DrillRun) -> None:
    closed = run.placed()
    _settled_once(run)
    backup = _back_up(run, "order")
    lost = run.placed()
    run.change(lost, "pay")
    _released(run, closed)
    _settled_once(run)
    _restore(run, "order", backup)
    refused = run.change(closed, "pay")
    run.same("HTTP status of a payment for what was closed", refused and refused.status, _UNAVAILABLE)
    _repair(run)
    run.settle()
    run.say(f"lost with the newer database: order {lost}; its pieces are back")
    run.stands("closed")
    run.placed()
    run.settle()


def _broker(run: DrillRun) -> None:
    cancelled = run.placed()
    backup = _back_up(run, "broker")
    kept = run.placed()
    run.change(kept, "pay")
    _released(run, cancelled)
    run.pause(_OLDER_THAN_THE_GRACE)
    _restore(run, "broker", backup)
    _repair(run)
    run.settle()
    run.stands("paid", "closed")


def _goods(run: DrillRun) -> None:
    kept = run.placed()
    backup = _back_up(run, "goods")
    lost = run.sut.new_goods()
    answer = run.sut.place(run.user, lost)
    run.same("HTTP status of an order for goods made after the backup", answer and answer.status, _CREATED)
    _restore(run, "goods", backup)
    shown = run.sut.admin.ask("goods", "GET", f"/goods/{lost}")
    run.same("HTTP status of goods made after the backup", shown.status, _NOT_FOUND)
    run.settle()
    run.same("orders that are told as they were", len(run.sut.orders(run.user)), 2)
    run.claim("orders for goods that were kept are accepted", run.placed() != kept)
    run.settle()


def _pay(run: DrillRun) -> None:
    closed, paid = run.placed(), run.placed()
    _settled_once(run)
    backup = _back_up(run, "pay")
    lost, unpaid = run.placed(), run.placed()
    run.change(paid, "pay")
    run.change(lost, "pay")
    _released(run, closed)
    _settled_once(run)
    _restore(run, "pay", backup)
    answer = run.change(unpaid, "pay")
    run.same("HTTP status of a payment", answer and answer.status, _OK)
    swept = _repair(run)
    run.same("paid orders whose payment is made anew", swept["reserved"], 1)
    _tell_again(run)
    run.settle()
    run.stands("paid", "paid", "paid", "closed")
    run.same("where the money of the paid orders is", {_standing(run, order_id) for order_id in (paid, lost)}, {"kept"})


def _user(run: DrillRun) -> None:
    kept, lost = ({"name": name, "password": _PASSWORD} for name in ("kept", "lost"))
    newer = kept | {"password": _NEWER}
    _register(run, kept)
    with _log_in(run, kept) as early:
        order_id = _placed_by(run, early)
        backup = _back_up(run, "user")
        _register(run, lost)
        change = {"password": _PASSWORD, "new_password": _NEWER}
        answer = early.ask("user", "POST", "/users/me/password", json_body=change)
        run.same("HTTP status of a new password", answer.status, _OK)
        with _log_in(run, newer) as client:
            late = _placed_by(run, client)
        _restore(run, "user", backup)
        with _log_in(run, kept) as client:
            for whose, one in (("before the backup", early), ("now", client)):
                seen = {order["order_id"] for order in one.get("order", "/orders")["items"]}
                run.same(f"orders that a user with a token of {whose} sees", seen, {order_id, late})
    for who, asked in (("a user whom the backup lacks", lost), ("the newer password", newer)):
        answer = run.sut.admin.ask("user", "POST", "/tokens", json_body=asked)
        run.same(f"HTTP status of a log-in by {who}", answer.status, _UNAUTHENTICATED)
    run.settle()


def _console(run: DrillRun) -> None:
    deployment, where = run.sut.deployment, f"/stock/{run.goods_id}"
    with closing(Visitor(deployment.plan.urls["console"], deployment.token("root", ["orders", "admin"]))) as root:

        def restock(page: Page, why: str) -> str:
            return root.send(page, f"{where}/restock", quantity=str(_RESTOCKED), why=why).text

        run.claim("what is done through it is written down", "early" in restock(root.get(where), "early"))
        backup = _back_up(run, "console")
        form = root.get(where)
        run.claim("so is what is done after the backup", "later" in restock(form, "later"))
        _restore(run, "console", backup)
        shown = root.get(where).text
        run.same("what was done, by the console", [why for why in ("early", "later") if why in shown], ["early"])
        run.same("pieces available", run.available(), STOCK + 2 * _RESTOCKED)
        run.claim("the form that it has forgotten, sent again, is written down", "later" in restock(form, "later"))
    run.same("pieces available: it was not done again", run.available(), STOCK + 2 * _RESTOCKED)
    run.placed()
    run.settle()
    run.stands_with_stock(STOCK + 2 * _RESTOCKED, "created")


def _sandbox(run: DrillRun) -> None:
    early, later = run.placed(), run.placed()
    run.change(early, "pay")
    _settled_once(run)
    backup = _back_up(run, "sandbox")
    run.change(later, "pay")
    _settled_once(run)
    newest = _back_up(run, "sandbox")
    _restore(run, "sandbox", backup)
    run.same("payments that the provider knows of", _taken(run), 1)
    _tell_again(run)
    _repair(run)
    run.same("the client's orders", run.statuses(), ["paid", "paid"])
    run.same("where their money is, by pay", {_standing(run, order_id) for order_id in (early, later)}, {"kept"})
    _restore(run, "sandbox", newest)
    run.same("payments that the provider knows of", _taken(run), 2)
    answer = run.change(run.placed(), "pay")
    run.same("HTTP status of a payment", answer and answer.status, _OK)
    run.settle()
    run.stands("paid", "paid", "paid")


def _taken(run: DrillRun) -> int:
    """Return how often the provider took money, by its own books."""
    return sum(map(len, taken(run).values()))


def _register(run: DrillRun, asked: dict[str, str]) -> None:
    answer = run.sut.admin.ask("user", "POST", "/users", json_body=asked)
    run.same("HTTP status of a registration", answer.status, _CREATED)


def _log_in(run: DrillRun, asked: dict[str, str]) -> Client:
    """Return a client with an access token of the user service's."""
    answer = run.sut.admin.ask("user", "POST", "/tokens", json_body=asked)
    run.same("HTTP status of a log-in", answer.status, _OK)
    return Client(run.sut.deployment.plan.urls, answer.body["access_token"])


def _placed_by(run: DrillRun, client: Client) -> str:
    asked = {"items": [{"goods_id": run.goods_id, "quantity": 2}]}
    answer = client.ask("order", "POST", "/orders", json_body=asked)
    run.same("HTTP status of an order by a user of ours", answer.status, _CREATED)
    return str(answer.body["order_id"])


def _tell_again(run: DrillRun) -> None:
    """Have the provider send all its callbacks once more, as a person would in its dashboard."""
    secret = SecretStr(run.sut.deployment.directory.secret())
    key, url = sandbox.callback_key(secret), f"{run.sut.deployment.plan.urls['pay']}/callbacks/sandbox"
    for session in run.sut.admin.get("sandbox", "/ledger")["items"]:
        for event in session["events"]:
            raw = orjson.dumps({**event, "payment_id": session["payment_id"], "reference": session["reference"]})
            signed = {sandbox.SIGNATURE_HEADER: sandbox.signature(key, raw, int(time.time()))}
            answer = urllib3.request("POST", url, body=raw, headers=signed, timeout=10.0, retries=False)
            run.same("HTTP status of a callback that comes again", answer.status, _OK)


def _standing(run: DrillRun, order_id: str) -> str:
    (charge,) = run.sut.admin.get("pay", f"/payments/{order_id}")["charges"]
    return str(charge["status"])


def _long_stop(run: DrillRun) -> None:
    pid = run.arm("order", "order.deducted=kill")
    run.supervisor.hold("order")
    run.place()
    run.died("order", pid, "order.deducted, and stays down")
    run.pause(_STOPPED_FOR)
    run.supervisor.release("order")
    run.supervisor.wait_ready()
    run.mended("order is started again, and ready")
    run.settle()
    run.stands()


DRILLS = (
    *(
        Drill(
            f"restore-{name}",
            f"the {name} database is restored from an older backup",
            "after orders were placed, paid and cancelled",
            holds,
            play,
            servers=ServerKind.EMBEDDED if name == "broker" else ServerKind.BOTH,
            profile=RESTORED,
        )
        for name, holds, play in (
            (
                "stock",
                "what is not held can't be paid; the repair reserves it anew, and releases what is closed",
                _stock,
            ),
            (
                "order",
                "orders newer than the backup are lost, their pieces come back; what was closed is again",
                _order,
            ),
            ("broker", "messages that come again change nothing; those that are lost are made up for", _broker),
            (
                "coupon",
                "what is not held can't be paid; the repair takes the uses anew, and frees those of what is closed",
                _coupon,
            ),
            (
                "pay",
                "the repair opens payments anew; what the provider tells again of paid orders is kept, not sent back",
                _pay,
            ),
            (
                "flash",
                "purchases newer than the backup can't be paid; the repair takes their pieces anew",
                _flash,
            ),
            (
                "user",
                "passwords are the old ones; orders stay their users', tokens good; newer users are lost",
                _user,
            ),
            ("goods", "orders and stock are as they were; goods newer than the backup can't be ordered", _goods),
        )
    ),
    *(
        Drill(
            f"restore-{name}",
            f"the {name} database is restored from an older backup",
            where,
            holds,
            play,
            servers=ServerKind.EMBEDDED,
            profile=profile,
        )
        for name, where, holds, play, profile in (
            (
                "console",
                "after stock was added through it",
                "what was done since then is not written down any more, and not done again",
                _console,
                RESTORED_WITH_CONSOLE,
            ),
            (
                "sandbox",
                "after orders were paid, and then from a newer one",
                "what pay knows to be paid stays so, nothing is sent back; with the newest backup all books agree",
                _sandbox,
                RESTORED,
            ),
        )
    ),
    Drill(
        "stopped-longer-than-records-are-kept",
        "order is killed, and down for longer than its transactions' records are kept",
        "after stock has deducted",
        "its pieces come back, its half message is dropped, its timeout is handled",
        _long_stop,
        servers=ServerKind.EMBEDDED,
        profile=LONG_STOP,
        limit=Limit.SWEEP,
    ),
)
