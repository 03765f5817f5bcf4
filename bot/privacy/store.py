"""What is kept between two messages, and the one transaction that keeps it.

    conversations   pseudonym -> record (bot/privacy/records.py), two clocks
    replies         pseudonym of a provider's message -> plans (ids and values, no text), so that a repeat says the same
    opt-outs        lasting pseudonym, nothing else
    counts          month x language x channel x topic, day x channel, month x channel x delivery

Three stores with one contract: memory (here), a file (store_file.py), Redis (store_redis.py). A store raises StoreError and
nothing else; what a resident then sees is decided in bot/desk.py.
"""

from __future__ import annotations

import datetime as dt
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from actions import clock
from bot.privacy.pseudonyms import tag_of
from bot.privacy.records import ROUNDING, Moments, Record, fresh, has_context, rounded
from bot.settings import Settings

REPEAT_HOURS = 24
"""So long a provider may send the same message again: Telegram redelivers for a day
(https://core.telegram.org/bots/api#getting-updates)."""

Plan = dict[str, Any]


class StoreError(RuntimeError):
    """The store cannot be read or written. Its text names what an operator can do and holds nothing of a resident."""


@dataclass(frozen=True)
class Counted:
    """One turn, as the organisation may count it."""

    channel: str
    language: str
    topics: tuple[str, ...]


@dataclass
class Counts:
    """The tables of numbers."""

    topics: dict[tuple[str, str, str, str], int] = field(default_factory=dict)
    """(month, language, channel, topic) -> messages."""
    days: dict[tuple[str, str], int] = field(default_factory=dict)
    """(day, channel) -> messages."""
    deliveries: dict[tuple[str, str, str, str], int] = field(default_factory=dict)
    """(month, channel, status, the carrier's error code or "") -> messages that we sent."""


class Store(Protocol):
    """Where things are kept. Every method may raise StoreError."""

    def get(self, key: str) -> Record | None:
        """The record of a conversation, as fresh as the clocks allow."""

    def handled(self, messages: Sequence[str]) -> list[Plan] | None:
        """The plans that answered a message, known under any of these names; None for a new message."""

    def commit(
        self,
        key: str,
        record: Record | None,
        messages: Sequence[str] = (),
        plans: Sequence[Plan] = (),
        counted: Counted | None = None,
        before: str | None = None,
        lease: int | None = None,
    ) -> None:
        """Keep a turn, all of it or nothing.

        Args:
            key: the conversation.
            record: what to keep of it; None forgets it with everything that hangs on it.
            messages: names of the message that was answered, today's first.
            plans: what answered it.
            counted: for the organisation's numbers.
            before: the conversation's name under yesterday's key, which is left empty.
            lease: of this turn; a turn whose lease has gone to another server is not kept.
        """

    def lease(self, key: str) -> int | None:
        """Take a conversation for one turn: a number that grows with every lease, None while another server has it."""

    def release(self, key: str, lease: int) -> None:
        """Give a conversation back."""

    def mark(self, message: str, conversations: Sequence[str]) -> None:
        """Keep that all replies to a message have gone out: `handled` knows it then. It goes with its conversation.

        Args:
            message: a name of its own.
            conversations: today's and yesterday's name. Where none of them is kept, the mark hangs on nothing, and names nobody.
        """

    def forget(self, key: str) -> None:
        """Remove a conversation and the replies to its messages."""

    def opted_out(self, name: str, before: Sequence[str] = ()) -> bool:
        """Whether messages to this sender have been stopped. An opt-out that stands under a former name moves to today's.

        Args:
            name: today's.
            before: names under former secrets.
        """

    def set_opted_out(self, name: str, out: bool, before: Sequence[str] = ()) -> None:
        """Stop or start messages to a sender, for good; under former names nothing is left."""

    def opt_outs(self) -> dict[str, int]:
        """Tag of a secret (bot/privacy/pseudonyms.py) -> how many opt-outs lie under it."""

    def count_delivery(self, channel: str, status: str, code: str) -> None:
        """Count what became of a message that we sent: nothing of whom it went to.

        Args:
            channel: sms or whatsapp.
            status: the provider's word: delivered, undelivered, failed.
            code: the provider's error code; "" where there is none.
        """

    def counts(self) -> Counts:
        """All numbers."""

    def sweep(self) -> int:
        """Remove what has expired, contexts too; how many conversations are gone."""

    def purge(self) -> int:
        """Remove every conversation and every reply now; how many conversations. Opt-outs and counts stay."""

    def close(self) -> None:
        """Let go of files and connections."""


class Clocks:
    """The two clocks over records, with the exact last use for as long as this process lives."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self.moments = Moments()
        self._exact: dict[str, tuple[dt.datetime, float]] = {}

    def usable(self, key: str, record: Record) -> Record | None:
        """The record as it may be used now."""
        now, (used, since) = clock.now(), self._exact.get(key, (None, 0.0))
        if used and used - now <= ROUNDING:
            # What has passed in truth counts too: a clock that was set back by less than that shows nothing of it.
            used = min(used, now - dt.timedelta(seconds=time.monotonic() - since))
        return fresh(record, now, self.settings, used, self.moments.now())

    def stamped(self, key: str, record: Record) -> Record:
        """The record with its last use, rounded; the exact one is only remembered here."""
        now = clock.now()
        self._exact.pop(key, None)
        self._exact[key] = now, time.monotonic()
        used, moment = self.moments.stamp()
        return replace(record, used=used, moment=moment)

    def drop(self, key: str) -> None:
        """Forget a conversation's last use."""
        self._exact.pop(key, None)

    def sweep(self) -> None:
        """Forget last uses that no clock needs any more."""
        least = clock.now() - dt.timedelta(hours=self.settings.retention_hours)
        for key in [
            key
            for key, (used, _) in self._exact.items()
            if used < least or used > clock.now() + dt.timedelta(minutes=10)
        ]:
            del self._exact[key]


class MemoryStore:
    """Everything in this process's memory: gone when it stops."""

    def __init__(self, settings: Settings, most: int = 50_000):
        """
        Args:
            settings: the clocks.
            most: beyond so many conversations the longest unused is dropped.
        """
        self.most = most
        self._clocks = Clocks(settings)
        self._records: dict[str, Record] = {}
        self._replies: dict[str, tuple[dt.datetime, str, list[Plan]]] = {}
        self._opted_out: set[str] = set()
        self._topics: Counter[tuple[str, str, str, str]] = Counter()
        self._days: Counter[tuple[str, str]] = Counter()
        self._deliveries: Counter[tuple[str, str, str, str]] = Counter()

    def get(self, key: str) -> Record | None:
        """The record, as fresh as the clocks allow; a copy, so that what is not committed is not kept."""
        record = self._records.get(key)
        if record is None:
            return None
        usable = self._clocks.usable(key, record)
        if usable is None:
            self.forget(key)
        return replace(usable) if usable else None

    def handled(self, messages: Sequence[str]) -> list[Plan] | None:
        """The plans that answered a message."""
        oldest, latest = repeatable(self._clocks.settings)
        for name in messages:
            if name in self._replies and oldest <= self._replies[name][0] <= latest:
                return self._replies[name][2]
        return None

    def commit(
        self,
        key: str,
        record: Record | None,
        messages: Sequence[str] = (),
        plans: Sequence[Plan] = (),
        counted: Counted | None = None,
        before: str | None = None,
        lease: int | None = None,
    ) -> None:
        """Keep a turn."""
        if before:
            for name, (at, owner, kept) in list(self._replies.items()):
                if owner == before:
                    self._replies[name] = (at, key, kept)
            self.forget(before)
        if record is None:
            self.forget(key)
        else:
            self._records.pop(key, None)
            self._records[key] = self._clocks.stamped(key, record)
        if messages:
            # What says that a conversation was deleted hangs on no conversation.
            self._replies[messages[0]] = (clock.now(), key if record else "", list(plans))
        if counted:
            for cell in topic_cells(counted):
                self._topics[cell] += 1
            self._days[day_cell(counted)] += 1
        while len(self._records) > self.most:
            self.forget(next(iter(self._records)))
        while len(self._replies) > self.most:
            self._replies.pop(next(iter(self._replies)))

    def lease(self, key: str) -> int | None:
        """One server alone: the queue in front of it is enough (bot/queues.py)."""
        return 0

    def release(self, key: str, lease: int) -> None:
        """Nothing to give back."""

    def forget(self, key: str) -> None:
        """Remove a conversation and the replies to its messages."""
        self._records.pop(key, None)
        self._clocks.drop(key)
        for name in [name for name, (_, owner, _) in self._replies.items() if owner == key]:
            del self._replies[name]

    def mark(self, message: str, conversations: Sequence[str]) -> None:
        """Keep that all replies to a message have gone out."""
        owner = next((key for key in conversations if key in self._records), "")
        self._replies[message] = (clock.now(), owner, [])

    def opted_out(self, name: str, before: Sequence[str] = ()) -> bool:
        """Whether messages to this sender have been stopped."""
        if self._opted_out.intersection(before):
            self.set_opted_out(name, True, before)
        return name in self._opted_out

    def set_opted_out(self, name: str, out: bool, before: Sequence[str] = ()) -> None:
        """Stop or start messages to a sender."""
        self._opted_out.difference_update(before)
        (self._opted_out.add if out else self._opted_out.discard)(name)

    def opt_outs(self) -> dict[str, int]:
        """Opt-outs by the tag of their secret."""
        return dict(Counter(map(tag_of, self._opted_out)))

    def count_delivery(self, channel: str, status: str, code: str) -> None:
        """Count what became of a message that we sent."""
        self._deliveries[delivery_cell(channel, status, code)] += 1

    def counts(self) -> Counts:
        """All numbers."""
        return Counts(dict(self._topics), dict(self._days), dict(self._deliveries))

    def sweep(self) -> int:
        """Remove what has expired."""
        gone = 0
        for key, record in list(self._records.items()):
            usable = self._clocks.usable(key, record)
            if usable is None:
                self.forget(key)
                gone += 1
            elif has_context(record) and not has_context(usable):
                self._records[key] = usable
        oldest, latest = repeatable(self._clocks.settings)
        for name in [name for name, (at, _, _) in self._replies.items() if not oldest <= at <= latest]:
            del self._replies[name]
        self._clocks.sweep()
        return gone

    def purge(self) -> int:
        """Remove every conversation and every reply."""
        gone = len(self._records)
        self._records.clear()
        self._replies.clear()
        return gone

    def close(self) -> None:
        """Nothing to let go of."""

    def __len__(self) -> int:
        return len(self._records)


def repeat_hours(settings: Settings) -> int:
    """How long the replies to a message are kept: REPEAT_HOURS, and no longer than residents are told that anything is."""
    return min(REPEAT_HOURS, settings.retention_hours)


def repeatable(settings: Settings) -> tuple[dt.datetime, dt.datetime]:
    """Between which moments a message must have been answered for a repeat of it to be known, and none from the future, which
    a clock set back makes of any."""
    oldest = clock.now() - dt.timedelta(hours=repeat_hours(settings))
    return rounded(oldest), rounded(clock.now() + dt.timedelta(minutes=20))


def topic_cells(counted: Counted) -> list[tuple[str, str, str, str]]:
    """(month, language, channel, topic) for each topic of a turn."""
    month = f"{clock.today():%Y-%m}"
    return [(month, counted.language, counted.channel, topic) for topic in counted.topics]


def day_cell(counted: Counted) -> tuple[str, str]:
    """(day, channel)."""
    return clock.today().isoformat(), counted.channel


def delivery_cell(channel: str, status: str, code: str) -> tuple[str, str, str, str]:
    """(month, channel, status, error code)."""
    return f"{clock.today():%Y-%m}", channel, status, code
