"""The website chat over real HTTP: what is served, what is refused, limits, sessions, the page without scripts."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import html
import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import brotli
import pytest
import yaml

from tests.channels.running import Running
from tests.conftest import DEMO, ROOT, outreach, table
from tests.test_service import get, message, post

LANGUAGES = ("en", "es", "ht")
WEB = ROOT / "bot" / "channels" / "web"
MARKUP = table("markup")


def ask(
    address: str, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers in lower case, and the body as it went over the wire."""
    where = urlsplit(address)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=30)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def page_id() -> str:
    """An id as the page makes it."""
    return hashlib.sha256(str(time.time_ns()).encode()).hexdigest()[:32] + "-1"


# --- what is served -------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_document_stays_within_its_bytes(language: str, served: tuple[str, Path]) -> None:
    _, plain_headers, plain = ask(served[0], "GET", f"/chat?l={language}")
    assert "content-encoding" not in plain_headers
    _, headers, wire = ask(served[0], "GET", f"/chat?l={language}", headers={"Accept-Encoding": "gzip, deflate, br"})
    assert headers["content-encoding"] == "br"
    assert "accept-encoding" in headers["vary"].lower()
    assert brotli.decompress(wire) == plain
    assert len(wire) <= 12_000
    _, headers, wire = ask(served[0], "GET", f"/chat?l={language}", headers={"Accept-Encoding": "gzip"})
    assert headers["content-encoding"] == "gzip"
    assert gzip.decompress(wire) == plain


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_answer_stays_within_its_bytes(language: str, known: Any, words: Any) -> None:
    """1.5 KB a turn, headers included; what stands behind MORE is up to 4,000 characters long, and has twice that."""
    from tests.test_render import _conversation

    headers = 200
    for topic in known.answers:
        for number, reply in enumerate(_conversation(topic, language, "web", known, words)):
            body = {"v": 1, "session": "x" * 32, "expires_in": 86400, "lang": language, "messages": [reply.as_dict()]}
            data = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
            size = headers + len(brotli.compress(data, mode=brotli.MODE_TEXT, quality=6))
            assert size <= (1_500 if number == 0 else 3_500), (topic, number, size)


def test_the_loader_is_small_immutable_and_known_by_its_hash(served: tuple[str, Path]) -> None:
    from bot.channels.web import build

    loader = build.loader()
    status, headers, wire = ask(
        served[0], "GET", f"/chat/loader/{loader.version}.js", headers={"Accept-Encoding": "br", "Origin": DEMO}
    )
    assert status == 200
    assert len(wire) <= 1_500
    body = brotli.decompress(wire)
    assert loader.integrity == "sha384-" + base64.b64encode(hashlib.sha384(body).digest()).decode()
    assert loader.version == hashlib.sha256(body).hexdigest()[:12]
    assert headers["cache-control"] == "public, max-age=31536000, immutable"
    assert headers["access-control-allow-origin"] == "*"
    assert "etag" not in headers
    assert ask(served[0], "GET", "/chat/loader/000000000000.js")[0] == 404


def test_the_snippet_is_today_s_wherever_it_stands() -> None:
    """The command, the docs and the demo page show the loader as it is served; after a change run `outreach snippet`."""
    from bot.channels.web import build

    loader = build.loader()
    printed = outreach("snippet", "--language", "ht", environment={"PUBLIC_URL": ""}).stdout
    assert 'href="http://localhost:8080/chat?l=ht"' in printed
    assert 'data-lang="ht"' in printed
    for where, text in (
        ("outreach snippet", printed),
        ("docs/operators.md", (ROOT / "docs" / "operators.md").read_text("utf-8")),
        ("deployment/demo/index.html", (ROOT / "deployment" / "demo" / "index.html").read_text("utf-8")),
    ):
        assert f"/chat/loader/{loader.version}.js" in text, where
        assert f'integrity="{loader.integrity}"' in text, where


def test_the_policy_allows_what_the_page_holds_and_nothing_else(served: tuple[str, Path]) -> None:
    _, headers, body = ask(served[0], "GET", "/chat")
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["connect-src"] == policy["form-action"] == "'self'"
    assert policy["base-uri"] == "'none'"
    assert policy["frame-ancestors"] == DEMO
    assert policy["require-trusted-types-for"] == "'script'"
    assert policy["trusted-types"] == "'none'"
    scripts = re.findall(r"<script(?: type=\"module\")?>(.*?)</script>", body.decode(), re.DOTALL)
    hashes = {f"'sha256-{base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()}'" for one in scripts}
    assert set(policy["script-src"].split()) == hashes
    _, headers, _ = ask(served[0], "GET", "/chat/basic")
    assert "script-src" not in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]


def test_nothing_may_frame_the_chat_unless_it_is_named(desk: Any) -> None:
    from bot.channels.web.channel import WebChannel

    with Running(desk, [WebChannel(desk)]) as running:
        address = running.address
        assert "frame-ancestors 'none'" in ask(address, "GET", "/chat")[1]["content-security-policy"]


@pytest.mark.parametrize("name", ["page.js", "check.js", "loader.js"])
def test_the_scripts_touch_no_sink_and_no_store(name: str) -> None:
    code = (WEB / name).read_text("utf-8")
    forbidden = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|localStorage|sessionStorage|indexedDB"
        r"|document\.cookie|\bcaches\b|serviceWorker|Notification|history\.|location\.hash|document\.title"
    )
    assert re.findall(forbidden, code) == []


@pytest.mark.parametrize(
    ("asked", "accepted", "language"),
    [
        ("es", "en", "es"),
        ("HT", "en", "ht"),
        ("es-US", "en", "es"),
        ("de", "es-419,en;q=0.5", "es"),
        ("", "ht-HT,fr;q=0.8", "ht"),
        ("", "fr-CA,en;q=0.3", "ht"),
        ("", "en;q=0.5, es;q=0.9", "es"),
        ("", "de, *;q=0.1", "en"),
        ("", "es;q=0", "en"),
        ("", ";;;q=,,", "en"),
        ("<script>", "", "en"),
    ],
)
def test_the_language_is_asked_for_then_preferred_then_english(asked: str, accepted: str, language: str) -> None:
    from bot.channels.web.channel import wanted_language

    assert wanted_language(asked, accepted) == language


# --- what is refused ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Refused:
    """A request to /chat/v1/messages that is not taken."""

    label: str
    body: bytes = json.dumps(message("canary-in-text")).encode()
    status: int = 400
    error: str = "bad_request"
    headers: dict[str, str] = field(default_factory=dict)


REFUSED = [
    Refused("no JSON", b"canary"),
    Refused("a list", b'["canary"]'),
    Refused("no text", b'{"id":"canary","session":null}'),
    Refused("a number as text", json.dumps({**message("x"), "text": 7}).encode()),
    Refused("an object as session", json.dumps({**message("x"), "session": {"canary": 1}}).encode()),
    Refused("a path as id", json.dumps({**message("x"), "id": "../canary"}).encode()),
    Refused("a long button", json.dumps({**message("x"), "button": "canary" * 20}).encode()),
    Refused("deep nesting", b"[" * 8000),
    Refused("bytes that are no text", b"\xff\xfe\x00canary"),
    Refused("nothing", b""),
    Refused("a form, as any site can post", headers={"Content-Type": "application/x-www-form-urlencoded"}),
    Refused("no kind of content", headers={"Content-Type": ""}),
    Refused("posted by another site", headers={"Sec-Fetch-Site": "cross-site"}),
    Refused("posted by a neighbour", headers={"Sec-Fetch-Site": "same-site"}),
    Refused("more than 16 KB", json.dumps(message("canary" * 4000)).encode(), 413, "too_long"),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.label)
def test_what_is_refused_says_why_and_repeats_nothing(case: Refused, served: tuple[str, Path], words: Any) -> None:
    headers = {"Content-Type": "application/json", "Accept-Language": "es-419", **case.headers}
    status, answered, body = ask(served[0], "POST", "/chat/v1/messages", case.body, headers)
    assert status == case.status
    assert answered["content-type"] == "application/json; charset=utf-8"
    assert answered["cache-control"] == "no-store"
    assert b"canary" not in body
    said = json.loads(body)
    assert said["error"] == case.error
    if case.status == 413:
        assert said["messages"][0]["text"] == words.line("phrase/too_long", "es")
        assert "911" in said["messages"][0]["text"]
    assert get(served[0], "/health")[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "application/json; charset=utf-8", "Sec-Fetch-Site": "same-origin"},
        {"Content-Type": "text/plain;charset=UTF-8", "Sec-Fetch-Site": "same-origin"},
        {"Content-Type": "application/json", "Sec-Fetch-Site": "none"},
        {"Content-Type": "application/json"},
    ],
    ids=["our page", "sendBeacon's kind", "typed by hand", "an old phone that does not say"],
)
def test_what_our_own_pages_send_is_taken(headers: dict[str, str], served: tuple[str, Path]) -> None:
    assert ask(served[0], "POST", "/chat/v1/messages", json.dumps(message("hello")).encode(), headers)[0] == 200


@pytest.mark.parametrize("text", [*MARKUP, "\ud800 half a sign", "\x00\x01\x07", " ", "🙂" * 500, "a" * 8000])
def test_odd_texts_are_answered_and_not_repeated(text: str, served: tuple[str, Path]) -> None:
    status, answered, body = ask(
        served[0],
        "POST",
        "/chat/v1/messages",
        json.dumps(message(text, f"odd-{len(text)}")).encode(),
        {"Content-Type": "application/json"},
    )
    assert status == 200
    assert answered["content-type"].startswith("application/json")
    assert answered["x-content-type-options"] == "nosniff"
    assert json.loads(body)["messages"]
    assert "alert(1)" not in body.decode()


def test_a_chunked_body_has_the_same_limit(served: tuple[str, Path]) -> None:
    where = urlsplit(served[0])
    with socket.create_connection((where.hostname or "", where.port or 0), timeout=10) as wire:
        wire.sendall(
            b"POST /chat/v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        wire.sendall(b"4e20\r\n" + b"a" * 20_000 + b"\r\n")
        assert wire.recv(4096).startswith(b"HTTP/1.1 413")


def test_a_body_that_does_not_come_is_not_waited_for(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from bot import bounds
    from bot.channels.web.channel import WebChannel

    assert bounds.BODY_SECONDS == 10
    monkeypatch.setattr(bounds, "BODY_SECONDS", 1)
    with Running(desk, [WebChannel(desk)]) as running:
        address = running.address
        where = urlsplit(address)
        with socket.create_connection((where.hostname or "", where.port or 0), timeout=10) as wire:
            wire.sendall(
                b"POST /chat/v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
            )
            started = time.monotonic()
            answer = b""
            while piece := wire.recv(4096):
                answer += piece
            assert answer.startswith(b"HTTP/1.1 408")
            assert time.monotonic() - started < 4


# --- sessions -------------------------------------------------------------------------------------


def test_only_our_own_tokens_are_sessions(served: tuple[str, Path]) -> None:
    _, first = post(served[0], message("can the jail hold me for ice", "s-1"))
    token = first["session"]
    for invented in ("x" * 32, token[:-1] + ("0" if token[-1] != "0" else "1"), token[:10], "", "é" * 32):
        _, answer = post(served[0], message("more", "s-2", invented))
        assert answer["session"] not in (invented, token)
        assert answer["messages"][0]["kind"] == "notice"
    assert post(served[0], message("more", "s-3", token))[1]["session"] == token


def test_a_first_message_sent_twice_is_answered_once(served: tuple[str, Path]) -> None:
    number = page_id()
    _, first = post(served[0], message("can the jail hold me for ice", number))
    _, again = post(served[0], message("can the jail hold me for ice", number))
    assert again == first
    # An id that is not our page's own is nobody's key to a conversation.
    one, other = (post(served[0], message("can the jail hold me for ice", "t-1"))[1] for _ in range(2))
    assert one["session"] != other["session"]


def test_a_page_that_was_left_before_its_first_answer_is_forgotten(served: tuple[str, Path]) -> None:
    number = page_id()
    _, first = post(served[0], message("can the jail hold me for ice", number))
    assert post(served[0], {"session": None, "id": number}, "/chat/v1/end")[0] == 204
    _, after = post(served[0], message("more", "after-1", first["session"]))
    assert after["messages"][0]["kind"] == "notice"


def test_what_ends_while_it_is_answered_is_forgotten_all_the_same(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from bot.channels.web.channel import WebChannel

    turn, begun = desk.assistant.turn, threading.Event()

    async def slowly(*arguments: Any) -> Any:
        begun.set()
        await asyncio.sleep(0.5)
        return await turn(*arguments)

    channel = WebChannel(desk)
    number = page_id()
    with Running(desk, [channel]) as running:
        address = running.address
        monkeypatch.setattr(desk.assistant, "turn", slowly)
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(post, address, message("can the jail hold me for ice", number))
            assert begun.wait(5)
            assert post(address, {"session": None, "id": number}, "/chat/v1/end")[0] == 204
            token = answer.result()[1]["session"]
        assert channel.sessions.first(number) == token
        assert desk.store.get(desk.pseudonyms.of("web", token)) is None


def test_a_token_is_known_tomorrow_and_no_longer_the_day_after(monkeypatch: pytest.MonkeyPatch) -> None:
    import datetime as dt

    from actions import clock
    from bot.channels.web.sessions import Sessions
    from bot.privacy.pseudonyms import Pseudonyms
    from tests.conftest import NOW

    sessions = Sessions(Pseudonyms())
    token = sessions.token(None, "a")
    assert re.fullmatch(r"[A-Za-z0-9_-]{32}", token)
    for days, known in ((0, True), (1, True), (2, False)):
        clock.fix(NOW + dt.timedelta(days=days))
        assert sessions.known(token) is known


@pytest.mark.parametrize(
    ("label", "body", "status"),
    [
        ("an unknown session", {"session": "x" * 32}, 204),
        ("no session at all", {}, 204),
        ("a number", {"session": 7}, 400),
        ("a list", [1], 400),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_the_end_of_nothing_is_no_error(label: str, body: Any, status: int, served: tuple[str, Path]) -> None:
    assert post(served[0], body, "/chat/v1/end")[0] == status


# --- limits ---------------------------------------------------------------------------------------


@pytest.fixture
def limited(assistant: Any) -> Iterator[str]:
    """A server behind a proxy on this machine, where a network may send three messages a minute."""
    from bot.channels.web.channel import WebChannel
    from bot.desk import Desk
    from bot.privacy.limits import Limit, Limiter
    from bot.privacy.store import MemoryStore
    from bot.settings import Settings

    desk = Desk(assistant, MemoryStore(Settings(data=Path("var"), retention_hours=24)), counting=False)
    channel = WebChannel(desk, proxies=[ip_network("127.0.0.0/8")], limiter=Limiter((Limit(3, 60.0),)))
    with Running(desk, [channel]) as running:
        address = running.address
        yield address


def test_a_network_has_a_limit_and_danger_has_none(limited: str, words: Any) -> None:
    here = {"X-Forwarded-For": "203.0.113.7"}
    for number in range(3):
        assert post(limited, message("hola", f"n-{number}"), headers=here)[0] == 200
    status, answered, body = ask(
        limited,
        "POST",
        "/chat/v1/messages",
        json.dumps(message("hola, necesito ayuda", "n-4")).encode(),
        {"Content-Type": "application/json", "X-Forwarded-For": "203.0.113.99"},
    )
    said = json.loads(body)
    assert status == 429
    assert said["error"] == "rate"
    assert 1 <= said["retry_after"] <= 60
    assert answered["retry-after"] == str(said["retry_after"])
    assert said["messages"][0]["text"] == words.line("phrase/slow_down", "es")
    assert "911" in said["messages"][0]["text"]
    for number in range(2):
        status, said = post(limited, message("me quiere matar, tiene una pistola", f"n-9{number}"), headers=here)
        assert status == 429
        assert said["messages"][0]["kind"] == "emergency"
    # Others go on.
    assert post(limited, message("hola", "n-5"), headers={"X-Forwarded-For": "198.51.100.1"})[0] == 200
    # What the visitor himself writes in front of his address helps nobody.
    assert post(limited, message("hola", "n-6"), headers={"X-Forwarded-For": "192.0.2.1, 203.0.113.7"})[0] == 429


def test_the_page_without_scripts_has_the_same_limit(limited: str, words: Any) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded", "X-Forwarded-For": "203.0.113.7"}
    for _ in range(3):
        assert ask(limited, "POST", "/chat/basic", b"text=hello&l=en", form)[0] == 200
    status, _, body = ask(limited, "POST", "/chat/basic", b"text=hello&l=en", form)
    assert status == 429
    assert words.line("phrase/slow_down", "en").split(". ")[1] in body.decode()


def test_one_sender_is_told_once_and_danger_once_a_minute(served: tuple[str, Path], words: Any) -> None:
    _, first = post(served[0], message("hello", "l-0"))
    session = first["session"]
    answers = [post(served[0], message("hello", f"l-{number}", session)) for number in range(1, 17)]
    assert [status for status, _ in answers] == [200] * 14 + [429] * 2
    assert answers[14][1]["messages"][0]["text"] == words.line("phrase/slow_down", "en")
    assert answers[15][1]["messages"] == []
    urgent = [
        post(served[0], message("he is shooting at us right now", f"u-{number}", session))[1] for number in range(2)
    ]
    assert urgent[0]["messages"][0]["kind"] == "emergency"
    assert urgent[1]["messages"] == []
    assert urgent[1]["retry_after"] >= 1


def test_a_full_queue_is_busy(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from bot.channels.web.channel import WebChannel

    turn = desk.assistant.turn

    async def slowly(*arguments: Any) -> Any:
        await asyncio.sleep(0.3)
        return await turn(*arguments)

    with Running(desk, [WebChannel(desk)]) as running:
        address = running.address
        session = post(address, message("hello", "q-0"))[1]["session"]
        monkeypatch.setattr(desk.assistant, "turn", slowly)
        with ThreadPoolExecutor(10) as pool:
            answers = list(
                pool.map(lambda number: post(address, message("hello", f"q-{number}", session)), range(1, 11))
            )
    busy = [body for status, body in answers if status == 429]
    assert busy
    assert all(
        body["error"] == "busy" and body["retry_after"] and "911" in body["messages"][0]["text"] for body in busy
    )
    assert sum(status == 200 for status, _ in answers) >= 6


def test_only_a_server_that_others_reach_counts_networks(desk: Any, capsys: pytest.CaptureFixture[str]) -> None:
    from bot.server import open_channels
    from bot.settings import Settings

    own = Settings(data=Path("var"), retention_hours=24)
    for settings, counts, says in (
        (own, False, ""),
        (replace(own, public_url="https://chat.example.org"), True, "TRUSTED_PROXIES is not set"),
        (replace(own, trusted_proxies=(ip_network("127.0.0.1"),)), True, ""),
    ):
        web = open_channels(desk, settings)[0]
        printed = capsys.readouterr().out
        assert bool(web._limiter.limits) is counts  # type: ignore[attr-defined]
        assert ("TRUSTED_PROXIES" in printed) is bool(says)
        assert says in printed


@dataclass(frozen=True)
class Visit:
    """Where a request comes from, as the server sees it."""

    label: str
    peer: str
    forwarded: tuple[str, ...]
    network: str
    proxies: tuple[str, ...] = ("10.0.0.0/8", "fd00::/8")


VISITS = [
    Visit("no proxy", "203.0.113.9", (), "203.0.113.0/24"),
    Visit("a header that nobody of ours wrote", "203.0.113.9", ("198.51.100.1",), "203.0.113.0/24"),
    Visit("behind our proxy", "10.0.0.2", ("198.51.100.77",), "198.51.100.0/24"),
    Visit("behind two of ours", "10.0.0.2", ("198.51.100.77, 10.0.0.3",), "198.51.100.0/24"),
    Visit("an invented first address", "10.0.0.2", ("1.2.3.4, 198.51.100.77",), "198.51.100.0/24"),
    Visit("an invented first header", "10.0.0.2", ("1.2.3.4", "198.51.100.77"), "198.51.100.0/24"),
    Visit("with a port", "10.0.0.2", ("198.51.100.77:5060",), "198.51.100.0/24"),
    Visit("IPv6", "2001:db8:1:2:3::4", (), "2001:db8:1::/48"),
    Visit("IPv6 behind our proxy, with a port", "fd00::1", ('"[2001:db8:1:2::9]:443"',), "2001:db8:1::/48"),
    Visit("IPv4 written as IPv6", "::ffff:203.0.113.9", (), "203.0.113.0/24"),
    Visit("nonsense in the header", "10.0.0.2", ("unknown, <script>",), "10.0.0.0/24"),
    Visit("only proxies", "10.0.0.2", ("10.1.1.1, 10.0.0.3",), "10.1.1.0/24"),
    Visit("no peer", "", (), ""),
    Visit("no proxies are known", "10.0.0.2", ("198.51.100.77",), "10.0.0.0/24", ()),
]


@pytest.mark.parametrize("case", VISITS, ids=lambda case: case.label)
def test_the_network_is_the_visitor_s(case: Visit) -> None:
    from bot.channels.web.network import network

    assert network(case.peer, case.forwarded, [ip_network(one) for one in case.proxies]) == case.network


# --- the page without scripts ---------------------------------------------------------------------


class Page(HTMLParser):
    """What a page holds: its elements, its form's fields, its buttons and links."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.handlers: list[str] = []
        self.links: list[str] = []
        self.fields: dict[str, str] = {}
        self.buttons: list[dict[str, str]] = []
        self.text = text
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.tags.add(tag)
        self.handlers += [name for name in found if name.startswith("on")]
        self.links += [found[name] for name in ("href", "src", "action") if name in found]
        if tag == "input":
            self.fields[found["name"]] = found["value"]
        if tag == "button" and "name" in found:
            self.buttons.append(found)


def say(address: str, **fields: str) -> Page:
    """Submit the form."""
    status, headers, body = ask(
        address,
        "POST",
        "/chat/basic",
        urlencode(fields).encode(),
        {
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept-Encoding": "" if "restart" in fields else "gzip, br",
            "Sec-Fetch-Site": "same-origin",
        },
    )
    assert status == 200
    # It repeats what was said beside a secret: compressed, their lengths would tell.
    assert "content-encoding" not in headers
    assert "set-cookie" not in headers
    return Page(body.decode())


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_talk_without_scripts(language: str, served: tuple[str, Path], words: Any) -> None:
    address = served[0]
    status, text, headers = get(address, f"/chat/basic?l={language}")
    assert status == 200
    assert headers["Cache-Control"] == "no-store"
    start = Page(text)
    assert "script" not in start.tags
    for line in ("phrase/page_line_911", "phrase/page_line_988", "phrase/page_line_home", "phrase/page_line_work"):
        assert words.line(line, language) in html.unescape(re.sub(r"</?a[^>]*>", "", text))
    assert {"/chat/basic?l=en", "/chat/basic?l=es", "/chat/basic?l=ht", "https://weather.com/", "tel:911"} <= set(
        start.links
    )
    example = next(button for button in start.buttons if button["name"] == "say")
    first = say(address, say=example["value"], **start.fields)
    session = first.fields["session"]
    assert len(session) == 32
    assert not any(session in link for link in first.links)
    assert words.line("police_questions/short", language).split(".")[0] in html.unescape(first.text)
    assert any(link.startswith("https://") for link in first.links)
    more = next(button for button in first.buttons if button["name"] == "button")
    second = say(address, button=more["value"], text="", **first.fields)
    assert second.fields["session"] == session
    assert second.text != first.text
    end = say(address, restart="1", text="", **second.fields)
    assert end.fields["session"] == ""
    _, after = post(address, message("more", "b-9", session))
    assert after["messages"][0]["kind"] == "notice"


def test_a_reload_of_an_answer_is_the_same_answer(served: tuple[str, Path]) -> None:
    start = Page(get(served[0], "/chat/basic?l=en")[1])
    one, other = (say(served[0], text="can the jail hold me for ice", **start.fields) for _ in range(2))
    assert one.fields["session"] == other.fields["session"]
    assert one.text.replace(one.fields["id"], "") == other.text.replace(other.fields["id"], "")


@pytest.mark.parametrize("text", MARKUP)
def test_markup_is_text_without_scripts_too(text: str, served: tuple[str, Path]) -> None:
    plain = Page(get(served[0], "/chat/basic?l=en")[1])
    page = say(served[0], text=text, session=text, id=text, l=text)
    assert page.tags <= plain.tags | {"details", "summary", "p", "li"}
    assert page.handlers == []
    assert {urlsplit(link).scheme for link in page.links} <= {"", "https", "tel", "data"}
    assert {link for link in page.links if urlsplit(link).scheme == "data"} <= {"data:,"}


@pytest.mark.parametrize(
    ("label", "body", "headers", "status"),
    [
        ("posted by another site", b"text=hello", {"Sec-Fetch-Site": "cross-site"}, 400),
        ("too many fields", b"&".join(b"a=1" for _ in range(50)), {}, 400),
        ("bytes that are no text", b"text=%ff%fe&l=en", {}, 200),
        ("nothing", b"", {}, 200),
        ("too large", b"text=" + b"a" * 20_000, {"Accept-Language": "ht"}, 413),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_odd_forms(label: str, body: bytes, headers: dict[str, str], status: int, served: tuple[str, Path]) -> None:
    kind = {"Content-Type": "application/x-www-form-urlencoded", **headers}
    got, _, page = ask(served[0], "POST", "/chat/basic", body, kind)
    assert got == status
    if status == 413:
        assert '<html lang="ht"' in page.decode()
        assert "911" in page.decode()


# --- the organisation's own look ------------------------------------------------------------------


def _organisation(folder: Path, **change: Any) -> Path:
    data = yaml.safe_load((ROOT / "deployment" / "organisation.example.yml").read_text("utf-8"))
    (folder / "o.yml").write_text(yaml.safe_dump({**data, **change}), "utf-8")
    return folder / "o.yml"


@pytest.mark.parametrize(
    ("colours", "says"),
    [
        ({"accent": "#ffcc00"}, "accent_text #ffffff on accent #ffcc00 has a contrast of 1.5:1"),
        ({"text": "#888888"}, "text #888888 on background #f6f5f1"),
        ({"accent": "#ffcc00", "accent_text": "#000000"}, "accent #ffcc00 on background"),
        ({"accent": "teal"}, "accent is 'teal'"),
        ({"acent": "#1f5f5b"}, "unknown field 'acent'"),
        (["#1f5f5b"], "colours must be fields"),
    ],
)
def test_colours_that_cannot_be_read_are_named(colours: Any, says: str, tmp_path: Path) -> None:
    from actions.knowledge.load import KnowledgeError
    from actions.organisation import read

    with pytest.raises(KnowledgeError, match=re.escape(says)):
        read(_organisation(tmp_path, colours=colours))


def test_colours_that_cannot_be_read_stop_the_start(tmp_path: Path) -> None:
    path = _organisation(tmp_path, colours={"accent": "#ffcc00"})
    done = outreach("run", "--port", "8398", environment={"OUTREACH_ORGANISATION": str(path)})
    assert done.returncode == 2
    assert "has a contrast of 1.5:1" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"header": {"en": "A house"}}, "header lack es, ht"),
        ({"exit_address": "javascript:alert(1)"}, "exit_address is"),
    ],
)
def test_a_header_and_an_exit_that_cannot_be_used_are_named(change: dict[str, Any], says: str, tmp_path: Path) -> None:
    from actions.knowledge.load import KnowledgeError
    from actions.organisation import read

    with pytest.raises(KnowledgeError, match=says):
        read(_organisation(tmp_path, **change))


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_header_is_the_organisation_s(language: str, known: Any) -> None:
    from actions.organisation import read
    from bot.channels.web import build
    from bot.words import Words

    own = read(ROOT / "deployment" / "organisation.example.yml")
    words = Words(known, own)
    for made in (build.chat_document(words, language), build.basic_document(words, language)):
        assert f">{own.header[language]}</strong>" in made.body
        assert own.contact in made.body
        assert own.name in made.body
    snippet = build.snippet("https://chat.example.org", own, language, "Chat")
    assert f'data-colours="{own.colours["accent"]} {own.colours["accent_text"]}"' in snippet


@pytest.mark.parametrize(
    "colours",
    [
        {},
        {"accent": "#7a1f5f"},
        {"accent": "#9be0d5", "accent_text": "#102020", "background": "#101418", "text": "#f0f0f0"},
    ],
    ids=["none", "an accent", "a dark page"],
)
def test_every_colour_that_is_made_of_them_can_be_read(colours: dict[str, str]) -> None:
    from actions.organisation import Organisation, contrast
    from bot.channels.web import build

    css = build.style(Organisation(name="x", colours=colours))
    rules = [rule for rule in re.findall(r":root\{([^}]*)\}", css.replace("#fff;", "#ffffff;")) if "--quiet" in rule]
    # The last light and the last dark rule count; those for print are black on white.
    shown = [rule for rule in rules if "--quiet:#333" not in rule][-2:]
    assert len(shown) == 2
    for rule in shown:
        found = dict(part.split(":") for part in rule.split(";") if part.startswith("--"))
        for ink, ground in (
            *((ink, ground) for ink in ("ink", "quiet", "accent") for ground in ("ground", "card")),
            ("ink", "own"),
            ("on-accent", "accent"),
        ):
            assert contrast(found[f"--{ink}"], found[f"--{ground}"]) >= 4.5, (ink, ground, rule)
