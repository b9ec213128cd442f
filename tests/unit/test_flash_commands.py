"""`orders flash` and what `reconcile` tells of sales, on a stopped deployment; its store a database, Redis, or down."""

import json
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import delete, update

from flash.model import pieces as tables
from flash.model import purchases, sales
from flash.pieces.factory import store_of
from halfmessage.mq.factory import open_broker
from halfmessage.mq.port import BrokerOptions
from ops import runstate
from ops.cli import main
from ops.client import Client, Refused, Unreachable
from ops.commands.reconcile import rebuild
from ops.deployment import Deployment, Plan, free_port_base
from ops.findings import REPAIR
from ops.places import DataDir
from tests.redis_server import RedisServer, valkey_program
from tests.sale_books import SALE, Books

OTHER = SALE + 1


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the data directory of a deployment that was started once, and stopped."""
    place = DataDir(tmp_path_factory.mktemp("stopped") / "var")
    place.make()
    Deployment(place.root).migrate()
    open_broker(place.broker_url, BrokerOptions()).close()
    return place.root


@pytest.fixture
def root(stopped: Path, tmp_path: Path) -> Path:
    """Return a copy of it."""
    copied = Path(shutil.copytree(stopped, tmp_path / "var"))
    configure(copied)
    return copied


@pytest.fixture
def books(root: Path) -> Iterator[Books]:
    with closing(Books(root)) as books:
        yield books


def configure(root: Path, **extra: str) -> None:
    """Have the deployment run with further settings."""
    plan = Plan(free_port_base(), extra=extra)
    runstate.save(DataDir(root).state_file, runstate.RunState(None, plan.as_settings()))


def run(root: Path, *words: object) -> Result:
    return CliRunner().invoke(main, [*map(str, words), "--data-dir", str(root)])


def told(root: Path, *words: object) -> Any:
    done = run(root, *words, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def refused(root: Path, *words: object, code: int = 1) -> str:
    """Return the one line that says why, and what to do."""
    done = run(root, *words)
    assert done.exit_code == code, done.output
    *_, line = done.stderr.splitlines()
    return line


def found(root: Path) -> list[tuple[str, str, str]]:
    """Return what the comparison finds: what it is about, its id, and the remedy."""
    done = run(root, "reconcile", "--json")
    report = json.loads(done.stdout)
    assert done.exit_code == (0 if report["clean"] else 1)
    return [(finding["subject"], finding["id"], finding["remedy"]) for finding in report["findings"]]


def test_sales_are_listed_newest_first(root: Path, books: Books) -> None:
    """With what is left of each; at most so many."""
    books.hold(1, quantity=3)
    books.open(OTHER)
    first, second = told(root, "flash", "list")
    assert (first["sale_id"], first["left"], first["held"]) == (str(OTHER), 10, 0)
    assert {"sale_id": str(SALE), "left": 7, "held": 3, "owned": 10, "state": "open", "phase": "on"}.items() <= set(
        second.items()
    )
    assert [one["sale_id"] for one in told(root, "flash", "list", "--limit", 1)] == [str(OTHER)]
    shown = run(root, "flash", "list").output
    assert str(SALE) in shown
    assert "owned" in shown


def test_a_sale_is_shown(root: Path, books: Books) -> None:
    """Its row, its purchases by fate, and what the store counts; one that there is not is told so."""
    books.hold(1, quantity=3)
    books.hold(2, state="released")
    sheet = told(root, "flash", "show", SALE)
    assert sheet["purchases"] == {"held": 1, "free": 1}
    assert {"pieces": 4, "held": 2, "quantity": 10}.items() <= sheet["store"].items()
    assert (sheet["stock_has_heard"], sheet["closed_at"], sheet["per_user"]) == (True, None, 10)
    books.do(update(sales).values(heard=0))
    lines = run(root, "flash", "show", SALE).output.splitlines()
    assert "stock has heard: False" in lines
    assert "closed at: -" in lines
    assert any(line.startswith("purchases: ") and "1 held" in line for line in lines)
    assert refused(root, "flash", "show", 1).startswith("Error: There is no sale 1: see which there are with: ")
    assert "flash list" in refused(root, "flash", "show", 1)


def test_a_store_is_told_a_sale_anew(root: Path, books: Books) -> None:
    """What it had wrong is counted; the second time it knows all of it."""
    books.order(1, "paid")
    books.hold(1)
    books.do(delete(tables.purchases), delete(tables.sales))
    assert ("purchase", "1", REPAIR) in found(root)
    assert told(root, "flash", "rebuild", SALE) == [{"sale_id": str(SALE), "wrong": 1}]
    assert run(root, "flash", "rebuild", SALE).output.endswith("was told anew; it knew all of it.\n")
    assert found(root) == []


def test_a_store_with_wrong_counts_forgets_the_sale_first(root: Path, books: Books) -> None:
    """Its rows alone do not set a count right; reconcile names the command that does."""
    books.order(1, "paid")
    books.hold(1)
    told(root, "flash", "rebuild", SALE)
    books.do(update(tables.sales).values(pieces=tables.sales.c.pieces + 1))
    ((subject, identity, remedy),) = found(root)
    assert (subject, identity) == ("sale", str(SALE))
    assert f"orders flash rebuild {SALE} --anew" in remedy
    told(root, "flash", "rebuild", SALE)
    assert found(root) != []
    assert told(root, "flash", "rebuild", SALE, "--anew") == [{"sale_id": str(SALE), "wrong": 1}]
    assert found(root) == []
    wrong = "Error: Name the SALE that is to be counted --anew."
    assert refused(root, "flash", "rebuild", "--all", "--anew", code=2) == wrong


def test_all_sales_are_told_anew(root: Path, books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each that the store counts, and none that is over; however they fall on pages."""
    monkeypatch.setattr("ops.flash_sales._PAGE", 2)
    ids = range(SALE, SALE + 5)
    for sale_id in ids[1:]:
        books.open(sale_id)
    books.do(update(sales).where(sales.c.sale_id == SALE + 1).values(state="done"))
    books.do(update(sales).where(sales.c.sale_id == SALE + 2).values(state="closed", closed_at=0))
    rebuilt = [int(one["sale_id"]) for one in told(root, "flash", "rebuild", "--all")]
    assert rebuilt == [SALE + 4, SALE + 3, SALE + 2, SALE]
    books.do(update(sales).values(state="done"))
    assert run(root, "flash", "rebuild", "--all").output == "No sale is open.\n"


def test_what_can_t_be_told_anew(root: Path, books: Books) -> None:
    """Nothing named, both, a sale that there is not, or one that is over: what to do is said."""
    assert refused(root, "flash", "rebuild", code=2) == "Error: Name a SALE, or say --all."
    assert refused(root, "flash", "rebuild", SALE, "--all", code=2) == "Error: Name a SALE, or say --all."
    assert "There is no sale 1: " in refused(root, "flash", "rebuild", 1)
    books.do(update(sales).values(state="done"))
    assert f"Sale {SALE} is done: " in refused(root, "flash", "rebuild", SALE)


def test_a_sale_is_closed_by_the_service_alone(root: Path) -> None:
    """Where it does not run, that is told."""
    assert "start it with: " in refused(root, "flash", "close", SALE)


def test_a_sale_is_closed_by_any_instance(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first that answers; a sale that it does not know is told with what lists them, other refusals as they are."""
    plan = Plan(free_port_base(), instances={"flash": 2})
    runstate.save(DataDir(root).state_file, runstate.RunState(None, plan.as_settings()))
    monkeypatch.setattr(Deployment, "require_running", lambda _: None)
    calls: list[tuple[str, str]] = []
    answers: list[Any] = [Unreachable("down"), {"state": "closed"}]

    def post(_: Client, instance: str, path: str) -> Any:
        calls.append((instance, path))
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(Client, "post", post)
    assert run(root, "flash", "close", SALE).output.startswith(f"Sale {SALE} is closed.")
    assert calls == [(name, f"/flash-sales/{SALE}/close") for name in ("flash", "flash-2")]
    answers += [Unreachable("down"), Unreachable("down, too")]
    assert refused(root, "flash", "close", SALE) == "Error: down, too"
    for status, said in ((404, "There is no sale 7: see which there are with: "), (403, "no")):
        answers.append(Refused("no", status, {}))
        assert said in refused(root, "flash", "close", SALE)


def test_the_repair_tells_the_store_anew(root: Path, books: Books) -> None:
    """All sales that it counts; it tells how much was wrong."""
    books.hold(1)
    books.do(delete(tables.purchases))
    assert rebuild(Deployment.find(root)) == {"purchases_told_anew": 1}
    assert rebuild(Deployment.find(root)) == {"purchases_told_anew": 0}


def test_a_store_that_is_down(root: Path, books: Books) -> None:
    """What is left is not known; the comparison tells so, and goes on; nothing is told anew."""
    books.open(OTHER)
    with socket.socket() as nobody:  # bound, and not listening
        nobody.bind(("127.0.0.1", 0))
        configure(root, pieces_url=f"redis://127.0.0.1:{nobody.getsockname()[1]}/0")
        assert [one["left"] for one in told(root, "flash", "list")] == [None, None]
        assert told(root, "flash", "show", SALE)["store"] is None
        assert "start what ORDERS_PIECES_URL names" in refused(root, "flash", "rebuild", "--all")
        assert "start what ORDERS_PIECES_URL names" in refused(root, "flash", "rebuild", SALE)
        assert [finding[:2] for finding in found(root)] == [("store", "pieces")]


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[RedisServer]:
    with closing(RedisServer(valkey_program(), tmp_path / "valkey")) as server:
        yield server


def _emptied(server: RedisServer) -> None:
    server.admin.flushall()


def _forgotten(server: RedisServer) -> None:
    server.admin.delete(*(f"orders:flash:{{{SALE}}}:{what}" for what in ("sale", "purchases", "buyers", "open")))


@pytest.mark.parametrize("lose", [_emptied, _forgotten])  # the second as docs/flash-sales.md has it
def test_pieces_in_redis(root: Path, books: Books, valkey: RedisServer, lose: Callable[[RedisServer], None]) -> None:
    """Emptied, or with a wrong count: it is found, to the piece, and rebuilt from the rows."""
    configure(root, pieces_url=valkey.url)
    books.order(1, "paid", quantity=2)
    books.hold(1, quantity=2)
    assert {finding[0] for finding in found(root)} == {"sale", "purchase"}
    assert told(root, "flash", "rebuild", "--all") == [{"sale_id": str(SALE), "wrong": 1}]
    assert found(root) == []
    assert told(root, "flash", "list")[0]["left"] == 8
    valkey.admin.hincrby(f"orders:flash:{{{SALE}}}:sale", "pieces", 1)
    ((subject, _, remedy),) = found(root)
    assert (subject, "docs/flash-sales.md" in remedy) == ("sale", True)
    lose(valkey)
    assert (("purchase", "1", REPAIR)) in found(root)
    told(root, "flash", "rebuild", SALE)
    assert found(root) == []


def test_what_redis_remembers_of_what_came_back(root: Path, books: Books, valkey: RedisServer) -> None:
    """As after it was set back to an older copy: found, and given back."""
    configure(root, pieces_url=valkey.url)
    books.hold(1, state="released")
    with closing(store_of(valkey.url, books.flash, tables)) as store:
        told(root, "flash", "rebuild", "--all")
        books.do(update(purchases).values(fate="returned", told=True))
        assert {finding[2] for finding in found(root) if finding[0] == "purchase"} == {REPAIR}
        told(root, "flash", "rebuild", "--all")
        totals = store.totals(SALE)
    assert totals is not None
    assert (totals.pieces, totals.returned) == (0, 1)
    assert found(root) == []
