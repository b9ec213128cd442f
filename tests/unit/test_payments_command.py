"""`orders payments event`: what a provider said, as it came, of a deployment that does not run."""

import base64
import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import insert

from common import migrations
from common.db import Database
from ops import runstate
from ops.cli import main
from ops.commands import payments
from ops.deployment import Deployment
from ops.places import DataDir
from ops.plan import Plan
from pay.model import payment_events

pytestmark = pytest.mark.P7

BODY = '{"id": "evt_1",\n "words": "Gerät \x1b[31m"}'.encode()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of a deployment to which two providers have told something under one name."""
    place = DataDir(tmp_path_factory.mktemp("told") / "var")
    place.make()
    root = place.root
    runstate.save(place.state_file, runstate.RunState(None, Plan().as_settings()))
    migrations.upgrade("pay", f"sqlite:///{root}/pay.db")
    url = Deployment.find(root).database_url("pay")
    row = {"event_id": "evt_1", "kind": "succeeded", "via": "callback", "received_at": 0, "order_id": 7, "amount": 5}
    with closing(Database(url)) as database:
        for provider, raw in (("sandbox", BODY), ("stripe", b"\xff\x00")):
            values = row | {"provider": provider, "raw": raw}
            database.transact(lambda c, values=values: c.execute(insert(payment_events).values(values)))  # type: ignore[misc]
    return root


def run(root: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["payments", "event", *words, "--data-dir", str(root)])


def told(root: Path, *words: str) -> Any:
    done = run(root, *words, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_an_event_is_shown_as_it_came(root: Path) -> None:
    """To the byte for programs, also what is no text; with what pay made of it."""
    sandbox, stripe = told(root, "evt_1")
    assert sandbox["body"].encode() == BODY
    assert (sandbox["order_id"], sandbox["via"], sandbox["bytes"], sandbox["cut"]) == (
        "7",
        "callback",
        len(BODY),
        False,
    )
    assert base64.b64decode(stripe["body_base64"]) == b"\xff\x00"
    assert [one["provider"] for one in told(root, "evt_1", "--provider", "stripe")] == ["stripe"]


def test_what_a_stranger_wrote_is_no_command_to_the_terminal(root: Path) -> None:
    """Its lines stay lines; what would colour or move them is not written."""
    shown = run(root, "evt_1", "--provider", "sandbox").output
    assert '{"id": "evt_1",\n "words": "Gerät \ufffd[31m"}\n' in shown
    assert f"{len(BODY)} bytes:" in shown


def test_a_large_body_is_cut_unless_all_of_it_is_asked_for(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between letters, and it says so."""
    monkeypatch.setattr(payments, "_MOST_BYTES", BODY.index("ä".encode()) + 1)
    (cut,) = told(root, "evt_1", "--provider", "sandbox")
    assert (cut["cut"], cut["body"].endswith("Ger")) == (True, True)
    assert "of which the first" in run(root, "evt_1", "--provider", "sandbox").output
    (whole,) = told(root, "evt_1", "--provider", "sandbox", "--whole")
    assert whole["body"].encode() == BODY


def test_an_event_that_is_not_there(root: Path) -> None:
    """One line that says so."""
    done = run(root, "evt_2", "--provider", "stripe")
    assert (done.exit_code, "Pay has no event evt_2 of stripe." in done.stderr) == (1, True)
