"""A flood and a rush: one sender with 1,000 messages beside others who ask now and then, and 2,000 conversations at once.

    .venv/bin/python benchmarks/flood.py [--conversations 2000] [--messages 1000] [--seconds 30]

Bounded in count and time, on this machine only. Through the desk in this process, with commits that reach the disk before the answer
(durable) and without, and over HTTP through a server of its own as `outreach run` starts it. How fast a machine is says little: what counts
are the ratios within a run, of the same senders with and without the flood, and that nobody is left out or answered out of order.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

ASKED = ("can the police ask for my papers", "me robaron, puedo denunciar?", "èske lekòl la ka mande papye timoun mwen")
"""What the others ask, by turns."""
TALK = ("can the police ask for my papers", "can the jail hold me for ice if i am arrested", "more")
"""One conversation of the rush: the third is understood only after the second, so that order shows."""
TOPICS = ("police_questions", "arrest_detainer", "arrest_detainer")
SHORT, LONG = "hello hello", ("a " * 800)
"""Messages of a flood: as people write, and the slowest to read that an SMS can be."""
EVERY = 0.1
"""Seconds between two messages of the others."""
CONNECTIONS = 100
"""So many messages of a flood are on their way at a time; who floods waits for no answer of ours, but for a connection."""
TRIES, PAUSE = 8, 1.0
"""So often the chat's page sends a message again that got no answer, and how long it waits (bot/channels/web/page.js has its own numbers)."""


@dataclass(frozen=True)
class Got:
    """What came back for one message."""

    result: str
    """answered, limited, busy, failed ..., or the HTTP status where there was no answer."""
    topic: str | None = None
    text: str = ""
    kept: bool = True
    seconds: float = 0.0


Say = Callable[[str, int, str], Awaitable[Got]]
"""(sender, number of the message, text) -> what came back."""


@dataclass(frozen=True)
class Waits:
    """How long the others waited, in milliseconds."""

    median: float
    p95: float
    most: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Waits:
        """From the seconds of each message."""
        took = sorted(1000 * wait for wait in seconds)
        return cls(statistics.median(took), took[int(0.95 * (len(took) - 1))], took[-1])

    def __str__(self) -> str:
        return f"median {self.median:6.0f} ms   p95 {self.p95:6.0f} ms   longest {self.most:6.0f} ms"


# --- two ways in ----------------------------------------------------------------------------------


def by_desk(desk: Any) -> Say:
    """Through the desk in this process, as SMS."""
    from bot.desk import Message

    async def say(sender: str, number: int, text: str) -> Got:
        started = time.perf_counter()
        answer = await desk.answer(Message("sms", sender, text, f"{sender}-{number}"))
        reply = answer.replies[0] if answer.replies else None
        took = time.perf_counter() - started
        return Got(answer.result.value, reply.topic if reply else None, reply.text if reply else "", answer.kept, took)

    return say


def by_http(port: int) -> Say:
    """As the chat's page does it: a message that gets no answer is sent again under the same id."""
    sessions: dict[str, str] = {}

    async def once(sender: str, number: int, text: str) -> tuple[int, dict[str, Any]]:
        body = {"v": 1, "session": sessions.get(sender), "id": f"{sender}-{number}", "lang": None, "hint": "en"}
        data = json.dumps({**body, "text": text, "button": None}).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(
                b"POST /chat/v1/messages HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
                b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(data), data)
            )
            head, _, said = (await reader.read()).partition(b"\r\n\r\n")
        finally:
            writer.close()
        status = int(head.split()[1]) if head else 0
        try:
            return status, json.loads(said)
        except ValueError:
            return status, {}

    async def say(sender: str, number: int, text: str) -> Got:
        started = time.perf_counter()
        status, body = 0, {}
        for _ in range(TRIES):
            with contextlib.suppress(OSError):
                status, body = await once(sender, number, text)
            if status in (200, 429):
                break
            await asyncio.sleep(PAUSE)
        took = time.perf_counter() - started
        if body.get("session"):
            sessions[sender] = body["session"]
        first = (body.get("messages") or [{}])[0]
        result = "answered" if status == 200 else body.get("error") or str(status)
        return Got(result, first.get("topic"), first.get("text", ""), status == 200, took)

    return say


@contextlib.contextmanager
def server(folder: Path) -> Iterator[int]:
    """`outreach run` on a port of its own."""
    from tests.conftest import free_port

    port = free_port()
    process = subprocess.Popen(  # noqa: S603 - our own command
        [str(Path(sys.executable).parent / "outreach"), "run", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
        env={**os.environ, "OUTREACH_DATA": str(folder)},
    )
    try:
        from tests.channels.running import wait_for

        wait_for(f"http://127.0.0.1:{port}")
        yield port
    finally:
        process.terminate()
        process.wait(timeout=30)


# --- what is measured -----------------------------------------------------------------------------


async def others(say: Say, name: str, seconds: float) -> list[Got]:
    """Senders of one message each, one every EVERY seconds."""

    async def one(number: int) -> Got:
        await asyncio.sleep(number * EVERY)
        return await say(f"{name}{number}", 1, ASKED[number % len(ASKED)])

    return await asyncio.gather(*(one(number) for number in range(int(seconds / EVERY))))


async def pour(say: Say, name: str, messages: int, text: str, connections: int = CONNECTIONS) -> Counter[str]:
    """One sender who sends all of it at once; what came back."""
    # Who floods has a session already.
    await say(name, 0, "hello")
    free = asyncio.Semaphore(connections)

    async def one(number: int) -> Got:
        async with free:
            return await say(name, number, text)

    got = await asyncio.gather(*(one(number) for number in range(1, messages + 1)))
    return Counter(one.result for one in got)


async def pour_beside(port: int, name: str, messages: int, text: str) -> Counter[str]:
    """The same over HTTP from a process of its own: in this one, sending would slow the others' clock down, not the server."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "ignore", __file__, "--pour", str(port), name, str(messages), text),
        stdout=asyncio.subprocess.PIPE,
    )
    told, _ = await process.communicate()
    return Counter(json.loads(told))


async def flood(
    say: Say, flooded: Awaitable[Counter[str]], seconds: float, name: str
) -> tuple[Waits, Waits, Counter[str]]:
    """The others without and with the flood, and what the flood got.

    Args:
        flooded: begins when it is waited for, a moment after the others.

    Raises:
        AssertionError: when one of the others was not answered.
    """

    async def later() -> Counter[str]:
        await asyncio.sleep(seconds / 10)
        return await flooded

    quiet = await others(say, f"{name}q", seconds)
    loud, got = await asyncio.gather(others(say, f"{name}l", seconds), later())
    for one in (*quiet, *loud):
        assert one.result == "answered", one
    return Waits.of([one.seconds for one in quiet]), Waits.of([one.seconds for one in loud]), got


@dataclass(frozen=True)
class Rush:
    """How many conversations at once fared."""

    seconds: float
    waits: Waits
    results: Counter[str]
    out_of_order: int
    """Conversations whose answers do not fit their questions."""
    not_kept: int


async def rush(say: Say, conversations: int, name: str, waiting: bool) -> Rush:
    """All conversations at once, three messages each.

    Args:
        waiting: each waits for its answer before it goes on, as a page does; without it all three are on their way together.
    """

    async def one(sender: str) -> list[Got]:
        if waiting:
            return [await say(sender, number, text) for number, text in enumerate(TALK)]
        return await asyncio.gather(*(say(sender, number, text) for number, text in enumerate(TALK)))

    started = time.perf_counter()
    talks = await asyncio.gather(*(one(f"{name}{number}") for number in range(conversations)))
    took = time.perf_counter() - started
    answers = [got for talk in talks for got in talk]
    return Rush(
        took,
        Waits.of([got.seconds for got in answers]),
        Counter(got.result for got in answers),
        sum(tuple(got.topic for got in talk) != TOPICS or talk[1].text == talk[2].text for talk in talks),
        sum(not got.kept for got in answers),
    )


# --- the report -----------------------------------------------------------------------------------


def a_desk(folder: Path, durable: bool) -> Any:
    """A desk over a file, as `outreach run` has it."""
    from bot.assistant import Assistant
    from bot.desk import Desk
    from bot.privacy.keys import MemoryKeys, subkey
    from bot.privacy.pseudonyms import Pseudonyms
    from bot.privacy.store_file import FileStore
    from bot.settings import Settings

    settings = Settings(data=folder, retention_hours=24)
    names = Pseudonyms(MemoryKeys(), subkey("a-secret-of-this-measurement-0123456789", "opt-out"))
    return Desk(_assistant(Assistant), FileStore(folder, settings, durable), names)


_loaded: list[Any] = []


def _assistant(kind: Any) -> Any:
    if not _loaded:
        _loaded.append(kind.load())
    return _loaded[0]


def report_flood(label: str, say: Say, messages: int, text: str, seconds: float, port: int = 0) -> float:
    """Measure and print; the ratio of the two p95."""
    name = f"flood-{time.monotonic_ns()}-"
    poured = pour_beside(port, f"{name}f", messages, text) if port else pour(say, f"{name}f", messages, text, messages)
    quiet, loud, got = asyncio.run(flood(say, poured, seconds, name))
    ratio = loud.p95 / quiet.p95
    print(
        f"{label}\n  without  {quiet}\n  with     {loud}   p95 x {ratio:.2f}\n  the flood got {dict(got)}", flush=True
    )
    return ratio


def report_rush(label: str, say: Say, conversations: int, waiting: bool) -> Rush:
    """Measure and print."""
    made = asyncio.run(rush(say, conversations, f"rush-{time.monotonic_ns()}-", waiting))
    print(
        f"{label}\n  {3 * conversations} messages in {made.seconds:.1f} s ({3 * conversations / made.seconds:.0f} a second); {made.waits}\n"
        f"  results {dict(made.results)}, out of order {made.out_of_order}, not kept {made.not_kept}",
        flush=True,
    )
    return made


def report_commits(folder: Path, commits: int = 300, rounds: int = 5) -> float:
    """Commits alone, by turns with and without waiting for the disk: how much longer one takes that reaches it."""
    from bot.privacy.records import Record
    from bot.privacy.store_file import FileStore
    from bot.settings import Settings

    settings = Settings(data=folder, retention_hours=24)
    took: dict[bool, list[float]] = {True: [], False: []}
    for number in range(rounds):
        for durable in (True, False):
            store = FileStore(folder / f"commits-{number}-{durable}", settings, durable)
            started = time.perf_counter()
            for turn in range(commits):
                store.commit(f"{turn:064x}", Record(language="ht", last_topics=["schools"]), [f"{turn}"], [])
            took[durable].append(1000 * (time.perf_counter() - started) / commits)
            store.close()
    with_, without = (statistics.median(took[durable]) for durable in (True, False))
    print(
        f"A commit, durable {with_:.2f} ms, not durable {without:.2f} ms: {with_ / without:.1f} times as long",
        flush=True,
    )
    return with_ / without


def main() -> None:
    """Measure everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--conversations", type=int, default=2000)
    parser.add_argument("--messages", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument(
        "--pour", nargs=4, metavar=("PORT", "SENDER", "MESSAGES", "TEXT"), help="only the flood, for pour_beside"
    )
    asked = parser.parse_args()
    if asked.pour:
        port, name, messages, text = asked.pour
        print(json.dumps(asyncio.run(pour(by_http(int(port)), name, int(messages), text))))
        return
    os.environ.setdefault("RASA_TELEMETRY_ENABLED", "false")
    import logging
    import warnings

    import structlog

    warnings.filterwarnings("ignore")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        speeds = {}
        for durable in (True, False):
            word = "durable" if durable else "not durable"
            desk = a_desk(folder / word, durable)
            say = by_desk(desk)
            report_flood(f"Flood, desk, {word}, short messages", say, asked.messages, SHORT, asked.seconds)
            if durable:
                report_flood("Flood, desk, slowest messages", say, asked.messages, LONG, asked.seconds)
            speeds[word] = report_rush(f"Rush, desk, {word}", say, asked.conversations, waiting=False).seconds
            desk.close()
        print(
            f"With durable commits the rush takes {speeds['durable'] / speeds['not durable']:.2f} times as long.",
            flush=True,
        )
        report_commits(folder)
        with server(folder / "served") as port:
            say = by_http(port)
            report_flood("Flood, HTTP, short messages", say, asked.messages, SHORT, asked.seconds, port)
            report_rush("Rush, HTTP", say, asked.conversations, waiting=True)


if __name__ == "__main__":
    main()
