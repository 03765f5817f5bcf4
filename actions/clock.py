"""The time, as a parameter: `outreach ask --at`, checks and tests set it, everything else reads it here."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterator
from zoneinfo import ZoneInfo

MIAMI = ZoneInfo("America/New_York")
_fixed: dt.datetime | None = None


def now() -> dt.datetime:
    """The present moment, with time zone (UTC)."""
    return _fixed or dt.datetime.now(dt.timezone.utc)


def today() -> dt.date:
    """The day in Miami."""
    return now().astimezone(MIAMI).date()


def fix(moment: dt.datetime | None) -> None:
    """Stand still at `moment`; None lets time run again.

    Raises:
        ValueError: when the moment has no time zone.
    """
    global _fixed
    if moment is not None and moment.tzinfo is None:
        raise ValueError("a fixed moment needs a time zone, for example 2026-11-22T12:00Z")
    _fixed = moment


@contextlib.contextmanager
def fixed(moment: dt.datetime) -> Iterator[None]:
    """Stand still inside a with-block."""
    before = _fixed
    fix(moment)
    try:
        yield
    finally:
        fix(before)
