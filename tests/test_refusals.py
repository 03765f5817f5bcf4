"""Only who belongs gets in: what is refused, what is harmless, and that nothing of it changes what is kept."""

from __future__ import annotations

import gzip
import http.client
import json
import logging
import re
import socket
import sqlite3
import time
import tracemalloc
import urllib.parse
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from bot import bounds
from bot import server as serving
from bot.assistant import Assistant, Outcome
from bot.desk import Desk, Message, Result
from bot.privacy.keys import MemoryKeys, subkey
from bot.privacy.pseudonyms import Pseudonyms
from bot.privacy.store import MemoryStore
from bot.privacy.store_file import NAME as DATABASE
from bot.privacy.store_file import FileStore
from bot.settings import Settings, Telegram, Twilio
from bot.train import ModelError, model_path
from tests.channels import as_twilio
from tests.channels.bot_api import BotApi
from tests.channels.running import Running
from tests.conftest import ROOT

TELEGRAM_TOKEN = "123456789:AAExampleExampleExampleExampleExample03"
TELEGRAM_SECRET = "telegram-proves-itself-with-this-three"
TELEGRAM = "/webhooks/telegram"
SECRET_HEADER = {"X-Telegram-Bot-Api-Secret-Token": TELEGRAM_SECRET}
JSON = {"Content-Type": "application/json"}
QUESTION = "can the police ask for my papers"
OURS = ("/chat", "/webhooks/sms", "/webhooks/telegram", "/health", "/ready")


# --- the application with all channels ---------------------------------------------------------------


@dataclass
class Service:
    """All channels of one desk over real HTTP, and its store's file."""

    app: Running
    desk: Desk
    api: BotApi
    file: Path

    @property
    def port(self) -> int:
        return int(self.app.address.rpartition(":")[2])

    def ask(
        self, path: str, body: bytes | None = None, headers: dict[str, str] | None = None, method: str = ""
    ) -> tuple[int, str, dict[str, str]]:
        """Status, text, headers."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request(method or ("GET" if body is None else "POST"), path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read().decode("utf-8", "replace"), dict(answer.getheaders())

    def sends(self, sent: bytes, seconds: float = 10) -> bytes:
        """What comes back to these bytes until the server closes the connection."""
        got = b""
        with socket.create_connection(("127.0.0.1", self.port), seconds) as connection:
            connection.sendall(sent)
            connection.settimeout(seconds)
            while piece := connection.recv(65536):
                got += piece
        return got

    def kept(self) -> dict[str, list[Any]]:
        """Every row of every table."""
        with closing(sqlite3.connect(f"file:{self.file}?mode=ro", uri=True)) as database:
            tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            return {table: sorted(database.execute(f"SELECT * FROM {table}")) for table in tables}

    def text(self, body: str, sender: str = "+13055550142", **more: str) -> as_twilio.Got:
        """A signed message by Twilio."""
        return as_twilio.post(self.app.address, as_twilio.sms(body, sender, **more))

    def page(
        self, body: str, session: str | None = None, number: str = "t-1", **more: Any
    ) -> tuple[int, dict[str, Any]]:
        """A message of the website's chat."""
        made = {"v": 1, "session": session, "id": number, "lang": None, "hint": "en", "text": body, "button": None}
        status, text, _ = self.ask("/chat/v1/messages", json.dumps({**made, **more}).encode(), JSON)
        return status, json.loads(text)

    def chat(self, body: str, chat: int = 700_100_001, number: int = 0, **content: Any) -> tuple[int, str]:
        """A message by Telegram."""
        person = {"id": chat, "is_bot": False, "first_name": "Resident"}
        message = {"message_id": 1, "from": person, "date": 1795348800, "text": body, **content}
        made = {"update_id": number or next(UPDATES), "message": {**message, "chat": {**person, "type": "private"}}}
        return self.ask(TELEGRAM, json.dumps(made).encode(), {**JSON, **SECRET_HEADER})[:2]


UPDATES = iter(range(890_000_001, 899_000_000))


@contextmanager
def all_channels(assistant: Any, folder: Path) -> Iterator[Service]:
    """The application as `outreach run` builds it."""
    own = Settings(
        data=folder,
        retention_hours=24,
        public_url=as_twilio.PUBLIC_URL,
        twilio=Twilio(as_twilio.ACCOUNT, as_twilio.TOKEN, as_twilio.NUMBER, delete_after=0),
    )
    with BotApi() as api:
        own = Settings(**{**own.__dict__, "telegram": Telegram(TELEGRAM_TOKEN, TELEGRAM_SECRET, api.address)})
        desk = Desk(
            assistant,
            FileStore(folder, own, durable=False),
            Pseudonyms(MemoryKeys(), subkey(as_twilio.SECRET, "opt-out")),
        )
        with Running(desk, serving.open_channels(desk, own)) as app:
            yield Service(app, desk, api, folder / DATABASE)


@pytest.fixture(scope="module")
def service(assistant: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One application for all tests that leave it as it was."""
    with all_channels(assistant, tmp_path_factory.mktemp("refusals") / "var") as made:
        yield made


# --- what is not there --------------------------------------------------------------------------------


def _rasa_s_paths() -> list[str]:
    """Every address of Rasa's own HTTP API, as this version of Rasa has them."""
    import rasa.server

    app = rasa.server.create_app()
    paths = {"/" + re.sub(r"<[^>]+>", "default", route.path) for route in app.router.routes_all.values()}
    assert len(paths) > 10
    return sorted(paths)


def _stock_channels() -> list[str]:
    from rasa.core.channels import BUILTIN_CHANNELS

    names = sorted({*BUILTIN_CHANNELS, "rest", "callback", "socketio"})
    paths = [f"/webhooks/{name}/webhook" for name in names]
    paths += [f"/webhooks/{name}" for name in names if name != "telegram"]
    return [*paths, "/webhooks/telegram/set_webhook", "/webhooks/twilio_voice/call_status", "/webhooks/rasa/token"]


ELSEWHERE = [
    "/", "/socket.io/", "/socket.io/?EIO=4&transport=polling", "/model", "/models/outreach.tar.gz", "/.env", "/.git/config", "/var/outreach.db",
    "/docs", "/openapi.json", "/metrics", "/debug", "/admin", "/static/x", "/favicon.ico", "/robots.txt", "/chat/../model",
    "/chat/..%2f..%2f.env", "/chat/%2e%2e/%2e%2e/.env", "//model", "/webhooks", "/webhooks/", "/webhooks/rest", "/chat/v1", "/chat/v2/messages",
    "/health/x", "/READY", "/Chat",
]  # fmt: skip
METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD")
LEAKS = re.compile(r"rasa|sanic|python|uvloop|traceback|version|\d+\.\d+\.\d+", re.IGNORECASE)


def test_nothing_of_rasa_s_own_answers(served: tuple[str, Path]) -> None:
    """In a real `outreach run`: the HTTP API, model upload, every stock channel, with every method."""
    paths = [*_rasa_s_paths(), *_stock_channels(), *ELSEWHERE]
    assert {"/model", "/model/train", "/conversations/default/trigger_intent", "/webhooks/rest/webhook"} <= set(paths)
    port = int(served[0].rpartition(":")[2])
    wrong = []
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        for path in paths:
            for method in METHODS:
                body = b"{}" if method in ("POST", "PUT", "PATCH") else None
                connection.request(method, path, body, JSON)
                answer = connection.getresponse()
                said = answer.read().decode()
                if answer.status not in (400, 404) or LEAKS.search(said + str(answer.headers)):
                    wrong.append(f"{method} {path}: {answer.status} {said!r} {dict(answer.headers)}")
    assert wrong == []
    assert len(paths) * len(METHODS) > 400


def test_the_routes_are_ours_and_no_others(service: Service) -> None:
    from sanic import Sanic

    app = [app for name, app in Sanic._app_registry.items() if name.startswith("outreach-")][-1]
    paths = {"/" + route.path for route in app.router.routes_all.values()}
    assert paths
    assert {path for path in paths if not path.startswith(OURS)} == set()


def test_the_layout_for_development_opens_no_stock_channel_either() -> None:
    """`rasa run` reads this file: with nothing in it there is no channel."""
    assert yaml.safe_load((ROOT / "bot" / "credentials.yml").read_text("utf-8")) is None


def test_channels_without_keys_are_not_there(served: tuple[str, Path]) -> None:
    port = int(served[0].rpartition(":")[2])
    for path in ("/webhooks/sms", "/webhooks/sms/status", TELEGRAM):
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
            connection.request("POST", path, b"", JSON)
            assert connection.getresponse().status == 404


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "HEAD"])
@pytest.mark.parametrize(
    "path", ["/webhooks/sms", "/webhooks/sms/status", TELEGRAM, "/chat/v1/messages", "/chat/v1/end"]
)
def test_our_addresses_take_their_own_method_only(method: str, path: str, service: Service) -> None:
    before = service.kept()
    assert service.ask(path, b"{}" if method != "GET" else None, JSON, method)[0] == 405
    assert service.kept() == before


# --- headers ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answered:
    """A request, and the status of its answer."""

    label: str
    path: str
    status: int
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)


ANSWERED = [
    Answered("the page", "/chat", 200),
    Answered("the page without scripts", "/chat/basic", 200),
    Answered("health", "/health", 200),
    Answered("readiness", "/ready", 200),
    Answered("nothing there", "/nothing", 404),
    Answered("another method", "/chat/v1/messages", 405),
    Answered("a bad body", "/chat/v1/messages", 400, b"x", JSON),
    Answered("a large body", "/chat/v1/messages", 413, b"x" * 20_000, JSON),
    Answered("a forgotten session", "/chat/v1/end", 204, b'{"session": "none"}', JSON),
    Answered("an unsigned SMS", "/webhooks/sms", 403, b"Body=x"),
    Answered("an SMS with a bad form", "/webhooks/sms", 400, b"x", {"X-Twilio-Signature": "x"}),
    Answered("an update from somebody else", TELEGRAM, 403, b"{}", JSON),
    Answered("an update that is none", TELEGRAM, 400, b"{}", {**JSON, **SECRET_HEADER}),
    Answered("an unknown expectation", "/chat/v1/messages", 417, b"{}", {**JSON, "Expect": "miracles"}),
]
SECURITY = (
    "x-content-type-options",
    "referrer-policy",
    "cache-control",
    "content-security-policy",
    "permissions-policy",
)


@pytest.mark.parametrize("row", ANSWERED, ids=lambda row: row.label)
def test_every_answer_has_its_security_headers(row: Answered, service: Service) -> None:
    status, text, headers = service.ask(row.path, row.body, row.headers)
    assert status == row.status
    _are_hardened(headers)
    if status >= 400:
        assert len(text) < 120 or text.startswith("{")
        assert not LEAKS.search(text), text


def _are_hardened(headers: dict[str, str]) -> None:
    lower = {name.lower(): value for name, value in headers.items()}
    assert [name for name in SECURITY if name not in lower] == []
    assert lower["x-content-type-options"] == "nosniff"
    assert "no-store" in lower["cache-control"]
    policy = lower["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors" in policy
    assert "unsafe" not in policy
    assert [name for name in ("server", "x-powered-by", "via", "set-cookie") if name in lower] == []
    assert "access-control-allow-origin" not in lower


RAW = [
    # label, what is sent, status of the answer; 0: the connection is closed without a word
    ("no HTTP at all", b"hello\r\n\r\n", 400),
    ("another protocol", b"GET / HTTP/9.9\r\n\r\n", 400),
    ("no protocol", b"GET /\r\n\r\n", 400),
    ("a header without a colon", b"GET /chat HTTP/1.1\r\nnothing\r\n\r\n", 400),
    ("an endless header", b"GET /chat HTTP/1.1\r\nX: " + b"a" * 70_000, 413),
    ("an endless address", b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", 413),
    ("a length that is no number", b"POST /chat/v1/messages HTTP/1.1\r\nContent-Length: many\r\n\r\n{}", 400),
    ("two lengths", b"POST /chat/v1/messages HTTP/1.1\r\nContent-Length: 2, 3\r\n\r\n{}", 400),
    ("a length below zero", b"POST /chat/v1/messages HTTP/1.1\r\nContent-Length: -1\r\nConnection: close\r\n\r\n{}", 400),
    ("a length with a sign", b"POST /chat/v1/messages HTTP/1.1\r\nContent-Length: +2\r\n\r\n{}", 400),
    ("a length as Python writes numbers", b"POST /chat/v1/messages HTTP/1.1\r\nContent-Length: 0_2\r\n\r\n{}", 400),
    ("a length twice", b"POST /chat/v1/messages HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}", 400),
    ("a length and pieces", b"POST /chat/v1/messages HTTP/1.1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("a blank behind a header's name", b"POST /chat/v1/messages HTTP/1.1\r\nContent-Length : 22\r\n\r\nGET /health HTTP/1.1\r\n\r\n", 400),
    ("a header over two lines", b"POST /chat/v1/messages HTTP/1.1\r\nX: a\r\n Content-Length: 2\r\n\r\n{}", 400),
    ("an unknown transfer", b"POST /chat/v1/messages HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n{}", 400),
    ("pieces below zero", b"POST /chat/v1/messages HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nab\r\n", 400),
    ("an enormous length", b"POST /chat/v1/messages HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n{}", 413),
    ("broken pieces", b"POST /chat/v1/messages HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
    ("pieces without an end", b"POST /chat/v1/messages HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
     + b"1000\r\n" + b"a" * 0x1000 + b"\r\n" + (b"1000\r\n" + b"a" * 0x1000 + b"\r\n") * 4, 413),
    *[(f"a piece whose length is {label}", b"POST /chat/v1/messages HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
       + size + b"\r\n{}\r\n0\r\n\r\n", 400)
      for label, size in (("signed", b"+2"), ("hexadecimal for Python", b"0x2"), ("with a line below", b"0_2"), ("behind a blank", b" 2"),
                          ("empty", b""), ("Arabic", "\u0662".encode()), ("followed by half a line break", b"2;a\nb"),
                          ("too long", b"0" * 70 + b"2"))],
    *[(f"an end of the pieces with {label}", b"POST /chat/v1/messages HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}" + end
       + b"GET /health HTTP/1.1\r\n\r\n", 400)
      for label, end in (("letters behind", b"\r\n0\r\nAB"), ("letters before", b"AB0\r\n\r\n"), ("a header behind", b"\r\n0\r\nX: a\r\n\r\n"))],
    ("pieces in HTTP/1.0", b"POST /chat/v1/messages HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 400),
    ("the same length twice in one", b"POST /chat/v1/messages HTTP/1.1\r\nContent-Length: 2, 2\r\n\r\n{}", 400),
    ("a length in Arabic", "POST /chat/v1/messages HTTP/1.1\r\nContent-Length: \u0662\r\n\r\n{}".encode(), 400),
    ("half a line break in a header", b"POST /chat/v1/messages HTTP/1.1\r\nX: a\nContent-Length: 2\r\n\r\n{}", 400),
    ("an unknown method", b"BREW /chat HTTP/1.1\r\nConnection: close\r\n\r\n", 405),
    ("bytes that are no text in the address", b"GET /\xff\xfe HTTP/1.1\r\nConnection: close\r\n\r\n", 0),
    ("a websocket", b"GET /chat HTTP/1.1\r\nUpgrade: websocket\r\nConnection: close, Upgrade\r\n"
     b"Sec-WebSocket-Key: eHh4eHh4eHh4eHh4eHh4eA==\r\nSec-WebSocket-Version: 13\r\n\r\n", 200),
]  # fmt: skip


@pytest.mark.parametrize(("label", "sent", "status"), RAW, ids=[row[0] for row in RAW])
def test_what_is_no_request_is_refused(
    label: str, sent: bytes, status: int, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    before = service.kept()
    got = service.sends(sent)
    head, _, body = got.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert int(lines[0].split()[1] if got else 0) == status, got[:300]
    if got:
        _are_hardened(dict(line.split(": ", 1) for line in lines[1:]))
    assert status == 200 or not LEAKS.search(body.decode()), body
    assert got.count(b"HTTP/1.1 ") <= 1, "one request, one answer: what else was sent is none"
    assert "incident" not in caplog.text, "it is the caller's fault"
    assert service.kept() == before
    assert service.ask("/health")[0] == 200, "others are still served"


def test_what_is_a_request_in_pieces_is_read(service: Service) -> None:
    """As RFC 9112 has it: any case, noughts in front, what is said of a piece skipped; and the next request on the connection is the next."""
    body = json.dumps(
        {"v": 1, "session": None, "id": "p-1", "lang": None, "hint": "en", "text": QUESTION, "button": None}
    ).encode()
    head = b"POST /chat/v1/messages HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    pieces = b"00a;name=value\r\n%b\r\n%X\r\n%b\r\n000\r\n\r\n" % (body[:10], len(body) - 10, body[10:])
    got = service.sends(head + pieces + b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert got.count(b"HTTP/1.1 200 ") == 2
    assert b"police_questions" in got
    assert got.endswith(b"ok")


def test_broken_pieces_behind_an_answer_end_the_connection(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    head = b"POST /nowhere HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    got = service.sends(head + b"+2\r\n{}\r\n0\r\n\r\nGET /health HTTP/1.1\r\n\r\n")
    assert got.count(b"HTTP/1.1 ") == 1
    assert b" 404 " in got.split(b"\r\n")[0]
    assert caplog.text == ""


# --- slow, large, packed ------------------------------------------------------------------------------


def test_the_limits_are_those_of_the_docs() -> None:
    assert (bounds.BODY_SECONDS, bounds.BODY_BYTES) == (10, 16_384)


SLOW = [
    ("no end of the headers", b"POST /chat/v1/messages HTTP/1.1\r\nX: ", b"a"),
    ("a body that stops", b"POST /chat/v1/messages HTTP/1.1\r\nContent-Length: 900\r\n\r\n{", b""),
    ("a body in drops", b"POST /chat/v1/messages HTTP/1.1\r\nContent-Length: 900\r\n\r\n{", b"a"),
    ("drops in pieces", b"POST /chat/basic HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
    ("an SMS in drops", b"POST /webhooks/sms HTTP/1.1\r\nX-Twilio-Signature: x\r\nContent-Length: 900\r\n\r\n", b"a"),
    ("an update in drops", b"POST /webhooks/telegram HTTP/1.1\r\nX-Telegram-Bot-Api-Secret-Token: "
     + TELEGRAM_SECRET.encode() + b"\r\nContent-Length: 900\r\n\r\n", b"a"),
]  # fmt: skip


def test_slow_requests_are_cut_off(assistant: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most so many seconds for a body, however many drops of it come; the same with a shorter time."""
    monkeypatch.setattr(bounds, "BODY_SECONDS", 0.6)
    with all_channels(assistant, tmp_path / "var") as made:
        before = made.kept()
        for label, sent, drop in SLOW:
            started, got = time.monotonic(), b""
            with socket.create_connection(("127.0.0.1", made.port), 10) as connection:
                connection.sendall(sent)
                connection.settimeout(0.1)
                while time.monotonic() - started < 8:
                    try:
                        piece = connection.recv(4096)
                        if not piece:
                            break
                        got += piece
                    except TimeoutError:
                        if drop:
                            connection.sendall(drop)
                    except OSError:
                        break
                else:
                    pytest.fail(f"{label}: still open after 8 s")
            assert time.monotonic() - started < 3, label
            assert b" 408 " in got.split(b"\r\n")[0], (label, got)
        assert made.kept() == before
        assert made.ask("/health")[0] == 200


BOMB = 30_000_000
PACKED = {
    "gzip": gzip.compress(b'{"text": "' + b"a" * BOMB)[:16_000],
    "deflate": zlib.compress(b'{"text": "' + b"a" * BOMB)[:16_000],
}


@pytest.mark.parametrize(
    "path", ["/chat/v1/messages", "/chat/v1/end", "/webhooks/sms", "/webhooks/sms/status", TELEGRAM]
)
@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "gzip, gzip"])
def test_packed_bodies_are_not_unpacked(path: str, coding: str, service: Service) -> None:
    body = PACKED.get(coding.split(",")[0], PACKED["gzip"])
    before = service.kept()
    tracemalloc.start()
    started = time.monotonic()
    status = service.ask(path, body, {**JSON, **SECRET_HEADER, "X-Twilio-Signature": "x", "Content-Encoding": coding})[
        0
    ]
    took, most = time.monotonic() - started, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert status in (400, 403, 415)
    assert took < 2
    assert most < BOMB / 3
    assert service.kept() == before


def test_a_packed_message_with_a_right_length_is_no_message(service: Service) -> None:
    made = {"v": 1, "session": None, "id": "g-1", "lang": None, "hint": "en", "text": QUESTION, "button": None}
    before = service.kept()
    packed = gzip.compress(json.dumps(made).encode())
    assert service.ask("/chat/v1/messages", packed, {**JSON, "Content-Encoding": "gzip"})[0] == 400
    assert service.kept() == before


# --- header tricks ------------------------------------------------------------------------------------

TRICKS = [
    {"X-Forwarded-Host": "outreach.example.org", "X-Forwarded-Proto": "https"},
    {"X-Forwarded-Path": "/webhooks/sms", "X-Forwarded-Prefix": "/webhooks"},
    {"X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1"},
    {"Forwarded": "for=127.0.0.1;host=outreach.example.org;proto=https;path=/webhooks/sms;secret=x"},
    {"Host": "outreach.example.org"},
    {"X-Original-URL": "/webhooks/sms", "X-Rewrite-URL": "/webhooks/sms"},
    {"X-Twilio-Signature": ""},
    {"X-Twilio-Signature": "AAAAAAAAAAAAAAAAAAAAAAAAAAA="},
    {"Authorization": f"Basic {as_twilio.ACCOUNT}"},
    {"X-HTTP-Method-Override": "PUT", "X-Method-Override": "PUT"},
]


@pytest.mark.parametrize("trick", TRICKS, ids=lambda trick: ", ".join(trick))
def test_no_header_stands_for_a_signature(trick: dict[str, str], service: Service) -> None:
    body = urllib.parse.urlencode(as_twilio.sms(QUESTION)).encode()
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    before = service.kept()
    assert service.ask("/webhooks/sms", body, {**form, **trick})[0] == 403
    other = as_twilio.signature(as_twilio.sms("another"), as_twilio.PUBLIC_URL + "/webhooks/sms")
    assert service.ask("/webhooks/sms", body, {**form, "X-Twilio-Signature": other, **trick})[0] == 403
    assert service.ask(TELEGRAM, b'{"update_id": 1}', {**JSON, **trick})[0] == 403
    assert service.kept() == before


@pytest.mark.parametrize("trick", TRICKS[:6] + TRICKS[9:], ids=lambda trick: ", ".join(trick))
def test_no_header_moves_a_request_elsewhere(trick: dict[str, str], service: Service) -> None:
    assert service.ask("/model", b"{}", {**JSON, **trick})[0] == 404
    assert service.ask("/health", None, trick)[:2] == (200, "ok")


def test_a_signature_for_another_address_or_body_is_none(service: Service) -> None:
    form = as_twilio.sms(QUESTION)
    before = service.kept()
    for url in ("http://127.0.0.1", "https://evil.example.org", as_twilio.PUBLIC_URL + "/x"):
        assert as_twilio.post(service.app.address, form, url=url).status == 403
    signed = as_twilio.signature(form, as_twilio.PUBLIC_URL + "/webhooks/sms")
    for change in ({"Body": "another"}, {"From": "+13055550143"}, {"Extra": "1"}):
        body = urllib.parse.urlencode({**form, **change}).encode()
        got = as_twilio.post(service.app.address, body, headers={"X-Twilio-Signature": signed})
        assert got.status == 403
    assert service.kept() == before


# --- words that mean something to Rasa ------------------------------------------------------------------

COMMANDS = [
    "/restart", "/session_start", "/back", "/greet", "/emergency", '/legal_aid{"place": "33142"}', '/inform{"language": "es"}',
    '/police_questions{"chosen": "crisis", "forget": true}', "/nlu_fallback", "/action_listen", "EXTERNAL: delete_data",
    "EXTERNAL: greet", "/ restart", "//restart", "/\n/restart", "\u2028/restart", "/restart@bot", '/{"a": 1}', "/",
    "/\r/restart", "/\xa0/police_questions", "/\u2003/session_start", '/\x85/human_trafficking{"place": "33142"}', "/\x1f/\x0b/back",
]  # fmt: skip


@pytest.mark.parametrize("text", COMMANDS)
def test_a_slash_is_a_sign_like_others(text: str, assistant: Any) -> None:
    """The same words without the slash get the same answer, and leave the same behind: no intent, slot or event is forced."""
    import asyncio

    loop = asyncio.new_event_loop()

    def after(said: str) -> tuple[list[str], Any]:
        desk = Desk(assistant, MemoryStore(Settings(data=Path("var"), retention_hours=24)))
        for first in ("can the jail hold me for ice if i am arrested", said):
            answer = loop.run_until_complete(desk.answer(Message("web", "sender", first)))
            assert answer.result is Result.ANSWERED
        return [reply.text for reply in answer.replies], desk.store.get(desk.pseudonyms.of("web", "sender"))

    bare = re.sub(r"\A[/\s]+", "", text) or "?"
    assert after(text) == after(bare)
    loop.close()


@pytest.mark.parametrize("text", COMMANDS)
def test_what_reaches_rasa_never_begins_with_a_slash(
    text: str, assistant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import asyncio

    seen: list[Any] = []

    async def handle(message: Any) -> None:
        seen.append(message)

    monkeypatch.setattr(assistant.agent, "handle_message", handle)
    desk = Desk(assistant, MemoryStore(Settings(data=Path("var"), retention_hours=24)))
    for channel in ("sms", "whatsapp", "telegram", "web"):
        asyncio.run(desk.answer(Message(channel, "sender", text)))
    # As Rasa has it: it strips what it is given.
    assert all(not message.text.startswith("/") for message in seen), [message.text for message in seen]
    assert all(message.sender_id != "sender" for message in seen)
    assert all("sender" not in str(message.metadata) for message in seen)


# --- buttons ------------------------------------------------------------------------------------------

FORGED = [
    "emergency",
    "delete_data",
    "/restart",
    "police_questions",
    "legal_aid/../..",
    "more",
    "0",
    "",
    "x" * 64,
    '{"a":1}',
    "ñ",
]


@pytest.mark.parametrize("button", FORGED)
def test_a_forged_button_changes_nothing(button: str, service: Service) -> None:
    """In a conversation that was offered no such thing, and in none."""
    _, first = service.page(QUESTION)
    names = service.desk.pseudonyms
    record = service.desk.store.get(names.of("web", first["session"]))
    offered = {item["id"] for message in first["messages"] for item in message["buttons"]}
    wanted = button if button not in offered else "schools"
    status, answer = service.page("", first["session"], "t-2", button=wanted)
    assert status == 200
    assert [message["kind"] for message in answer["messages"]] == ["notice"]
    assert service.desk.store.get(names.of("web", first["session"])) == record
    _, nobody = service.page("", None, "t-3", button=wanted)
    assert [message["kind"] for message in nobody["messages"]] == ["notice"]


def test_a_button_of_another_conversation_is_none_here(service: Service) -> None:
    _, theirs = service.page("can police ask my papers and can they come into my house")
    _, offering = service.page("police")
    ids = [item["id"] for answer in (theirs, offering) for message in answer["messages"] for item in message["buttons"]]
    assert ids
    _, ours = service.page("hello")
    own = {item["id"] for message in ours["messages"] for item in message["buttons"]}
    for number, button in enumerate(sorted(set(ids) - own)):
        _, answer = service.page("", ours["session"], f"b-{number}", button=button)
        assert [message["kind"] for message in answer["messages"]] == ["notice"], button


def test_a_telegram_button_of_another_chat_is_none_here(service: Service) -> None:
    assert service.chat("police", 700_100_010)[0] == 200
    keyboard = service.api.of("sendMessage", 700_100_010)[-1].get("reply_markup")
    assert keyboard
    data = keyboard["inline_keyboard"][0][0]["callback_data"]
    person = {"id": 700_100_011, "is_bot": False, "first_name": "Resident"}
    message = {"message_id": 1, "date": 1795348800, "text": "x", "chat": {**person, "type": "private"}}
    press = {"id": "4382", "from": person, "chat_instance": "-38", "data": data, "message": message}
    made = {"update_id": next(UPDATES), "callback_query": press}
    assert service.ask(TELEGRAM, json.dumps(made).encode(), {**JSON, **SECRET_HEADER})[0] == 200
    assert service.desk.store.get(service.desk.pseudonyms.of("telegram", "700100011")) is None


def test_a_session_of_somebody_else_is_not_guessed(service: Service) -> None:
    """What another person may send as a session: the one of a stranger needs 192 bits of luck; anything else is a new conversation."""
    _, first = service.page("can the jail hold me for ice if i am arrested")
    token = first["session"]
    for guess in (
        token[:-1] + ("A" if token[-1] != "A" else "B"),
        token.lower(),
        token + "x",
        "x" * 32,
        "",
        " ",
        None,
        "../x",
    ):
        _, answer = service.page("more", guess, "s-1")
        if guess != token:
            assert answer["messages"][0]["kind"] == "notice", guess
            assert answer["session"] != token
    assert service.page("more", token, "s-2")[1]["messages"][0]["kind"] == "answer"


# --- once more ------------------------------------------------------------------------------------------


def test_a_webhook_that_is_played_again_changes_nothing(service: Service) -> None:
    sender, form = "+13055550160", as_twilio.sms("can the jail hold me for ice", "+13055550160")
    first = as_twilio.post(service.app.address, form)
    more = as_twilio.sms("more", sender)
    told = as_twilio.post(service.app.address, more).text
    update = next(UPDATES)
    assert service.chat("can the jail hold me for ice", 700_100_020, update) == (200, "answered")
    sent = len(service.api.texts(700_100_020))
    before = service.kept()
    for _ in range(3):
        assert as_twilio.post(service.app.address, form).text == first.text
        assert as_twilio.post(service.app.address, more).text == told
        assert service.chat("can the jail hold me for ice", 700_100_020, update) == (200, "repeat")
    assert service.kept() == before
    assert len(service.api.texts(700_100_020)) == sent


# --- readiness ------------------------------------------------------------------------------------------


def test_readiness_means_that_a_known_message_got_its_known_answer(
    assistant: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(serving, "READY_EVERY", 0.1)
    caplog.set_level(logging.ERROR)
    with all_channels(assistant, tmp_path / "var") as made:
        before = made.kept()

        def becomes(status: int) -> None:
            deadline = time.monotonic() + 10
            while made.ask("/ready")[0] != status:
                assert time.monotonic() < deadline
                time.sleep(0.05)

        becomes(200)
        real = assistant.turn

        async def another(*arguments: Any) -> Outcome:
            outcome = await real(*arguments)
            return Outcome([{**outcome.plans[0], "topic": "schools"}], None)

        async def broken(*arguments: Any) -> Outcome:
            raise RuntimeError("gone")

        for turn in (another, broken):
            with monkeypatch.context() as patch:
                patch.setattr(assistant, "turn", turn)
                becomes(503)
                assert made.ask("/ready")[1] == "not ready"
                assert made.ask("/health")[:2] == (200, "ok"), "the process lives"
            becomes(200)
        with monkeypatch.context() as patch:
            patch.setattr(made.desk, "sweep", broken)
            time.sleep(0.3)
        assert "while sweeping" in caplog.text
        becomes(200)
        assert made.kept() == before, "no store, counter or limit sees the known message"
        assert made.desk.limiter._seen == {}
        assert made.desk.queues._locks == {}
        assert assistant.trackers._records == {}


def test_health_asks_nobody(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*arguments: Any, **options: Any) -> Any:
        raise AssertionError("asked")

    for owner, name in (
        (Assistant, "turn"),
        (Assistant, "render"),
        (Desk, "answer"),
        (FileStore, "get"),
        (FileStore, "sweep"),
    ):
        monkeypatch.setattr(owner, name, never)
    started = time.monotonic()
    for _ in range(50):
        assert service.ask("/health")[:2] == (200, "ok")
        assert service.ask("/ready")[0] == 200
    assert time.monotonic() - started < 5


# --- the model ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["../outside.tar.gz", "{outside}", "link.tar.gz"])
def test_a_model_from_elsewhere_is_not_loaded(where: str, tmp_path: Path) -> None:
    import hashlib

    models, outside = tmp_path / "models", tmp_path / "outside.tar.gz"
    models.mkdir()
    outside.write_bytes(b"a model")
    (models / "link.tar.gz").symlink_to(outside)
    record = {"file": where.format(outside=outside), "inputs": "x", "sha256": hashlib.sha256(b"a model").hexdigest()}
    (models / "model.json").write_text(json.dumps({**record, "messages": 1, "seconds": 1.0}))
    with pytest.raises(ModelError, match="does not lie in models/"):
        model_path(models)


def test_no_setting_names_another_model() -> None:
    """No variable and no option says where the model comes from."""
    code = "\n".join(path.read_text("utf-8") for path in (ROOT / "bot").rglob("*.py"))
    assert "model_server" not in code
    assert re.findall(r"Agent\.load\(\s*(\S+)", code) == ["path,"]
    assert re.findall(r"^ +path = (.+)\n +try:\n +agent = Agent\.load", code, re.MULTILINE) == ["model_path()"]
    documented = (ROOT / "docs" / "operators.md").read_text("utf-8")
    assert not re.search(r"^\| [A-Z_]*MODEL[A-Z_]* \|", documented, re.MULTILINE)
