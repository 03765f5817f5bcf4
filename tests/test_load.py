"""A flood, a rush and a soak, short; benchmarks/flood.py and benchmarks/soak.py are the long ones, and have the figures' meaning."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from benchmarks import flood as floods
from benchmarks import soak as soaks
from bot.desk import Message, Result
from bot.privacy import limits
from bot.privacy.keys import MemoryKeys, subkey
from bot.privacy.limits import SENDER, Limiter
from bot.privacy.pseudonyms import Pseudonyms
from bot.privacy.store import MemoryStore
from bot.privacy.store_file import FileStore
from bot.queues import Room
from bot.settings import Settings

OWN = Settings(data=Path("var"), retention_hours=24)
AT_MOST = 2.0
"""So many times as long may the others wait while somebody floods (p95 against p95 of the same run)."""
TRIES = 3
"""Of a ratio on a machine that others use too: the best one counts. A flood that slows the others does so each time."""


def a_desk(assistant: Any, store: Any, **more: Any) -> Any:
    """A desk with keys of its own."""
    from bot.desk import Desk

    names = Pseudonyms(MemoryKeys(), subkey("a-secret-of-the-tests-0123456789", "opt-out"))
    return Desk(assistant, store, names, **more)


def best_ratio(measure: Callable[[int], float]) -> list[float]:
    """Ratios, until one is good enough."""
    ratios: list[float] = []
    while len(ratios) < TRIES and not (ratios and min(ratios) <= AT_MOST):
        ratios.append(measure(len(ratios)))
    return ratios


# --- one sender -------------------------------------------------------------------------------------


def test_a_flood_does_not_slow_the_others(assistant: Any, tmp_path: Path) -> None:
    desk = a_desk(assistant, FileStore(tmp_path, OWN))
    say = floods.by_desk(desk)

    def measure(number: int) -> float:
        poured = floods.pour(say, f"desk-{number}-f", 1000, floods.SHORT, 1000)
        quiet, loud, got = asyncio.run(floods.flood(say, poured, 4.0, f"desk-{number}-"))
        assert got["limited"] > 900, got
        return loud.p95 / quiet.p95

    ratios = best_ratio(measure)
    desk.close()
    assert min(ratios) <= AT_MOST, ratios


def test_a_flood_over_http_does_not_slow_the_others(served: tuple[str, Path]) -> None:
    port = urlsplit(served[0]).port or 0
    say = floods.by_http(port)

    def measure(number: int) -> float:
        poured = floods.pour_beside(port, f"http-{number}-f", 1000, floods.SHORT)
        quiet, loud, got = asyncio.run(floods.flood(say, poured, 6.0, f"http-{number}-"))
        assert got["rate"] > 900, got
        return loud.p95 / quiet.p95

    ratios = best_ratio(measure)
    assert min(ratios) <= AT_MOST, ratios


def test_a_flood_is_read_to_its_end(assistant: Any) -> None:
    """Reading for danger is quick enough for all of it (bot/nlu/safety.py); one answer a minute says so beyond the limit."""
    now = [0.0]
    desk = a_desk(assistant, MemoryStore(OWN), limiter=Limiter(SENDER, lambda: now[0]))

    def say(text: str, **more: Any) -> Any:
        return asyncio.run(desk.answer(Message("sms", "+13055550142", text, **more)))

    results = [say("hello hello").result for _ in range(300)]
    assert results == [Result.ANSWERED] * 15 + [Result.LIMITED] * 285
    assert say("he is shooting at us right now").replies[0].topic == "emergency"
    assert say("li gen yon zam li pral touye m kounye a").replies == [], "danger has just been answered"
    now[0] = 61.0
    assert say("li gen yon zam li pral touye m kounye a").replies[0].topic == "emergency"
    assert [reply.topic for reply in say("SISPANN").replies] == ["opt_out"], "STOP is heard"


def test_names_are_counted_for_as_long_as_a_limit_needs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    limiter = Limiter(SENDER, lambda: now[0])
    for number in range(50):
        now[0] += 1
        assert not limiter.floods(f"n{number}")
        assert limiter.passes(f"n{number}")
    assert (len(limiter._seen), len(limiter._arrived)) == (50, 50)
    now[0] += 3601
    assert limiter.passes("later")
    assert not limiter.floods("later")
    assert (list(limiter._seen), list(limiter._arrived)) == (["later"], ["later"])
    monkeypatch.setattr(limits, "MOST_SENDERS", 10)
    for number in range(50):
        limiter.passes(f"m{number}")
        limiter.floods(f"m{number}")
    assert (len(limiter._seen), len(limiter._arrived)) == (10, 10)


# --- many conversations -----------------------------------------------------------------------------


def test_a_room_has_few_places_given_in_order() -> None:
    async def scene() -> tuple[list[int], int]:
        room, order, inside, most = Room(3), [], 0, 0

        async def visit(number: int) -> None:
            nonlocal inside, most
            async with room.place():
                inside += 1
                most = max(most, inside)
                order.append(number)
                await asyncio.sleep(0)
                inside -= 1

        tasks = [asyncio.create_task(visit(number)) for number in range(20)]
        await asyncio.sleep(0)
        tasks[10].cancel()  # who waits may leave
        await asyncio.gather(*tasks, return_exceptions=True)
        async with room.place(), room.place(), room.place():
            return order, most

    order, most = asyncio.run(scene())
    assert most == 3
    assert order == [number for number in range(20) if number != 10]


def test_a_place_given_to_who_leaves_in_that_moment_is_not_lost() -> None:
    async def scene() -> bool:
        room = Room(1)

        async def visit() -> None:
            async with room.place():
                pass

        async with room.place():
            leaving = asyncio.create_task(visit())
            await asyncio.sleep(0)
        leaving.cancel()  # the place was handed over, but has not been taken
        await asyncio.gather(leaving, return_exceptions=True)
        await asyncio.wait_for(visit(), 1)
        return leaving.cancelled()

    assert asyncio.run(scene())


def test_a_rush_loses_nothing_and_keeps_order(assistant: Any, tmp_path: Path) -> None:
    store = FileStore(tmp_path, OWN)
    desk = a_desk(assistant, store)
    made = asyncio.run(floods.rush(floods.by_desk(desk), 150, "rush-", waiting=False))
    assert made.results == {"answered": 450}
    assert (made.out_of_order, made.not_kept) == (0, 0)
    assert store.counts().topics[("2026-11", "en", "sms", "arrest_detainer")] == 300
    # Not all of them were begun together: then each would be ready only when all are.
    assert made.waits.median < 0.8 * made.waits.most, made.waits
    assert store.purge() == 150
    desk.close()


def test_in_danger_nobody_waits_for_a_place(assistant: Any) -> None:
    desk = a_desk(assistant, MemoryStore(OWN))

    async def scene() -> tuple[str, bool]:
        places = [desk._room.place() for _ in range(8)]
        for place in places:
            await place.__aenter__()
        waiting = asyncio.create_task(desk.answer(Message("sms", "+13055550142", "can police ask my papers")))
        cried = await asyncio.wait_for(desk.answer(Message("sms", "+13055550143", "he is shooting at us right now")), 5)
        done = waiting.done()
        for place in places:
            await place.__aexit__(None, None, None)
        await waiting
        return cried.replies[0].kind, done

    assert asyncio.run(scene()) == ("emergency", False)


# --- weeks ------------------------------------------------------------------------------------------


SAID = (
    "is my landlord allowed to call ice",
    "dónde está el consulado",
    "ki kote m ka jwenn manje",
    "they took my cousin this morning",
)


def test_a_soak_leaves_nothing_behind(assistant: Any, tmp_path: Path) -> None:
    desk = a_desk(assistant, FileStore(tmp_path, OWN))
    points: list[soaks.Point] = []
    asyncio.run(soaks.soak(desk, tmp_path, 600, 60, 60.0, points.append, SAID))
    desk.close()
    half = points[len(points) // 2 :]
    curve = "\n".join(map(str, points))
    assert points[-1].messages == 599, curve
    assert {point.files for point in half} == {half[0].files}, curve
    assert {point.tasks for point in half} == {0}, curve
    assert max(point.store for point in half) <= 1.5 * half[0].store, curve
    assert half[-1].objects - half[0].objects < 600, curve
    # A page of the allocator's comes and goes; a leak of one tracker a message would be tens of MB.
    assert half[-1].memory - half[0].memory < 10, curve


def test_a_slope_is_a_slope() -> None:
    points = [soaks.Point(number * 100, 50 + number * 0.5, 9, 10, 0, 0) for number in range(20)]
    assert soaks.slope(points, lambda point: point.memory) == pytest.approx(5.0)
    assert next(soaks.lines(points)) == "memory: +5.00 MB for 1,000 messages"
