"""Connections that ask for nothing: they make room for those that do, and no channel is shut out."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import resource
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bot import bounds
from bot.channels.web.channel import WebChannel
from bot.connections import OURSELVES, Connections, open_files
from bot.desk import Desk
from bot.privacy.limits import Limiter
from bot.privacy.store import MemoryStore
from bot.settings import Settings
from tests.channels.running import serving, wait_for
from tests.conftest import ROOT, free_port

ELSEWHERE = "127.0.1.1"
"""Another network than 127.0.0.1, by the /24 that counts."""
PARTLY = b"POST /chat/v1/messages HTTP/1.1\r\nContent-Length: 900\r\n\r\n{"


@contextmanager
def half_open(address: str, number: int, source: str = ELSEWHERE, sent: bytes = b"") -> Iterator[list[socket.socket]]:
    """So many connections of one address, on which nothing more comes."""
    port = int(address.rpartition(":")[2])
    held = []
    try:
        for _ in range(number):
            held.append(socket.create_connection(("127.0.0.1", port), 5, (source, 0)))
            held[-1].sendall(sent)
        time.sleep(0.2)
        yield held
    finally:
        for one in held:
            one.close()


def alive(held: Sequence[socket.socket]) -> list[bool]:
    """Which of them the server has not closed."""
    found = []
    for one in held:
        one.setblocking(False)
        try:
            found.append(bool(one.recv(4096)))
        except BlockingIOError:
            found.append(True)
        except OSError:
            found.append(False)
    return found


def waited(address: str) -> float:
    """Seconds until somebody else is answered."""
    started = time.monotonic()
    assert urllib.request.urlopen(f"{address}/health", timeout=20).status == 200
    return time.monotonic() - started


@contextmanager
def served_with(assistant: Any, connections: Connections, pause: float = 0.0) -> Iterator[str]:
    """The website's chat, with bounds of its own."""

    def make() -> tuple[Desk, list[WebChannel]]:
        desk = Desk(assistant, MemoryStore(Settings(data=Path("var"), retention_hours=24)))
        answer = desk.answer

        async def slow(message: Any) -> Any:
            await asyncio.sleep(pause)
            return await answer(message)

        desk.answer = slow  # type: ignore[method-assign]
        return desk, [WebChannel(desk, (), (), Limiter(()))]

    with serving(make, connections) as (address, _):
        yield address


@pytest.mark.parametrize(("label", "sent"), [("no byte", b""), ("half a head", b"GET /"), ("half a body", PARTLY)])
def test_one_network_shuts_nobody_out(
    label: str, sent: bytes, assistant: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        served_with(assistant, Connections(most=20, ours=(), of_a_network=5)) as address,
        half_open(address, 60, sent=sent) as held,
    ):
        assert waited(address) < 1
        assert alive(held) == [False] * 55 + [True] * 5, "those that have waited longest go"
    told = [record.getMessage() for record in caplog.records if "too many connections" in record.getMessage()]
    assert len(told) == 1, "once a minute"
    assert "127." not in caplog.text


def test_a_proxy_has_no_bound_of_its_own_and_all_together_have_one(assistant: Any) -> None:
    with (
        served_with(assistant, Connections(most=30, ours=OURSELVES, of_a_network=5)) as address,
        half_open(address, 20, "127.0.0.2") as of_the_proxy,
    ):
        assert all(alive(of_the_proxy))
        with half_open(address, 40, "127.0.0.2") as more:
            assert waited(address) < 1
            assert 25 <= sum(alive(of_the_proxy) + alive(more)) <= 30


def test_who_is_being_answered_is_not_closed_for_others(assistant: Any) -> None:
    body = json.dumps(
        {"v": 1, "session": None, "id": "c-1", "lang": None, "hint": "en", "text": "am i safe", "button": None}
    )
    got: list[bytes] = []
    with served_with(assistant, Connections(most=10, ours=(), of_a_network=2), pause=1.5) as address:
        made = urllib.request.Request(
            f"{address}/chat/v1/messages", body.encode(), {"Content-Type": "application/json"}
        )
        asking = threading.Thread(target=lambda: got.append(urllib.request.urlopen(made, timeout=20).read()))
        asking.start()
        time.sleep(0.5)
        with half_open(address, 40, "127.0.0.1"), half_open(address, 40):
            asking.join(20)
    assert json.loads(got[0])["messages"]


def test_the_first_byte_is_not_waited_for_long(assistant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bounds.FIRST_SECONDS == 5
    monkeypatch.setattr(bounds, "FIRST_SECONDS", 0.5)
    with (
        served_with(assistant, Connections()) as address,
        half_open(address, 3) as silent,
        half_open(address, 3, sent=b"GET /health HTTP/1.1\r\n\r\n") as kept,
    ):
        for one in kept:
            assert one.recv(4096).startswith(b"HTTP/1.1 200")
        time.sleep(0.8)
        assert alive(silent) == [False] * 3
        assert alive(kept) == [True] * 3, "who has asked may ask again"


def test_the_soft_limit_of_open_files_is_raised() -> None:
    code = "from bot.connections import open_files; import resource; print(open_files(), *resource.getrlimit(resource.RLIMIT_NOFILE))"
    told = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (128, 512)),
    )
    assert told.stdout.split() == ["512", "512", "512"]
    assert open_files() == resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def test_a_server_with_few_files_lets_others_in(tmp_path: Path) -> None:
    """With 64 files, 111 connections on which nothing comes shut everybody out for ten seconds, and nothing was logged."""
    port, log = free_port(), tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(Path(sys.executable).parent / "outreach"), "run", "--port", str(port)],
            cwd=ROOT,
            env={**os.environ, "OUTREACH_DATA": str(tmp_path / "var")},
            stdout=output,
            stderr=output,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)),
        )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(address)
        with half_open(address, 111):
            assert max(waited(address) for _ in range(10)) < 2
    finally:
        process.terminate()
        process.wait(30)
    told = log.read_text("utf-8")
    assert "Only 64 files and connections can be open at once" in told
    assert told.count("too many connections at once") == 1
    assert "127.0" not in told.replace("http://127.0.0.1", "")


def test_a_stop_lets_nobody_in(assistant: Any, caplog: pytest.LogCaptureFixture) -> None:
    connections = Connections()
    caplog.set_level(logging.WARNING)
    with served_with(assistant, connections) as address, half_open(address, 3) as held:
        assert len(connections) == 3
        connections.stopping = True
        with pytest.raises(OSError, match=r"reset|closed|refused"):
            waited(address)
        assert all(alive(held))
    assert len(connections) == 0
    assert caplog.text == ""
