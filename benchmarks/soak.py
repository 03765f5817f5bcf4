"""A soak: days of conversations in minutes, and what they leave behind: memory, open files, the store's size.

    .venv/bin/python benchmarks/soak.py [--messages 20000] [--seconds 600]

Bounded in count and time, in this process, with a clock that the soak moves on: a day of --a-day messages, swept as the server sweeps it, so
that conversations come and go as they do in weeks. The curve is printed, and its slope over the second half, after the caches are warm and
the first day has expired.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import gc
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

START = dt.datetime(2026, 11, 22, 12, 0, tzinfo=dt.timezone.utc)
TEXTS = (
    "can the police ask for my papers",
    "more",
    "necesito un abogado gratis",
    "33012",
    "èske lapolis ka mande m papye",
    "mi esposo me pegó anoche",
    "delete my messages",
    "xyzzy {number}",
    "he is shooting at us right now",
    "thanks",
)
"""What is said, by turns with messages of the training data: answers, questions, places, an abuser, a deletion, what nobody understands,
danger. The others fill what grows with new words: each is said once before the first comes again."""
ONE_IN = 10
"""So many messages of a sender before the next one comes."""
POINTS = 20


@dataclass(frozen=True)
class Point:
    """One look at the process."""

    messages: int
    memory: float
    """Resident set, MB."""
    files: int
    """Open descriptors."""
    store: float
    """The folder of the store, KB."""
    objects: int
    """What Python's garbage collector keeps watch over."""
    tasks: int
    """asyncio tasks that are not done."""


def look(messages: int, folder: Path) -> Point:
    """What this process holds now."""
    gc.collect()
    fields = Path("/proc/self/statm").read_text("utf-8").split()
    return Point(
        messages,
        int(fields[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6,
        len(os.listdir("/proc/self/fd")),
        sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e3,
        len(gc.get_objects()),
        len(asyncio.all_tasks()) - 1,
    )


def slope(points: list[Point], what: Callable[[Point], float]) -> float:
    """Growth per 1,000 messages, over the second half of the curve."""
    half = points[len(points) // 2 :]
    return float(np.polyfit([point.messages / 1000 for point in half], [what(point) for point in half], 1)[0])


async def soak(
    desk: Any,
    folder: Path,
    messages: int,
    a_day: int,
    seconds: float,
    told: Callable[[Point], None],
    written: Sequence[str],
) -> list[Point]:
    """Talk, with the clock going on.

    Args:
        desk: over a store in `folder`.
        messages: at most so many.
        a_day: messages of a day; a sweep comes after every hundredth of it.
        seconds: at most so long.
        told: each point, when it is taken.
        written: what others say, between TEXTS.
    """
    from actions import clock
    from bot.desk import Message, Result
    from bot.nlu import safety
    from bot.privacy.limits import SENDER, Limiter

    # What the safety screen's RE2 works out it keeps, up to a bound; filled first, so that the curve shows what else grows.
    for text in written:
        safety.screen(text)
    # Its hour is an hour of the soak's clock too.
    desk.limiter = Limiter(SENDER, lambda: clock.now().timestamp())
    points: list[Point] = []
    ends = time.monotonic() + seconds
    step = dt.timedelta(days=1) / a_day
    for number in range(messages):
        if time.monotonic() > ends:
            break
        if number % max(1, messages // POINTS) == 0:
            points.append(look(number, folder))
            told(points[-1])
        with clock.fixed(START + number * step):
            text = written[number // 2 % len(written)]
            if number % 2:
                text = TEXTS[number // 2 % len(TEXTS)].format(number=number)
            channel = ("sms", "web", "telegram", "whatsapp")[number // ONE_IN % 4]
            answer = await desk.answer(Message(channel, f"soak-{number // ONE_IN}", text, str(number)))
            assert answer.replies or answer.result is Result.STOPPED, (number, answer)  # some of them say STOP
            if number % max(1, a_day // 100) == 0:
                await desk.sweep()
    points.append(look(number, folder))
    told(points[-1])
    return points


MEASURED: tuple[tuple[str, str, Callable[[Point], float]], ...] = (
    ("memory", "MB", lambda point: point.memory),
    ("open files", "", lambda point: point.files),
    ("store", "KB", lambda point: point.store),
    ("objects", "", lambda point: point.objects),
)


def lines(points: list[Point]) -> Iterator[str]:
    """The slopes in words."""
    for name, unit, what in MEASURED:
        yield f"{name}: {slope(points, what):+.2f} {unit} for 1,000 messages".replace("  ", " ")


def main() -> None:
    """Soak, and print the curve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--a-day", type=int, default=2_000)
    parser.add_argument("--seconds", type=float, default=600.0)
    asked = parser.parse_args()
    os.environ.setdefault("RASA_TELEMETRY_ENABLED", "false")
    import logging
    import warnings

    import structlog

    warnings.filterwarnings("ignore")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    from benchmarks.flood import a_desk
    from bot.check import training_messages

    written = [text for *_, text in training_messages()]
    random.Random(0).shuffle(written)  # noqa: S311 - the same order every time
    print(" messages  memory MB  files  store KB  objects  tasks")

    def told(point: Point) -> None:
        print(
            f"{point.messages:9} {point.memory:10.1f} {point.files:6} {point.store:9.0f} {point.objects:8} {point.tasks:6}",
            flush=True,
        )

    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        desk = a_desk(folder, True)
        points = asyncio.run(soak(desk, folder, asked.messages, asked.a_day, asked.seconds, told, written))
        desk.close()
    print("\n".join(lines(points)))


if __name__ == "__main__":
    main()
