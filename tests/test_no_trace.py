"""The proof: conversations full of canaries through every channel of a running server, well and under every fault, and then a search
through everything that is left.

One server with the embedded store, one with Redis; everything that Python and the libraries can be told to log is switched on.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import hmac
import json
import logging
import os
import random
import re
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import types
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis

from actions import clock as clocks
from bot.privacy.keys import TmpfsKeys, subkey
from bot.privacy.pseudonyms import Pseudonyms
from bot.privacy.store_file import NAME as DATABASE
from tests.channels import as_twilio, bot_api
from tests.channels.bot_api import BotApi
from tests.channels.running import request
from tests.conftest import ROOT, free_port, redis_server
from tests.traces import Canary, files, needles, search

pytestmark = pytest.mark.timeout(300)
"""A busy machine; alone it takes a quarter of that."""

TELEGRAM_TOKEN = "123456789:AAExampleExampleExampleExampleExample02"
TELEGRAM_SECRET = "telegram-proves-itself-with-this-too"
TEMPORARY = Path(tempfile.gettempdir())
OWN_FILES = (
    ".git",
    ".venv",
    ".uv",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
    ".hypothesis",
    "__pycache__",
    "tests",
)
"""Of the project's folder: what tools write while tests run."""


@pytest.fixture(autouse=True)
def present(clock: None) -> None:
    """The server's clock is the machine's; so is this file's."""
    clocks.fix(None)


# --- canaries -----------------------------------------------------------------------------------------

_numbers = random.Random(2026)


def word() -> str:
    """A word that no language has."""
    return "".join(_numbers.choice("bdfgklmprtvxz") + _numbers.choice("aeiou") for _ in range(5)) + "xq"


def digits(count: int) -> str:
    return "".join(_numbers.choice("23456789") for _ in range(count))


WORDS = {language: word() for language in ("en", "es", "ht")}
PERSON = f"{word().capitalize()} {word().capitalize()}"
STREET = f"{digits(4)} NW {word().capitalize()} Terrace"
A_NUMBER = f"A{digits(9)}"
A_DASHED = f"A {digits(3)}-{digits(3)}-{digits(3)}"
ACCENTED = f"Ñ{word()}é {word()}ò <b>&"
USER_NAME, GROUP, FILE_NAME = word(), f"{word()} {word()}", f"{word()}.pdf"
ADDRESSES = ("203.0.113.77", "2001:db8:77aa::1f")
BROWSER = f"Mozilla/5.0 ({word()}) {word()}/7.1"
TWILIO_ERROR = f"The number {word()} is unknown"
IN_EXCEPTIONS = f"{word()} {PERSON} {A_NUMBER} {STREET} {ACCENTED}"
"""What the exceptions of injected faults say."""
PHONES = [f"+130555501{number:02}" for number in range(10, 100)]
CHATS = [int(f"71{digits(8)}") for _ in range(60)]

CANARIES = [
    *(Canary(f"a rare word ({language})", text) for language, text in WORDS.items()),
    *(Canary(f"a name ({part})", part) for part in PERSON.split()),
    Canary("a street", STREET.split(" ", 2)[2]),
    Canary("a house", STREET),
    Canary("an A-number", A_NUMBER, number=True),
    Canary("an A-number with dashes", A_DASHED, number=True),
    Canary("accents and markup", ACCENTED),
    Canary("a user name on Telegram", USER_NAME),
    Canary("a group's title", GROUP),
    Canary("a file's name", FILE_NAME),
    *(Canary(f"an address of the network ({address})", address) for address in ADDRESSES),
    Canary("a browser", BROWSER),
    Canary("a browser's word", BROWSER.split("(")[1].split(")")[0]),
    Canary("what Twilio said", TWILIO_ERROR.split()[2]),
    Canary("an exception's word", IN_EXCEPTIONS.split()[0]),
    *(Canary(f"a phone ({phone})", phone, number=True) for phone in PHONES[:40]),
    *(Canary(f"a chat on Telegram ({chat})", str(chat), number=True) for chat in CHATS),
    Canary("the bot's token", TELEGRAM_TOKEN),
    Canary("the bot's token without its number", TELEGRAM_TOKEN.split(":")[1]),
    Canary("the webhook's secret", TELEGRAM_SECRET),
    Canary("Twilio's token", as_twilio.TOKEN),
    Canary("the secret", as_twilio.SECRET),
]

SAID = {
    "en": [
        f"my name is {PERSON}, i live at {STREET}. can the police ask for my papers? {WORDS['en']}",
        "more",
        f"i need a free lawyer near {STREET} {WORDS['en']} {A_NUMBER}",
        "33142",
        f"{WORDS['en']} {ACCENTED}",
        f"he is beating me right now {PERSON} {STREET}",
        "2",
    ],
    "es": [
        f"me llamo {PERSON}, vivo en {STREET}, ¿la policía me puede pedir los papeles? {WORDS['es']} {A_DASHED}",
        "más",
        f"necesito un abogado gratis {WORDS['es']}",
        "hialeah",
    ],
    "ht": [
        f"mwen rele {PERSON}, mwen rete {STREET}, èske lapolis ka mande m papye {WORDS['ht']} {A_NUMBER}",
        "plis",
        f"patwon m pa vle peye m {WORDS['ht']} {ACCENTED}",
    ],
}
DELETE = {"en": "delete my messages", "es": "borre mis mensajes", "ht": "efase mesaj mwen yo"}
QUESTION = {
    "en": "can ICE come to a school",
    "es": "¿puede ICE entrar en una escuela?",
    "ht": "èske ICE ka antre nan yon lekòl",
}


# --- the server -----------------------------------------------------------------------------------------


@dataclass
class Server:
    """`outreach run` with everything on, and all that it may have written to."""

    kind: str
    """file or redis."""
    address: str
    folder: Path
    process: subprocess.Popen[bytes]
    api: BotApi
    twilio: as_twilio.Api
    redis_url: str
    started: float
    there: set[str]
    """What lay in the machine's folder for temporary files before."""
    output: list[bytes] = field(default_factory=list)
    sessions: list[str] = field(default_factory=list)
    """Tokens that the website's chat was given."""
    ids: list[str] = field(default_factory=list)
    """Ids of messages at Twilio."""

    @property
    def data(self) -> Path:
        """OUTREACH_DATA."""
        return self.folder / "var"

    @property
    def key_folder(self) -> Path:
        """Where the keys of the day lie."""
        name = hashlib.sha256(str(self.data.resolve()).encode()).hexdigest()[:16]
        return Path(f"/dev/shm/outreach-{os.getuid()}-{name}")

    def names(self) -> Pseudonyms:
        """The server's own names, for whoever can read its memory."""
        return Pseudonyms(TmpfsKeys(self.key_folder / "keys.json"), subkey(as_twilio.SECRET, "opt-out"))

    def fail(self, fault: str = "") -> None:
        """Have a part fail from now on; none when empty."""
        draft = self.folder / "faults.draft"
        draft.write_text(json.dumps({"fault": fault, "text": IN_EXCEPTIONS}), "utf-8")
        draft.rename(self.folder / "faults")

    def happened(self) -> set[str]:
        """Faults that did happen."""
        path = self.folder / "faults.happened"
        return set(path.read_text("utf-8").split("\n")) - {""} if path.exists() else set()

    # --- ways in ----------------------------------------------------------------------------------

    def text(self, sender: str, body: str, whatsapp: bool = False, **more: str) -> str:
        """A message by Twilio, and what it sends on."""
        place = {"FromCity": STREET, "FromZip": "33142", "ProfileName": PERSON}
        make = as_twilio.whatsapp if whatsapp else as_twilio.sms
        form = make(body, sender, **(place if whatsapp else {}), **more)
        self.ids.append(form["MessageSid"])
        got = as_twilio.post(self.address, form, url=self.address, headers=HEADERS)
        assert got.status == 200, got
        return "\n".join(got.messages)

    def chat(self, chat: int, body: str | None, **content: Any) -> int:
        """An update by Telegram; the status of the answer."""
        person = {"id": chat, "first_name": PERSON.split()[0], "last_name": PERSON.split()[1], "username": USER_NAME}
        message = {
            "message_id": 1365,
            "from": {**person, "is_bot": False, "language_code": "es"},
            "chat": {**person, "type": "private"},
            "date": 1795348800,
            **({"text": body} if body is not None else {}),
            **content,
        }
        return self.update("message", message)

    def update(self, kind: str, content: Any, number: int | None = None) -> int:
        """Any update."""
        made = {"update_id": number or next(UPDATES), kind: content}
        header = {"X-Telegram-Bot-Api-Secret-Token": TELEGRAM_SECRET}
        return request(f"{self.address}/webhooks/telegram", made, {**HEADERS, **header})[0]

    def page(self, session: str | None, body: str, **more: Any) -> tuple[int, str | None, list[Any]]:
        """A message by the website's chat: status, session, messages."""
        made = {
            "v": 1,
            "session": session,
            "id": f"{word()}-1",
            "lang": None,
            "hint": "en",
            "text": body,
            "button": None,
        }
        status, text, _ = request(f"{self.address}/chat/v1/messages?{WORDS['en']}", {**made, **more}, HEADERS)
        try:
            answer = json.loads(text)
        except ValueError:
            return status, session, []
        if answer.get("session"):
            self.sessions.append(answer["session"])
        return status, answer.get("session", session), answer.get("messages", [])

    def basic(self, body: str) -> int:
        """A message by the page without scripts."""
        form = urllib.parse.urlencode({"text": body, "say": body, "l": "es", "session": ""}).encode()
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return request(f"{self.address}/chat/basic", form, {**HEADERS, **kind})[0]

    def bytes(self, sent: bytes) -> None:
        """Whatever, and the connection is broken off."""
        with socket.create_connection(("127.0.0.1", int(self.address.rpartition(":")[2])), 10) as connection:
            connection.sendall(sent)
            connection.settimeout(0.2)
            try:
                connection.recv(4096)
            except OSError:
                return

    # --- what is left -----------------------------------------------------------------------------

    def canaries(self) -> list[Canary]:
        """All of them, with those that this server made or was given."""
        return [
            *CANARIES,
            *(Canary("a session's token", token) for token in set(self.sessions)),
            *(Canary("an id of Twilio", sid) for sid in self.ids[:20]),
        ]

    def kept(self) -> dict[str, bytes]:
        """What the store holds: pages of the file, or keys and values of Redis."""
        return redis_content(self.redis_url) if self.redis_url else files(self.data)

    def left(self) -> dict[str, bytes]:
        """Everything that may hold a trace, by its name."""
        shared = Path("/dev/shm")
        in_memory = [
            path for path in (shared.iterdir() if shared.is_dir() else ()) if path.name.startswith("outreach-")
        ]
        new = files(ROOT, newer_than=self.started, without=OWN_FILES)
        # Whoever writes to the machine's own folder for temporary files, whatever TMPDIR says.
        elsewhere = [path for path in TEMPORARY.iterdir() if path.name not in self.there and "pytest" not in path.name]
        return {
            **files(self.folder / "cwd", self.folder / "home", self.folder / "tmp", self.data, *in_memory),
            **new,
            **files(*elsewhere, newer_than=self.started),
            **(redis_content(self.redis_url) if self.redis_url else {}),
            "what the process said": b"".join(self.output),
        }


HEADERS = {
    "X-Forwarded-For": ", ".join(ADDRESSES),
    "X-Real-IP": ADDRESSES[0],
    "Forwarded": f'for="[{ADDRESSES[1]}]"',
    "User-Agent": BROWSER,
    "Cookie": f"name={PERSON.replace(' ', '_')}",
    "Referer": f"https://example.org/?q={urllib.parse.quote(PERSON)}",
}
UPDATES = iter(range(880_000_001, 890_000_000))


def redis_content(url: str) -> dict[str, bytes]:
    """Every key and value, and the log of slow commands."""
    client = redis.Redis.from_url(url)
    read: dict[bytes, Callable[[bytes], Any]] = {
        b"string": client.get,
        b"set": client.smembers,
        b"hash": client.hgetall,
        b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
        b"list": lambda key: client.lrange(key, 0, -1),
        b"stream": lambda key: client.xrange(key),
    }
    found = {}
    for key in client.scan_iter(count=1000):
        value = read[client.type(key)](key)
        found[f"Redis {key.decode()}"] = key + b" " + (value if isinstance(value, bytes) else repr(value).encode())
    found["Redis SLOWLOG"] = repr(client.slowlog_get(1000)).encode()
    client.close()
    return found


def _unlimited() -> None:
    """As much core as the machine allows, so that a process that wanted to leave one could."""
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))


@pytest.fixture(scope="module", params=["file", "redis"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the store that the parameter names, for all tests of this file in their order."""
    if not Path("/dev/shm").is_dir():
        pytest.skip("the keys of the day lie on a tmpfs, and this machine has none")
    folder = tmp_path_factory.mktemp(f"proof-{request.param}")
    for name in ("cwd", "home", "tmp"):
        (folder / name).mkdir()
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    holder, url = redis_server(folder) if request.param == "redis" else (None, "")
    started, there = time.time(), {path.name for path in TEMPORARY.iterdir()}
    with BotApi() as api, as_twilio.rest_api() as twilio:
        environment = {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(folder / "home"),
            "TMPDIR": str(folder / "tmp"),
            "OUTREACH_DATA": str(folder / "var"),
            "OUTREACH_SECRET": as_twilio.SECRET,
            "OUTREACH_ORGANISATION": str(ROOT / "deployment" / "organisation.example.yml"),
            "PUBLIC_URL": address,
            "TRUSTED_PROXIES": "127.0.0.1",
            "REDIS_URL": url,
            "TWILIO_ACCOUNT_SID": as_twilio.ACCOUNT,
            "TWILIO_AUTH_TOKEN": as_twilio.TOKEN,
            "TWILIO_NUMBER": as_twilio.NUMBER,
            "TWILIO_API": twilio.address,
            "TWILIO_DELETE_AFTER": "60",
            "SMS_OPT_OUT": "app",
            "TELEGRAM_TOKEN": TELEGRAM_TOKEN,
            "TELEGRAM_SECRET_TOKEN": TELEGRAM_SECRET,
            "TELEGRAM_API": api.address,
            # What somebody may set who looks for a fault.
            **dict.fromkeys(
                ("LOG_LEVEL", "LOGLEVEL", "LOG_LEVEL_LIBRARIES", "RASA_LOG_LEVEL", "LOG_LEVEL_MATPLOTLIB", "LOG_LEVEL_RABBITMQ",
                 "LOG_LEVEL_KAFKA", "LOG_LEVEL_PRESIDIO", "LOG_LEVEL_FAKER", "HTTPX_LOG_LEVEL", "TWILIO_LOG_LEVEL",
                 "REDIS_LOG_LEVEL", "STRUCTLOG_LEVEL"), "DEBUG",
            ),
            "SANIC_ACCESS_LOG": "true",
            "SANIC_NOISY_EXCEPTIONS": "true",
            "SANIC_DEBUG": "true",
            "SANIC_FALLBACK_ERROR_FORMAT": "json",
            "PYTHONASYNCIODEBUG": "1",
            "PYTHONDEVMODE": "1",
            "PYTHONFAULTHANDLER": "1",
            "PYTHONWARNINGS": "always",
            "PYTHONUNBUFFERED": "1",
            "SSLKEYLOGFILE": str(folder / "cwd" / "connection-keys"),
            "DEBUG": "1",
            "FORCE_LOGGING": "1",
            # The test's own.
            "PYTHONPATH": f"{ROOT / 'tests' / 'faults'}:{ROOT}",
            "TEST_FAULTS": str(folder / "faults"),
        }  # fmt: skip
        process = subprocess.Popen(
            [str(Path(sys.executable).parent / "outreach"), "run", "--port", str(port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder / "cwd",
            env=environment,
            preexec_fn=_unlimited,
        )
        made = Server(request.param, address, folder, process, api, twilio, url, started, there)
        reader = threading.Thread(target=lambda: made.output.extend(process.stdout or ()), daemon=True)
        reader.start()
        try:
            deadline = time.monotonic() + 120
            while not any(b"Ready after" in line for line in made.output):
                assert process.poll() is None, made.output
                assert time.monotonic() < deadline, made.output
                time.sleep(0.1)
            yield made
        finally:
            process.kill()
            process.wait(20)
            reader.join(5)
            shutil.rmtree(made.key_folder, ignore_errors=True)
            if holder:
                holder.terminate()
                holder.wait(10)


# --- the search itself ------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [False, True], ids=["a text", "a number"])
def test_the_search_finds_every_form(number: bool) -> None:
    """Planted in the middle of other things, in each form, and in each way that base64 can lie."""
    canary = Canary("planted", "+1 305-555-0142" if number else "Ñandú <Qüaxel> & 7th", number)
    forms = needles(canary)
    assert len(forms) > (25 if number else 15)
    for needle in forms:
        hits = search({"here": b"\x00before" + needle.data + b"after\xff"}, [canary])
        assert needle.form in {hit.form for hit in hits}, needle
    assert search({"here": b"nothing 3055550199 of it"}, [canary]) == []
    import base64 as b64

    for padding in range(3):
        hidden = b64.b64encode(b"x" * padding + canary.text.encode() + b"tail")
        assert search({"here": hidden}, [canary]), padding


@pytest.mark.parametrize(
    ("label", "write"),
    [
        ("JSON", lambda text: json.dumps({"text": text}).encode()),
        ("JSON in JSON", lambda text: json.dumps(json.dumps({"text": text})).encode()),
        ("a URL", lambda text: urllib.parse.urlencode({"q": text}).encode()),
        ("what Python shows", lambda text: repr({"text": text}).encode()),
        ("what Python shows of bytes", lambda text: repr(text.encode()).encode()),
        ("capitals", lambda text: text.upper().encode()),
        ("SQLite", lambda text: _in_sqlite(text)),
    ],
)
def test_the_search_finds_what_programs_write(label: str, write: Callable[[str], bytes]) -> None:
    for text in ("zorvixel pamute", "zorvixel & <pamute>", "Ñandú Qüaxel"):
        if label != "capitals" or text.isascii():
            assert search({"here": write(f"before {text} after")}, [Canary("planted", text)]), text


def _in_sqlite(text: str) -> bytes:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (x)")
    connection.execute("INSERT INTO t VALUES (?)", (text,))
    return "\n".join(connection.iterdump()).encode()


def test_last_digits_are_not_looked_for_in_pseudonyms() -> None:
    canary = Canary("planted", "+13055550142", number=True)
    pseudonym = hashlib.sha256(b"x").hexdigest()
    chance = pseudonym[:20] + "5550142" + pseudonym[27:]
    assert search({"here": f'"{chance}"'.encode()}, [canary]) == []
    assert search({"here": f'"{chance[:-1]}"'.encode()}, [canary])
    assert search({"here": pseudonym.encode() + b" 5550142"}, [canary])


def test_files_are_found_by_name_and_content(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "zorvixel.log").write_text("x")
    (tmp_path / "a" / "core").write_bytes(b"\x7fELF\0zorvixel\0")
    assert len(search(files(tmp_path), [Canary("planted", "zorvixel")])) == 2
    assert files(tmp_path, newer_than=time.time() + 60) == {}


# --- conversations, well and under every fault --------------------------------------------------------


def _everything_said(server: Server) -> None:
    """All that residents say, on all channels, in three languages, and what strangers send."""
    for number, (language, lines) in enumerate(SAID.items()):
        session: str | None = None
        for line in lines:
            assert server.text(PHONES[number], line)
            assert server.text(PHONES[number + 3], line, whatsapp=True)
            assert server.chat(CHATS[number], line) == 200
            status, session, messages = server.page(session, line, hint=language)
            assert status == 200
            assert messages
            assert server.basic(line) == 200
    assert server.text(PHONES[6], "STOP")
    assert server.text(PHONES[7], "PARE", whatsapp=True)
    assert server.chat(CHATS[3], "/stop") == 200
    # Pictures, places, contacts, buttons, groups, and what nobody can read.
    assert server.text(PHONES[8], "", NumMedia="1", MediaUrl0=f"https://example.org/{FILE_NAME}")
    assert server.chat(CHATS[4], None, document={"file_id": "x", "file_unique_id": "y", "file_name": FILE_NAME}) == 200
    contact = {"phone_number": PHONES[9], "first_name": PERSON, "user_id": CHATS[5]}
    assert server.chat(CHATS[4], None, contact=contact) == 200
    assert server.chat(CHATS[4], None, location={"latitude": 25.7, "longitude": -80.2}) == 200
    assert server.chat(CHATS[4], f"{PERSON} {STREET}", entities="none") == 200
    person = {"id": CHATS[6], "is_bot": False, "first_name": PERSON, "username": USER_NAME}
    pressed = {"id": "4382", "from": person, "chat_instance": "-38", "data": f"{WORDS['en']}"[:60]}
    group = {"id": -1000000000000 - CHATS[7], "title": GROUP, "type": "supergroup"}
    private = {"id": CHATS[6], "type": "private", "first_name": PERSON}
    message = {"message_id": 7, "from": person, "date": 1795348800, "text": f"{PERSON} {STREET}"}
    assert server.update("callback_query", {**pressed, "message": {**message, "chat": private}}) == 200
    assert server.update("message", {**message, "chat": group}) == 200
    assert server.update("edited_message", {**message, "chat": private}) == 200
    assert server.update("poll", {"id": "1", "question": STREET}) == 200
    assert server.page(None, WORDS["en"], button=f"{WORDS['en']}")[0] == 200
    # What is not let in.
    status = as_twilio.status("failed", to=PHONES[10], ErrorCode="30003", ErrorMessage=TWILIO_ERROR)
    assert as_twilio.post(server.address, status, as_twilio.STATUS, url=server.address).status == 204
    assert as_twilio.post(server.address, as_twilio.sms(IN_EXCEPTIONS, PHONES[11]), token="x" * 32).status == 403
    assert (
        as_twilio.post(server.address, IN_EXCEPTIONS.encode(), headers={"X-Twilio-Signature": WORDS["es"]}).status
        == 400
    )
    assert request(f"{server.address}/webhooks/telegram", {"text": PERSON}, HEADERS)[0] == 403
    assert request(f"{server.address}/chat/v1/messages", IN_EXCEPTIONS.encode(), HEADERS)[0] == 400
    assert request(f"{server.address}/chat/v1/messages", (IN_EXCEPTIONS * 1000).encode(), HEADERS)[0] == 413
    assert request(f"{server.address}/chat/{WORDS['en']}?{WORDS['es']}", None, HEADERS)[0] == 404
    quoted = WORDS["ht"].encode()
    server.bytes(b"GET /chat/" + quoted + b" HTTP/9.9\r\nX: " + quoted + b"\r\n\r\n")
    server.bytes(b"GET /\xff" + quoted + b" HTTP/1.1\r\n\r\n")
    server.bytes(quoted * 3000)
    server.bytes(b"POST /chat/v1/messages HTTP/1.1\r\nContent-Length: 500\r\n\r\n{" + quoted)
    server.bytes(b"POST /chat/v1/messages HTTP/1.1\r\nContent-Length: " + quoted + b"\r\n\r\n{" + quoted)
    server.bytes(b"POST /chat/v1/messages HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + quoted + b"\r\n")


def test_ordinary_conversations_leave_no_trace(server: Server) -> None:
    server.fail()
    _everything_said(server)
    assert b"incident" not in b"".join(server.output), server.output
    _nothing_is_left(server)


def _nothing_is_left(server: Server) -> None:
    left = server.left()
    assert len(left) > 4
    assert any("outreach" in name for name in left)
    assert search(left, server.canaries()) == []


FAULTS = [
    "the action", "the action's executor", "the words", "the engine", "the text of an SMS", "sending on Telegram", "the desk",
    "the classifier", "the language", "Rasa's parser", "reducing a conversation", "keeping a turn", "looking up a conversation",
    "the store's file", "mischief",
]  # fmt: skip
URGENT = f"he is beating me right now {PERSON} {STREET} {A_NUMBER}"


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_leave_no_trace(server: Server, fault: str) -> None:
    """Each part fails with all canaries in its exception's text; whoever is in danger is still told to call 911."""
    if fault == "the store's file" and server.kind == "redis":
        pytest.skip("there is none")
    number = 12 + FAULTS.index(fault)
    server.fail(fault)
    before = len(server.output)
    for whatsapp in (False, True):
        got = server.text(PHONES[number], SAID["es"][0], whatsapp)
        assert got, "never silence"
        urgent = server.text(PHONES[number], URGENT, whatsapp)
        assert urgent.index("911") < 60, urgent
    assert server.chat(CHATS[number], SAID["ht"][0]) in (200, 500, 503)
    assert server.chat(CHATS[number], URGENT) in (200, 500, 503)
    status, _, messages = server.page(None, URGENT)
    assert status in (200, 500)
    if status == 200:
        assert "911" in messages[0]["text"][:60]
    assert server.basic(SAID["en"][0]) in (200, 500)
    server.fail()
    assert fault in server.happened(), "else this proves nothing"
    assert server.text(PHONES[number], SAID["en"][0]), "the next message works"
    deadline = time.monotonic() + 5
    while len(server.output) == before and time.monotonic() < deadline:
        time.sleep(0.05)
    told = b"".join(server.output[before:]).decode()
    assert re.search(r"ERROR bot[\w.]*: incident [0-9a-f]{8}: \w+ |ERROR [\w ]+: ", told), (
        f"the operator is told: {told!r}"
    )
    assert "AssertionError" not in told
    assert search({"what the process said": told.encode()}, server.canaries()) == []


def test_providers_that_fail_leave_no_trace(server: Server) -> None:
    """Telegram and Twilio quote what they were sent in their errors."""
    chat = CHATS[30]
    quoting = [
        bot_api.Fault(400, f"Bad Request: cannot parse {IN_EXCEPTIONS}"),
        bot_api.Fault(502, IN_EXCEPTIONS),
        bot_api.RESET,
        bot_api.GARBLED,
        bot_api.Fault(403, f"Forbidden: {PERSON} blocked the bot"),
    ]
    for fault in quoting:
        server.api.chat_faults[chat] = [fault]
        assert server.chat(chat, SAID["en"][0]) == 200
    server.twilio.says.extend(as_twilio.fault(400, code) for code in (20003, 21610, 20404))
    assert server.text(PHONES[30], SAID["en"][0])


def test_everything_that_was_left_is_searched_once_more(server: Server) -> None:
    assert server.happened() == set(FAULTS) - ({"the store's file"} if server.kind == "redis" else set())
    _nothing_is_left(server)
    made = [path.name for path in (server.folder / "cwd").iterdir()]
    assert made == [], "nothing is written where the server happens to be started"
    assert list((server.folder / "tmp").iterdir()) == [], "temporary files lie in OUTREACH_DATA"
    assert {path.name for path in server.data.iterdir()} <= {
        DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", "outreach.lock", "tmp",
    }  # fmt: skip
    parts = [path for path in (server.data / "tmp").rglob("*") if path.is_file()]
    assert [path.name for path in parts] == ["library.log"], "the model's parts are gone"
    assert parts[0].read_bytes() == b"", "a library's own log (tests/mischief.py)"


# --- deletion ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Deletion:
    """One channel's way of asking for it."""

    channel: str
    language: str


DELETIONS = [Deletion(channel, language) for channel in ("sms", "whatsapp", "telegram", "web") for language in DELETE]


@pytest.mark.parametrize("row", DELETIONS, ids=lambda row: f"{row.channel}, {row.language}")
def test_delete_my_messages_leaves_nothing(row: Deletion, server: Server, words: Any) -> None:
    """Nothing of the conversation and of its messages is in the raw bytes, by the names that the server itself has for them."""
    index = DELETIONS.index(row)
    ids: list[str] = []
    session: str | None = None
    sender = {"telegram": str(CHATS[40 + index])}.get(row.channel, PHONES[60 + index])

    def say(text: str) -> str:
        nonlocal session, sender
        if row.channel == "telegram":
            number = next(UPDATES)
            ids.append(str(number))
            person = {"id": int(sender), "first_name": PERSON, "is_bot": False}
            message = {"message_id": 1, "from": person, "date": 1795348800, "text": text}
            server.update("message", {**message, "chat": {**person, "type": "private"}}, number)
            return server.api.texts(int(sender))[-1]
        if row.channel == "web":
            ids.append(f"d-{len(ids)}")
            _, session, messages = server.page(session, text, id=ids[-1], hint=row.language)
            sender = session or ""
            ids[-1] = f"{sender}/{ids[-1]}"
            return messages[-1]["text"]
        ids.append(as_twilio.new_sid())
        return server.text(sender, text, row.channel == "whatsapp", MessageSid=ids[-1])

    assert say(QUESTION[row.language])
    assert say(QUESTION[row.language])
    names = server.names()
    # On read they are of today; a midnight between here and the server is seen to by both keys.
    wanted = {
        names.of(row.channel, sender),
        *(name for number in ids for name in names.message(row.channel, f"{sender}/{number}")[:1]),
        *(
            name
            for number in ids
            if row.channel == "telegram"
            for name in names.message("telegram", f"{sender}/{number}/delivered")[:1]
        ),
    }
    there = b"".join(server.kept().values())
    assert all(name.encode() in there for name in wanted), "else this proves nothing"
    told = say(DELETE[row.language])
    expected = words.line("delete_data/short", row.language)
    assert _plain(expected)[:40] in _plain(told)
    left = server.kept()
    assert search(left, [Canary("a name of the conversation", name) for name in wanted]) == []


def _plain(text: str) -> str:
    """Without what SMS may have exchanged."""
    return re.sub(r"[^a-z]", "", text.lower())


# --- memory -----------------------------------------------------------------------------------------------


def test_no_structure_in_memory_outlives_a_message(
    assistant: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a conversation no text and no address is in any object that Python still holds: no cache, no queue, no last exception."""
    from actions import actions
    from bot.desk import Desk, Message
    from bot.privacy.store_file import FileStore
    from bot.settings import Settings

    parts = ["zorvi", "xelpa", "mutex"]  # joined only while it is said
    store = FileStore(tmp_path / "var", Settings(data=tmp_path / "var", retention_hours=24))
    desk = Desk(assistant, store, Pseudonyms(None, subkey("k" * 20 + "abcdefghijkl", "opt-out")))
    loop = asyncio.new_event_loop()

    def converse() -> None:
        secret = "".join(parts)
        for channel in ("sms", "whatsapp", "telegram", "web"):
            for number, text in enumerate(
                (f"{secret} can the police ask for my papers", "more", f"me robaron {secret}", "STOP")
            ):
                message = Message(channel, f"sender-{secret}", text, f"id-{secret}-{number}")
                assert loop.run_until_complete(desk.answer(message)).result

    def fail() -> None:
        raise RuntimeError("".join(parts))

    converse()
    with monkeypatch.context() as patch:
        patch.setattr(actions, "answering", fail)
        # The test runner keeps what is logged; a server has the allow-list.
        logging.disable(logging.CRITICAL)
        converse()
        logging.disable(logging.NOTSET)
    found = _held_in_memory(parts)
    assert found == []
    for kept in (["".join(parts)], Message("sms", "".join(parts)), {1: ("".join(parts).encode(),)}):
        assert _held_in_memory(parts), f"else this proves nothing: {type(kept)}"
    del kept
    loop.close()
    store.close()


def _held_in_memory(parts: Sequence[str]) -> list[str]:
    """Texts in memory that hold the joined parts, shortened."""
    gc.collect()
    needle = "".join(parts)
    as_bytes = needle.encode()
    here = {id(needle), id(as_bytes)}
    found = []
    for holder in gc.get_objects():
        if isinstance(holder, types.FrameType):
            continue
        referents = gc.get_referents(holder)
        while referents:
            held = referents.pop()
            if isinstance(held, str):
                if needle in held and id(held) not in here:
                    found.append(f"{type(holder).__name__}: {held[:60]}")
            elif isinstance(held, (bytes, bytearray)):
                if as_bytes in held and id(held) not in here:
                    found.append(f"{type(holder).__name__}: {held[:60]!r}")
            elif isinstance(held, (dict, tuple)) and not gc.is_tracked(held):
                # Python does not list what holds texts only.
                referents.extend(gc.get_referents(held))
    return found


# --- the thief ----------------------------------------------------------------------------------------------


def test_whoever_carries_the_machine_away_finds_no_conversation(server: Server) -> None:
    """The server dies in the middle of its work, the machine loses its power: what is in memory is gone. The thief has the disk, .env with
    every secret, and tries all numbers of an exchange."""
    if server.kind == "redis":
        pytest.skip("Redis is in memory: with the power everything is gone")
    phone = PHONES[40]
    assert server.text(phone, QUESTION["es"])
    assert server.chat(CHATS[38], QUESTION["en"]) == 200
    server.process.send_signal(signal.SIGABRT)
    assert server.process.wait(20) == -signal.SIGABRT
    today = TmpfsKeys(server.key_folder / "keys.json").key(clocks.now().date())
    shutil.rmtree(server.key_folder)
    _nothing_is_left(server)
    stolen = server.folder / "stolen"
    shutil.copytree(server.data, stolen)
    with sqlite3.connect(stolen / DATABASE) as database:
        conversations = {row[0] for row in database.execute("SELECT key FROM conversations")}
        messages = {row[0] for row in database.execute("SELECT message FROM replies")}
        stops = {row[0].rpartition("-")[2] for row in database.execute("SELECT name FROM opt_outs")}
    assert len(conversations) > 30
    assert len(messages) > 100
    numbers = [f"+1305555{number:04}" for number in range(10_000)]
    secrets = [as_twilio.SECRET, as_twilio.TOKEN, TELEGRAM_TOKEN, TELEGRAM_SECRET, as_twilio.ACCOUNT, ""]
    guessed = [secret.encode() for secret in secrets]
    guessed += [
        subkey(as_twilio.SECRET, purpose) for purpose in ("opt-out", "conversation", "pseudonym", "day", "keys", "")
    ]
    guessed += [subkey(as_twilio.SECRET, f"{clocks.now():%Y-%m-%d}"), bytes(32)]
    names = conversations | messages

    def opened(found_keys: Sequence[bytes], senders: Sequence[str]) -> set[tuple[str, str]]:
        """(channel, sender) of conversations that are found under any key, or without one."""
        return {
            (channel, sender)
            for channel in ("sms", "whatsapp", "telegram", "web")
            for sender in senders
            for text in (f"{channel}\x1f{sender}".encode(),)
            if any(hmac.digest(key, text, "sha256").hex() in names for key in found_keys)
            or hashlib.sha256(text).hexdigest() in names
        }

    assert opened(guessed, numbers) == set()
    # Every place of the disk as a key, against those who did write.
    wrote = [phone, *PHONES[:6], str(CHATS[38]), *(str(chat) for chat in CHATS[:3])]
    disk = b"".join(path.read_bytes() for path in sorted(stolen.rglob("*")) if path.is_file())
    # Thirty-two random bytes are never all of them letters.
    raw = [key for at in range(len(disk) - 31) if not (key := disk[at : at + 32]).isascii() and key.count(0) < 8]
    hexadecimal = [bytes.fromhex(found.decode()) for found in set(re.findall(rb"[0-9a-f]{64}", disk))]
    assert len(hexadecimal) > 100
    assert opened(hexadecimal, wrote) == set()
    targets = [f"{channel}\x1f{sender}".encode() for channel, sender in (("sms", phone), ("telegram", str(CHATS[38])))]
    assert not any(hmac.digest(key, text, "sha256").hex() in names for key in raw for text in targets)
    # What the design says can be found: whether a number has stopped messages. And with the key, everything: the attack works.
    stopping = subkey(as_twilio.SECRET, "opt-out")
    tested = [
        number for number in numbers if hmac.digest(stopping, f"sms\x1f{number}".encode(), "sha256").hex() in stops
    ]
    assert tested == [PHONES[6]]
    assert ("sms", phone) in opened([today], numbers)
    assert ("telegram", str(CHATS[38])) in opened([today], wrote)


def test_nothing_is_left_after_an_orderly_end(server: Server) -> None:
    if server.kind == "file":
        pytest.skip("it was killed just before")
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(30) == 0
    _nothing_is_left(server)
    assert server.twilio.paths("DELETE"), "messages were deleted at Twilio, and its errors quoted"
