"""The sandbox over HTTP: who may call what, what answers look like, and the page where a person pays."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

from common import sandbox as agreed
from common.auth import issue
from tests.contract.providers.settings import SECRET, settings
from tests.contract.providers.test_sandbox import SandboxStand

KEY = {"Authorization": f"Bearer {agreed.api_key(settings().jwt_secret)}"}
BODY: dict[str, Any] = {
    "attempt_id": "1", "payment_id": "5", "amount": 1250, "currency": "EUR", "callback_url": "http://127.0.0.1:1",
    "expires_at": "2096-12-01T00:00:00Z", "scenario": "page",
}  # fmt: skip


def token(*scopes: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {issue(SECRET, 'ann', scopes, 60.0)}"}


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[SandboxStand]:
    stand = SandboxStand(tmp_path)
    yield stand
    stand.close()


def begun(stand: SandboxStand, **fields: Any) -> dict[str, Any]:
    answer = stand.client.post("/sessions", json=BODY | fields, headers=KEY)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json
    return found


def test_who_may_call(stand: SandboxStand) -> None:
    """The merchant's key and services of ours; no customer, and no caller without a key; faults need an admin."""
    for headers, status in (({}, 401), ({"Authorization": "Bearer é"}, 401), (token("orders"), 403), (KEY, 200),
                            (token("service"), 200), (token("admin"), 200)):  # fmt: skip
        assert stand.client.get("/ledger", headers=headers).status_code == status, headers
    assert stand.client.put("/faults", json={}, headers=KEY).status_code == 403
    assert stand.client.put("/faults", json={}, headers=token("admin")).status_code == 200


def test_what_is_not_told_yet(stand: SandboxStand) -> None:
    """A session of these scenarios is answered as if nothing had happened; asking tells."""
    for number, word in enumerate(("silent", "callback"), 1):
        session = begun(stand, attempt_id=str(number), scenario=word)
        assert (session["state"], session["charges"], session["events"]) == ("open", [], [])
        asked = stand.client.get(f"/sessions/{session['reference']}", headers=KEY).json
        assert (asked["state"], len(asked["charges"]), len(asked["events"])) == ("paid", 1, 1)


def test_the_ledger_has_everything(stand: SandboxStand) -> None:
    """Page by page: sessions, charges, each asking for a refund."""
    charge = begun(stand, scenario="card")["charges"][0]["charge_id"]
    for key in ("k", "other"):
        body = {"key": key, "amount": 1250, "currency": "EUR"}
        stand.client.post(f"/charges/{charge}/refunds", json=body, headers=KEY)
    begun(stand, attempt_id="2")
    first = stand.client.get("/ledger?limit=1", headers=KEY).json
    second = stand.client.get(f"/ledger?limit=1&cursor={first['next_cursor']}", headers=KEY).json
    assert second["next_cursor"] is None
    (paid,), (unpaid,) = first["items"], second["items"]
    assert [refund["state"] for refund in paid["charges"][0]["refunds"]] == ["done", "refused"]
    assert (unpaid["attempt_id"], unpaid["charges"]) == ("2", [])


def test_faults_fail_calls_as_a_server_does(stand: SandboxStand) -> None:
    """503, and what they did can be read."""
    stand.client.put("/faults", json={"seed": 3, "begin_fails": 1}, headers=token("admin"))
    for wrong in ("1", True, 1.1, -0.1, None):
        assert stand.client.put("/faults", json={"lost": wrong}, headers=token("admin")).status_code == 422, wrong
    answer = stand.client.post("/sessions", json=BODY, headers=KEY)
    assert answer.status_code == 503
    report = stand.client.get("/faults", headers=KEY).json
    assert report == {
        "seed": 3,
        "longest": 2.0,
        "faults": [{"name": "begin_fails", "probability": 1.0, "drawn": 1, "struck": 1}],
    }


def page(stand: SandboxStand, session: dict[str, Any]) -> TestResponse:
    return stand.client.get(f"/page/{session['reference']}")


def press(stand: SandboxStand, session: dict[str, Any], choice: str) -> TestResponse:
    answer = stand.client.post(f"/page/{session['reference']}", data={"choice": choice})
    there = f"/page/{session['reference']}{'#left' if choice == 'leave' else ''}"
    assert (answer.status_code, answer.headers["Location"]) == (303, there)
    return page(stand, session)


@pytest.mark.parametrize(
    ("amount", "currency", "shown"), [(1250, "EUR", "12.50 EUR"), (500, "JPY", "500 JPY"), (1234, "KWD", "1.234 KWD")]
)
def test_the_page_shows_the_amount_with_its_decimals(
    stand: SandboxStand, amount: int, currency: str, shown: str
) -> None:
    """Zero, two or three of them."""
    text = page(stand, begun(stand, amount=amount, currency=currency)).text
    assert f'<h1 id="amount">{shown}</h1>' in text
    assert f"Pay {shown}</button>" in text


def test_the_page_can_be_neither_framed_nor_scripted(stand: SandboxStand) -> None:
    """It holds no script, loads nothing from elsewhere, and tells no other site its address."""
    answer = page(stand, begun(stand))
    policy = answer.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy
    assert "default-src 'none'" in policy
    assert "form-action 'self'" in policy
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in answer.headers
    assert "<script" not in answer.text
    assert "style=" not in answer.text
    assert re.findall(r'(?:src|href|action)="(?!/page\.css|data:,)([^"]*)"', answer.text) == []
    assert stand.client.get("/page.css").headers["Content-Type"] == "text/css; charset=utf-8"


@pytest.mark.parametrize(
    ("choice", "told", "charges"), [("pay", "Paid", 1), ("twice", "Paid", 2), ("decline", "Declined", 0),
                                    ("wait", "Closed", 0), ("leave", "Not paid yet", 0)],
)  # fmt: skip
def test_what_a_person_may_do(stand: SandboxStand, choice: str, told: str, charges: int) -> None:
    """Once: the page then shows what the sandbox knows, and has nothing left to press but after leaving."""
    session = begun(stand)
    text = press(stand, session, choice).text
    assert f"<title>{told}: 12.50 EUR" in text
    assert len(re.findall(r'<th scope="row">\d+</th><td>12\.50 EUR</td>', text)) == charges
    assert ("<button" in text) == (choice == "leave")
    assert ("A payment is under way" in text) == (choice == "wait")
    assert ('id="left"' in text) == (choice == "leave")  # what its address points at, and so is shown


@pytest.mark.parametrize(
    ("expires_at", "told"),
    [("2096-12-01T00:00:00Z", "The order waits until"), ("2001-12-01T00:00:00Z", "time was over at")],
)
def test_the_page_says_whether_there_is_still_time(stand: SandboxStand, expires_at: str, told: str) -> None:
    """A page may be open for longer than its order waits; it can be paid there all the same."""
    text = page(stand, begun(stand, expires_at=expires_at)).text
    found = re.findall("The order waits until|time was over at", text)
    assert found == [told]
    assert "<button" in text


def test_pressing_twice_pays_once(stand: SandboxStand) -> None:
    """As hurried people do."""
    session = begun(stand)
    press(stand, session, "pay")
    press(stand, session, "pay")
    assert len(stand.client.get(f"/sessions/{session['reference']}", headers=KEY).json["charges"]) == 1


@pytest.mark.parametrize("name", ["Idempotency-Key", "If-Match", "X-HTTP-Method-Override"])
def test_what_a_form_does_not_honour_is_refused(stand: SandboxStand, name: str) -> None:
    """A press that comes again under a key would be another one: nothing is done, rather than the key ignored."""
    session = begun(stand, scenario="page")
    answer = stand.client.post(f"/page/{session['reference']}", data={"choice": "pay"}, headers={name: "k"})
    assert answer.status_code == 422
    assert answer.json is not None
    assert answer.json["errors"] == [{"pointer": f"/{name}", "message": f"This call takes no {name}"}]
    assert "Not paid yet" in page(stand, session).text


def test_what_is_no_form_or_no_choice_is_refused(stand: SandboxStand) -> None:
    """And takes nothing; a page that is none is not found."""
    where = f"/page/{begun(stand)['reference']}"
    assert stand.client.post(where, data={"choice": "steal"}).status_code == 400
    assert stand.client.post(where, data={}).status_code in {400, 415}
    assert stand.client.post(where, json={"choice": "pay"}).status_code == 415
    form = "application/x-www-form-urlencoded"
    assert stand.client.post(where, data=b"choice=\xff", content_type=form).status_code == 400
    assert stand.client.post(where, data=b"a=1&" * 9, content_type=form).status_code == 400
    assert stand.client.post(where, data=b"a" * 100_000, content_type=form).status_code == 413
    assert stand.client.get("/page/none").status_code == 404
    assert stand.client.get(f"{where}?x=1").status_code == 422
    assert stand.client.get("/ledger", headers=KEY).json["items"][0]["charges"] == []
