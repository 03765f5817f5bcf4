"""The record of a conversation: small, typed, expiring. No event, no text, no address is ever in it."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from actions import clock
from bot.settings import SENSITIVE_TOPICS, Settings

CONTEXT = ("last_topics", "open_question", "choices", "more", "shown", "place")
"""What the short clock forgets; language and the rest stay for the long one."""
ROUNDING = dt.timedelta(minutes=10)
LEAP = dt.timedelta(seconds=1)
"""Less is what lies between two looks at two clocks; it must not add up."""


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
    moment: dt.datetime | None = None
    """The same by the clock that is never set back (`Moments`), where the two differ: by full tens of minutes, so that both together tell no
    minute either."""


def rounded(moment: dt.datetime) -> dt.datetime:
    """Down to ten minutes."""
    return moment - dt.timedelta(minutes=moment.minute % 10, seconds=moment.second, microseconds=moment.microsecond)


class Moments:
    """A clock that is never set back and never slower than the true time, while this process lives."""

    def __init__(self) -> None:
        self._moment = self._shown = clock.now()
        self._since = time.monotonic()

    def now(self) -> dt.datetime:
        """The machine's clock where it goes on; else what has passed, and what it has leapt forward, is added to what it had shown."""
        shown, since = clock.now(), time.monotonic()
        passed, leapt = dt.timedelta(seconds=since - self._since), shown - self._shown
        self._moment = max(shown, self._moment + (leapt if leapt - passed > LEAP else passed))
        self._shown, self._since = shown, since
        return self._moment

    def saw(self, newest: dt.datetime) -> None:
        """A moment that was seen by another process."""
        if newest > self.now():
            self._moment = newest

    def begin(self, newest: dt.datetime) -> None:
        """Go on where a former process has ended: behind the ten minutes that it noted, if the clock stands before them."""
        if clock.now() < newest:
            self.saw(newest + ROUNDING)

    def stamp(self) -> tuple[dt.datetime, dt.datetime | None]:
        """`used` and `moment` of a record that is kept now."""
        used = rounded(clock.now())
        ahead = (self.now() - clock.now()) // ROUNDING * ROUNDING
        return used, used + ahead if ahead else None


def fresh(
    record: Record,
    now: dt.datetime,
    settings: Settings,
    exact: dt.datetime | None = None,
    moment: dt.datetime | None = None,
) -> Record | None:
    """The record as it may still be used at `now`: None after the long clock, without context after the short one.

    Args:
        record: as kept, its last use rounded down to ten minutes.
        now: the present.
        settings: the clocks.
        exact: the last use to the second, where this process still knows it. Without it (after a restart, or in
            another process) idle time is counted from the rounded use, so that a clock ends up to ten minutes early
            and never late.
        moment: the present by the clock that is never set back.

    A record from the future, which a clock set back makes of any record, is not used any more: it must not live longer.
    """
    used = exact or record.used
    if used is None:
        return record
    idle = now - used
    if idle < -ROUNDING:
        return None
    if moment and not exact:
        idle = max(idle, moment - (record.moment or used))
    if idle >= dt.timedelta(hours=settings.retention_hours):
        return None
    sensitive = SENSITIVE_TOPICS & set(record.last_topics)
    minutes = settings.sensitive_minutes if sensitive else settings.context_minutes
    if idle >= dt.timedelta(minutes=minutes):
        return Record(language=record.language, introduced=record.introduced, used=record.used, moment=record.moment)
    return record


def has_context(record: Record) -> bool:
    """Whether the short clock has anything to forget."""
    return any(getattr(record, name) for name in CONTEXT)


def to_json(record: Record) -> dict[str, Any]:
    """Plain values, without what is empty."""
    made = {name: value for name, value in asdict(record).items() if value}
    for name in ("used", "moment"):
        if name in made:
            made[name] = made[name].isoformat()
    return made


def from_json(stored: dict[str, Any]) -> Record:
    """What `to_json` made.

    Raises:
        TypeError, ValueError: when it is not that.
    """
    moments = {name: dt.datetime.fromisoformat(stored[name]) for name in ("used", "moment") if stored.get(name)}
    return Record(**{**stored, **moments})
