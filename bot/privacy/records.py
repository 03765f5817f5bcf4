"""The record of a conversation: small, typed, expiring. No event, no text, no address is ever in it."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict, dataclass, field
from typing import Any

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


def fresh(record: Record, now: dt.datetime, settings: Settings, exact: dt.datetime | None = None) -> Record | None:
    """The record as it may still be used at `now`: None after the long clock, without context after the short one.

    Args:
        record: as kept, its last use rounded down to ten minutes.
        now: the present.
        settings: the clocks.
        exact: the last use to the second, where this process still knows it. Without it (after a restart, or in
            another process) idle time is counted from the rounded use, so that a clock ends up to ten minutes early
            and never late.

    A record from the future, which a clock set back makes of any record, is not used any more: it must not live longer.
    """
    used = exact or record.used
    if used is None:
        return record
    idle = now - used
    if idle < -ROUNDING:
        return None
    if idle >= dt.timedelta(hours=settings.retention_hours):
        return None
    sensitive = SENSITIVE_TOPICS & set(record.last_topics)
    minutes = settings.sensitive_minutes if sensitive else settings.context_minutes
    if idle >= dt.timedelta(minutes=minutes):
        return Record(language=record.language, introduced=record.introduced, used=record.used)
    return record


def has_context(record: Record) -> bool:
    """Whether the short clock has anything to forget."""
    return any(getattr(record, name) for name in CONTEXT)


def to_json(record: Record) -> dict[str, Any]:
    """Plain values, without what is empty."""
    made = {name: value for name, value in asdict(record).items() if value}
    if record.used:
        made["used"] = record.used.isoformat()
    return made


def from_json(stored: dict[str, Any]) -> Record:
    """What `to_json` made.

    Raises:
        TypeError, ValueError: when it is not that.
    """
    used = stored.get("used")
    return Record(**{**stored, "used": dt.datetime.fromisoformat(used) if used else None})
