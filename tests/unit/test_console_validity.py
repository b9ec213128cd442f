"""Every page of the console is valid HTML, with data in it, with markup in the data, and without any."""

import re
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from common.errors import PeerUnavailable
from common.process import Service
from console.clients.services import Services
from console.story import write_file
from halfmessage.mq.port import Message
from tests.stories import entry, half, order_row, told
from tests.unit import vnu
from tests.unit.console_letters import TOPIC, Lying
from tests.unit.console_site import Browser, running, token

TEMPLATES = Path(__file__).parents[2] / "console" / "templates"
HOSTILE = "<script>alert(1)</script>\"'&<b>"
AT = "2026-11-28T10:00:00.000Z"
ORDER: Mapping[str, Any] = {
    **order_row(),
    "order_id": "7", "user_id": HOSTILE, "currency": "EUR", "goods_amount": 250, "discount_amount": 0,
    "receiver": {"name": HOSTILE, "phone": HOSTILE, "address": HOSTILE}, "coupon_id": None,
    "sale_id": "7", "purchase_id": "8",
    "items": [{"name": HOSTILE, "brief": HOSTILE, "quantity": 2, "unit_price": 125}],
}  # fmt: skip
PAYMENT: Mapping[str, Any] = {
    "payment_id": "7", "order_id": "7", "user_id": HOSTILE, "amount": 250, "currency": "EUR", "status": "succeeded",
    "provider": HOSTILE, "known": False, "created_at": AT, "expires_at": AT, "succeeded_at": AT, "closed_at": None,
    "events": [
        {"event_id": HOSTILE, "kind": HOSTILE, "via": HOSTILE, "amount": 250, "currency": HOSTILE, "effect": HOSTILE,
         "reason": HOSTILE, "received_at": AT}
    ],
    "attempts": [{"provider": HOSTILE, "status": HOSTILE, "refusal": HOSTILE, "polls": 2, "created_at": AT}],
    "charges": [
        {"charge_id": HOSTILE, "provider": HOSTILE, "amount": 250, "currency": HOSTILE, "status": HOSTILE, "tries": 0,
         "refusal": HOSTILE, "taken_at": AT, "refunded_at": None, "reason": HOSTILE, "note": HOSTILE}
    ],
}  # fmt: skip
GOODS: Mapping[str, Any] = {
    "goods_id": "7", "name": HOSTILE, "brief": HOSTILE, "unit_price": 125, "currency": "EUR", "on_sale": True
}  # fmt: skip
COUPON: Mapping[str, Any] = {
    "coupon_id": "7", "code": HOSTILE, "kind": "percent", "value": 10, "currency": None, "minimum_amount": 0,
    "user_id": None, "uses": 3, "uses_per_user": 1, "free": 3, "held": 0, "used": 0, "starts_at": None,
    "ends_at": None, "withdrawn": False,
}  # fmt: skip
SALE: Mapping[str, Any] = {
    "sale_id": "7", "goods_id": "7", "name": HOSTILE, "quantity": 9, "unit_price": 125, "currency": "EUR", "left": 2,
    "per_user": 1, "starts_at": AT, "ends_at": AT, "state": "open", "phase": "on", "created_at": AT, "closed_at": None,
}  # fmt: skip
SURVEY: Mapping[str, Any] = {
    **SALE, "owned": 8, "held": 5, "purchases": {"held": 5, "free": 1, "returned": 2}, "under_way": 1, "counted": 7,
    "stock_has_heard": False, "sold": [{"at": AT, "purchases": 3}], "waits_for": [HOSTILE],
}  # fmt: skip
SAGA: Mapping[str, Any] = {
    "run_id": "7", "saga": HOSTILE, "key": "7", "state": "running", "is_known": False, "worked_on_by": None,
    "why": HOSTILE, "begun_at": AT, "ended_at": None, "steps": [
        {"name": HOSTILE, "state": "waiting", "tries": 2, "last_error": HOSTILE, "next_try_at": AT},
        {"name": "restock", "state": "done", "tries": 0, "last_error": None, "next_try_at": None},
    ],
}  # fmt: skip
CHECKS = [
    entry(f"check-back {n}: unknown", "broker", 3_000 * n, message_id="M1", check=n, answer="unknown") for n in (1, 2)
]
ANSWERS: Mapping[str, Mapping[str, Any]] = {
    "/orders/7": ORDER,
    "/orders/7/timeline": {"entries": [half(), *CHECKS, entry(HOSTILE, HOSTILE, None, a=HOSTILE)]},
    "/admin/orders": {"items": [ORDER], "next_cursor": "c"},
    "/admin/find": {"found": [{"way": "x-request-id", "items": [ORDER], "more": True}]},
    "/admin/records": {"records": []},
    "/admin/sagas": {"items": [SAGA], "next_cursor": "c"},
    "/admin/sagas/7": SAGA,
    "/payments": {"items": [PAYMENT], "next_cursor": "c"},
    "/payments/7": PAYMENT,
    "/goods": {"items": [GOODS], "next_cursor": "c"},
    "/goods/7": GOODS,
    "/stock/7": {"goods_id": "7", "total": 9, "available": 9},
    "/coupons": {"items": [COUPON], "next_cursor": "c"},
    "/coupons/7": COUPON,
    "/flash-sales": {"items": [SALE], "next_cursor": "c"},
    "/admin/sales/7": SURVEY,
    "/admin/purchases/7": {"purchase_id": "7", "sale_id": "7", "user_id": HOSTILE, "quantity": 1},
    "/order-requests/7": {"request_id": "7", "state": "created", "order_id": "7"},
}


def answer(_: Services, _service: str, path: str, _token: str, **_query: Any) -> Mapping[str, Any]:
    """Answer for every service."""
    return ANSWERS[path]


def silence(*_: Any, **__: Any) -> Mapping[str, Any]:
    """Be down."""
    raise PeerUnavailable("It did not answer.")


def keep_pages(service: Service, folder: Path, message_id: str) -> set[str]:
    """Write each page that an address of the console leads to into a folder; return the addresses."""
    browser, kept = Browser(service, token()), set()
    for rule in service.api.app.url_map.iter_rules():
        if "GET" not in (rule.methods or ()) or "<path:" in rule.rule:
            continue
        path = re.sub("<[^>]*message_id>", message_id, rule.rule)
        path = re.sub("<[^>]*>", "7", path) + ("?q=7" if rule.rule == "/find" else "")
        shown = browser.get(path)
        if shown.mimetype == "text/html":
            (folder / f"{len(kept)}{re.sub('[^a-z0-9]', '-', path.lower())}.html").write_bytes(shown.data)
            kept.add(path)
    (folder / "login.html").write_bytes(Browser(service).get("/login").data)
    csrf = re.search('name="csrf" value="([0-9a-f]{64})"', browser.get("/story-files").text)
    assert csrf is not None
    file = (BytesIO(write_file(told(half(), *CHECKS, order=order_row())).encode()), "story.html")
    sent = {"data": {"csrf": csrf[1], "story": file}, "content_type": "multipart/form-data"}
    opened = browser.client.post("/story-files", headers={"Accept": "text/html"}, **sent)
    assert opened.status_code == 200
    (folder / "opened.html").write_bytes(opened.data)
    return kept


@pytest.mark.timeout(300)  # the jar may have to be fetched
def test_every_page_is_valid_html(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that the console has an address for, found by its routes: while its neighbours answer, and not."""
    folders = [tmp_path / name for name in ("pages/answered", "pages/silent")]
    lying = Lying(tmp_path)
    try:
        sent = lying.producer.send(Message("other", HOSTILE.encode(), keys=(HOSTILE, "7")))
        lying.producer.begin(Message(TOPIC, b"{}", keys=("7",), properties={"tx_id": "41", "deliver_if": "aborted"}))
        with running(tmp_path, console_data_dir=tmp_path, console_drills=True) as service:
            service.start[1]()  # ids
            for folder, played in zip(folders, (answer, silence), strict=True):
                monkeypatch.setattr(Services, "get", played)
                folder.mkdir(parents=True)
                kept = keep_pages(service, folder, sent)
                assert {
                    "/",
                    "/orders/7",
                    "/orders",
                    "/find?q=7",
                    "/payments",
                    "/sagas",
                    "/sagas/7",
                    "/drills",
                    "/sales/7",
                    f"/messages/{sent}",
                } <= kept
                assert len(kept) >= 17
    finally:
        lying.close()
    for page in (tmp_path / "pages").glob("*/*.html"):
        form_ids = re.findall('name="form_id" value="([0-9]+)"', page.read_text())
        assert len(form_ids) == len(set(form_ids)), page.name  # each form asks for something else
    assert vnu.errors(tmp_path / "pages") == []


def test_nothing_that_others_wrote_is_markup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names, keys, bodies, what providers said, errors of returns, reasons, story files: text on every page."""
    kept = tmp_path / "pages"
    kept.mkdir()
    monkeypatch.setattr(Services, "get", answer)
    lying = Lying(tmp_path)
    try:
        sent = lying.producer.send(
            Message("other", HOSTILE.encode(), keys=(HOSTILE, "7"), properties={HOSTILE: HOSTILE})
        )
        with running(tmp_path, console_data_dir=tmp_path, console_drills=True) as service:
            service.start[1]()  # ids
            browser = Browser(service, token())
            for path in ("/sagas/7/retry", "/orders/7/sweep", "/payments/7/refund", "/stock/7/restock"):
                where = re.sub("/[a-z]+$", "", path)
                form = dict(re.findall(r'name="(csrf|form_id)" value="([0-9a-f]+)"', browser.get(where).text))
                browser.post(path, {**form, "why": HOSTILE, "quantity": "1"})
            keep_pages(service, kept, sent)
    finally:
        lying.close()
    pages = {page.name.lstrip("0123456789"): page.read_text() for page in kept.iterdir()}
    assert {name for name, html in pages.items() if "<script>alert" in html or "<b>" in html} == set()
    shown = {name for name, html in pages.items() if "&lt;script&gt;alert" in html}
    wanted = ("orders", "orders-7", "find-q-7", "payments-7", "sagas-7", "sales", "sales-7", "stock-7", "coupons-7")
    assert {f"-{name}.html" for name in wanted} <= shown
    assert any(name.startswith("-messages-0") for name in shown)
    assert "250 minor units of &lt;script&gt;" in pages["-payments-7.html"]


@pytest.mark.parametrize("page", sorted(TEMPLATES.glob("*.html")), ids=lambda page: page.stem)
def test_a_fact_and_its_name_stay_together(page: Path) -> None:
    """Facts are laid out in columns: each name is with its value in one box, or it would be in the column beside it."""
    for facts in re.findall(r'<dl class="facts">(.*?)</dl>', page.read_text(), re.DOTALL):
        assert len(re.findall(r"<div><dt>", facts)) == facts.count("<dt>") > 0
        assert len(re.findall(r"</dd></div>", facts)) == facts.count("</dd>") == facts.count("<dt>")
