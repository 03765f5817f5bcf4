"""Puts labelled messages through the assistant, by the way of `outreach ask --jsonl`, and judges the replies."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bot.desk import Desk, Message
from bot.evaluation.labelled import CHANNELS, Item, Labelled
from bot.evaluation.outcomes import Outcome, judge, offered
from bot.nlg import Reply

EVERY = 100
"""Progress is told after so many messages."""
ROUND = "round"


@dataclass(frozen=True)
class Measured:
    """A message with what was said to it. Lives in memory and on the page, never in an outcomes file."""

    item: Item
    outcome: Outcome
    replies: Sequence[Reply]

    @property
    def offered(self) -> list[str]:
        """Topics to choose from."""
        return offered(self.replies)


@contextlib.contextmanager
def understandings(assistant: Any) -> Iterator[list[Mapping[str, Any]]]:
    """Look on while messages are parsed: the list gets the understanding of each, in order.

    Beliefs are no part of a reply, and stay that way: this looks at the loaded model from outside, and lets go of it.
    """
    processor = assistant.agent.processor
    parse = processor.parse_message
    seen: list[Mapping[str, Any]] = []

    async def watched(*arguments: Any, **options: Any) -> Any:
        parsed = await parse(*arguments, **options)
        seen.append(parsed.get("understanding") or {})
        return parsed

    processor.parse_message = watched
    try:
        yield seen
    finally:
        del processor.parse_message


def channel_of(item: Item, kind: str, number: int, wanted: str) -> str:
    """By which channel a message comes.

    Args:
        item: the message.
        kind: of its file.
        number: its place in the file, from 0.
        wanted: a channel for all, or `round`: messages go round the channels row by row, dialogues keep theirs, the
            others come by SMS, whose rules are the hardest.
    """
    if wanted != ROUND:
        return wanted
    if item.channel:
        return item.channel
    return CHANNELS[number % len(CHANNELS)] if kind == "messages" else "sms"


def measure(desk: Desk, labelled: Labelled, channel: str, tell: Callable[[str], None]) -> list[Measured]:
    """Say every message, in order, and judge what comes back.

    Args:
        desk: as `outreach ask` has it: a store in memory, no limits, no counting.
        labelled: the messages.
        channel: one channel, or `round`.
        tell: is told how far it is.
    """
    loop = asyncio.new_event_loop()
    found = []
    try:
        with understandings(desk.assistant) as seen:
            for number, item in enumerate(labelled.items):
                seen.clear()
                sender = f"{labelled.name}/{item.conversation or item.id}"
                message = Message(channel_of(item, labelled.kind, number, channel), sender, item.text)
                started = time.perf_counter()
                replies = loop.run_until_complete(desk.answer(message)).replies
                ms = (time.perf_counter() - started) * 1000
                made = judge(labelled.name, labelled.kind, item, replies, _belief(seen), ms)
                found.append(Measured(item, made, replies))
                if (number + 1) % EVERY == 0 or number + 1 == len(labelled.items):
                    tell(f"{labelled.name}: {number + 1} of {len(labelled.items)} messages")
    finally:
        loop.close()
    return found


def _belief(seen: Sequence[Mapping[str, Any]]) -> float | None:
    """The belief in the likeliest topic; None where exact words decided or nothing was parsed."""
    if not seen or seen[-1].get("exact") or seen[-1].get("confidence") is None:
        return None
    return float(seen[-1]["confidence"])
