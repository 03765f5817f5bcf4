"""The record of a conversation: small, typed, expiring. No event, no text, no address is ever in it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Any, Protocol

from bot.settings import SENSITIVE_TOPICS, Settings

CONTEXT = ("last_topics", "open_question", "choices", "more", "shown", "place")
"""What the short clock forgets; language and the rest stay for the long one."""
ROUNDING = dt.timedelta(minutes=10)


@dataclass
class Record:
    """All that is kept of a conversation."""

    language: str | None = None
    introduced: bool = False
    last_topics: list[str] = field(default_factory=list)
    open_question: str | None = None
    choices: list[str] = field(default_factory=list)
    more: dict[str, Any] | None = None
    shown: str | None = None
    place: str | None = None
    """A place id or ZIP code of the county."""
    used: dt.datetime | None = None
    """Last use, rounded down to ten minutes."""


def rounded(moment: dt.datetime) -> dt.datetime:
    """Down to ten minutes."""
    return moment - dt.timedelta(minutes=moment.minute % 10, seconds=moment.second, microseconds=moment.microsecond)


def fresh(record: Record, now: dt.datetime, settings: Settings) -> Record | None:
    """The record as it may still be used at `now`: None after the long clock, without context after the short one.

    Idle time is counted from the rounded last use, so that a clock shows at most ten minutes less than it promises.
    A clock that was set back counts as no time at all.
    """
    if record.used is None:
        return record
    idle = max(now - record.used, dt.timedelta(0))
    if idle >= dt.timedelta(hours=settings.retention_hours):
        return None
    sensitive = SENSITIVE_TOPICS & set(record.last_topics)
    minutes = settings.sensitive_minutes if sensitive else settings.context_minutes
    if idle >= dt.timedelta(minutes=minutes) + ROUNDING:
        return Record(language=record.language, introduced=record.introduced, used=record.used)
    return record


class Records(Protocol):
    """Where records are kept."""

    def get(self, key: str) -> Record | None:
        """The record under a pseudonym, None when there is none (any more)."""

    def put(self, key: str, record: Record) -> None:
        """Keep a record."""

    def forget(self, key: str) -> None:
        """Remove whatever stands under a pseudonym."""


class MemoryRecords:
    """Records in this process's memory only: gone when it stops."""

    def __init__(self, settings: Settings, most: int = 50_000):
        """
        Args:
            settings: the clocks.
            most: beyond so many conversations the longest unused is dropped.
        """
        self.settings = settings
        self.most = most
        self._records: dict[str, Record] = {}

    def get(self, key: str) -> Record | None:
        """The record, as fresh as the clocks allow."""
        from actions import clock

        record = self._records.get(key)
        if record is None:
            return None
        usable = fresh(record, clock.now(), self.settings)
        if usable is None:
            self.forget(key)
        return usable

    def put(self, key: str, record: Record) -> None:
        """Keep a record, stamped with the rounded present."""
        from actions import clock

        record.used = rounded(clock.now())
        self._records.pop(key, None)
        self._records[key] = record
        while len(self._records) > self.most:
            self._records.pop(next(iter(self._records)))

    def forget(self, key: str) -> None:
        """Remove a record."""
        self._records.pop(key, None)

    def sweep(self) -> int:
        """Remove what has expired; how many."""
        from actions import clock

        gone = [key for key, record in self._records.items() if fresh(record, clock.now(), self.settings) is None]
        for key in gone:
            self.forget(key)
        return len(gone)

    def __len__(self) -> int:
        return len(self._records)
