"""Logging in to the console, what proves a form, and what no address, header or other site may do."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from werkzeug.http import parse_cookie

from common.process import Service
from console.pages.guard import HEADERS
from console.pages.viewer import COOKIE, LONGEST
from tests.unit.console_site import Browser, running, token

CSRF = re.compile(r'name="csrf" value="([0-9a-f]{64})"')


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("console")) as service:
        yield service


def test_a_page_without_a_login_leads_to_the_login_and_back(console: Service) -> None:
    """What was asked for is loaded afterwards, with its parameters."""
    browser = Browser(console)
    sent = browser.get("/live?after=7")
    assert (sent.status_code, sent.headers["Location"]) == (303, "/login?back=/live%3Fafter%3D7")
    form = browser.get(sent.headers["Location"])
    assert 'name="back" value="/live?after=7"' in form.text
    done = browser.post("/login", {"token": token(), "back": "/live?after=7"})
    assert (done.status_code, done.headers["Location"]) == (303, "/live?after=7")


def test_the_cookie(console: Service) -> None:
    """It is the token, kept from scripts and other sites, and for no longer than half an hour."""
    mine = token()
    cookie = Browser(console).post("/login", {"token": f" Bearer {mine}\n"}).headers["Set-Cookie"]
    parts = {part.strip().partition("=")[0]: part.partition("=")[2] for part in cookie.split(";")}
    assert parse_cookie(cookie)[COOKIE] == mine
    assert {"HttpOnly"} <= parts.keys()
    assert (parts["SameSite"], parts["Path"], parts["Max-Age"]) == ("Strict", "/", str(LONGEST))
    assert "Secure" not in parts


def test_the_cookie_ends_with_its_token(console: Service) -> None:
    """A token that is good for a minute logs in for a minute."""
    cookie = Browser(console).post("/login", {"token": token(lifetime=60.0)}).headers["Set-Cookie"]
    (left,) = re.findall(r"Max-Age=(\d+)", cookie)
    assert 55 < int(left) <= 60


def test_by_https_the_cookie_is_only_for_https(console: Service) -> None:
    """Also where a proxy ends TLS."""
    cookie = Browser(console).post("/login", {"token": token()}, X_Forwarded_Proto="https").headers["Set-Cookie"]
    assert "; Secure" in cookie


def test_strangers_at_the_login_hold_few_threads(console: Service) -> None:
    """Where as many forms of strangers are read as may be, one more is refused; who is logged in goes on."""
    places = console.api.bodies._strangers
    taken = 0
    while places.acquire(blocking=False):
        taken += 1
    try:
        assert Browser(console).post("/login", {"token": token()}).status_code == 503
    finally:
        places.release(taken)
    assert Browser(console).post("/login", {"token": token()}).status_code == 303


@pytest.mark.parametrize("wrong", ["", "x", "a.b.c", token()[:-3] + "abc"])
def test_a_wrong_token(console: Service, wrong: str) -> None:
    """It is refused with what to do, and no cookie."""
    answer = Browser(console).post("/login", {"token": wrong})
    assert answer.status_code == 401
    assert "Set-Cookie" not in answer.headers
    assert "no valid token" in answer.text


def test_a_service_can_not_log_in(console: Service) -> None:
    """Nor look with its token in the cookie."""
    answer = Browser(console).post("/login", {"token": token("stock", ("service",))})
    assert answer.status_code == 403
    assert "Set-Cookie" not in answer.headers
    assert Browser(console, token("stock", ("service",))).get("/").status_code == 403


@pytest.mark.parametrize(
    "back", ["//evil.example", "https://evil.example", "/\\evil", "/login", "\r\nX: y", "javascript:"]
)
def test_the_login_leads_to_no_other_site(console: Service, back: str) -> None:
    """Where to go on is a path of ours, or the beginning."""
    answer = Browser(console).post("/login", {"token": token(), "back": back})
    assert answer.headers["Location"] == "/"


def test_a_user_finds_no_page_of_admins(console: Service) -> None:
    """It is not there, as with the REST API; the menu does not name it."""
    answer = Browser(console, token("alice", ("orders",))).get("/")
    assert answer.status_code == 404
    assert "Overview" not in answer.text


def test_a_login_that_expired_ends_a_poll_at_the_login(console: Service) -> None:
    """The page that polls is told to load it itself."""
    answer = Browser(console, "x").get("/", HX_Request="true")
    assert (answer.status_code, answer.headers["HX-Redirect"]) == (401, "/login")


def test_logging_out(console: Service) -> None:
    """The cookie is gone."""
    browser = Browser(console, token())
    (csrf,) = CSRF.findall(browser.get("/").text)
    answer = browser.post("/logout", {"csrf": csrf})
    assert answer.status_code == 303
    assert "Max-Age=0" in answer.headers["Set-Cookie"]


@pytest.mark.parametrize("csrf", [None, "", "0" * 64, "ü"])
def test_a_form_without_proof_is_refused(console: Service, csrf: str | None) -> None:
    """Whatever it holds instead: the browser is still logged in."""
    answer = Browser(console, token()).post("/logout", {} if csrf is None else {"csrf": csrf})
    assert answer.status_code == 403
    assert "Set-Cookie" not in answer.headers


def test_the_proof_of_another_login_is_none(console: Service) -> None:
    """It belongs to one cookie."""
    (csrf,) = CSRF.findall(Browser(console, token("eve")).get("/").text)
    assert Browser(console, token()).post("/logout", {"csrf": csrf}).status_code == 403


@pytest.mark.parametrize("path", ["/login", "/logout"])
@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_form_of_another_site_is_refused(console: Service, path: str, site: str) -> None:
    """Though it should have the right proof."""
    browser = Browser(console, token())
    (csrf,) = CSRF.findall(browser.get("/").text)
    answer = browser.post(path, {"csrf": csrf, "token": token()}, Sec_Fetch_Site=site)
    assert answer.status_code == 403
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    "query",
    [
        *("token=1", "access_token=1", "Authorization=Bearer"),
        *("q={jwt}", "after={jwt}", "a=1&x=%7Bjwt%7D{jwt}", "q=eyJ-x{jwt}", "q=eyJ.eyJ0.{jwt}"),
    ],
)
@pytest.mark.parametrize("path", ["/", "/login", "/healthz", "/nowhere"])
def test_a_token_in_an_address_is_refused(console: Service, path: str, query: str) -> None:
    """Of whatever name, on every path, and with what to do; it is not repeated."""
    answer = Browser(console, token()).get(f"{path}?{query.replace('{jwt}', token())}")
    assert answer.status_code == 400
    assert "send it at /login" in answer.text
    assert token() not in answer.text


def test_a_token_in_a_path_is_refused(console: Service) -> None:
    """Also percent-encoded."""
    mine = token().replace(".", "%2E")
    assert Browser(console).get(f"/orders/{mine}").status_code == 400


@pytest.mark.parametrize("path", ["/", "/login", "/nowhere", "/healthz", "/live"])
@pytest.mark.parametrize("who", [None, token()])
def test_headers(console: Service, path: str, who: str | None) -> None:
    """Each answer forbids scripts and styles in it, frames, guesses of its type, and to be kept."""
    answer = Browser(console, who).get(path)
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    policy = answer.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy


def test_pages_have_no_script_or_style_in_them(console: Service) -> None:
    """Nothing that the policy would block: no inline script, style or handler, and no address of elsewhere."""
    pages = [Browser(console).get("/login").text, Browser(console, token()).get("/").text]
    for page in pages:
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|javascript:", page)
        assert set(re.findall(r'(?:src|href|action)="([^"/]+)', page)) <= {"#main", "data:,"}


def test_markup_in_a_name_stays_text(console: Service) -> None:
    """A user's name is what any user may choose."""
    page = Browser(console, token("<script>alert(1)</script>")).get("/").text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert" not in page


def test_static_files(console: Service) -> None:
    """They are kept for a year under an address that their content gives, are compressed, and nothing else is sent."""
    browser = Browser(console)
    (path,) = re.findall(r'href="(/static/[0-9a-f]{16}/console\.css)"', browser.get("/login").text)
    found = browser.get(path, Accept_Encoding="gzip")
    assert found.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert found.headers["Content-Encoding"] == "gzip"
    assert browser.get(path).data == (Path("console/static/console.css")).read_bytes()
    digest = path.split("/")[2]
    others = ("0000000000000000/console.css", f"{digest}/vendor.json", f"{digest}/../app.py")
    for other in (f"/static/{name}" for name in others):
        assert browser.get(other).status_code == 404


def test_errors_are_pages_for_browsers_and_problems_for_programs(console: Service) -> None:
    """With the same status and the same words."""
    browser = Browser(console)
    page, problem = browser.get("/nowhere"), browser.client.get("/nowhere")
    assert (page.status_code, page.mimetype) == (404, "text/html")
    assert (problem.status_code, problem.mimetype) == (404, "application/problem+json")
    assert problem.get_json()["detail"] in page.text
