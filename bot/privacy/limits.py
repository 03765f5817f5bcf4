"""How much one sender or one network may ask: counted in memory, by pseudonym, for minutes."""

from __future__ import annotations

import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

MOST_SENDERS = 20_000


@dataclass(frozen=True)
class Limit:
    """At most `most` messages in any `seconds`."""

    most: int
    seconds: float


SENDER = (Limit(15, 60.0), Limit(120, 3600.0))
"""A person who types fast on a phone sends about ten messages a minute; an hour of that is two long conversations."""
NETWORK = (Limit(120, 60.0), Limit(1500, 3600.0))
"""The website only: a library or shelter with one address must get through, a script must not."""
FLOOD = 2
"""Beyond so many times the first limit a message is read for danger, STOP and START, and nothing is looked up for it any more."""
URGENT_EVERY = 60.0
"""Beyond the limit danger is still answered, at most once in so many seconds."""


class Limiter:
    """Counts per name. A name is dropped when no limit needs it any more, and beyond MOST_SENDERS the longest unused."""

    def __init__(self, limits: tuple[Limit, ...], now: Callable[[], float] = time.monotonic):
        self.limits = limits
        self._now = now
        self._seen: OrderedDict[str, deque[float]] = OrderedDict()
        self._told: dict[str, float] = {}
        self._urgent: dict[str, float] = {}
        self._arrived: OrderedDict[str, deque[float]] = OrderedDict()

    def floods(self, name: str) -> bool:
        """Count one arrival; whether there are so many that nothing is looked up for this one. Such a one is not counted."""
        if not self.limits:
            return False
        now, first = self._now(), self.limits[0]
        arrived = self._arrived.setdefault(name, deque(maxlen=FLOOD * first.most))
        self._arrived.move_to_end(name)
        if len(arrived) == arrived.maxlen and now - arrived[0] < first.seconds:
            return True
        arrived.append(now)
        _drop_old(self._arrived, now - first.seconds)
        return False

    def passes(self, name: str) -> bool:
        """Count one message; whether it is within the limits. What is refused is not counted."""
        now = self._now()
        seen = self._seen.setdefault(name, deque())
        self._seen.move_to_end(name)
        longest = max((limit.seconds for limit in self.limits), default=0.0)
        while seen and now - seen[0] > longest:
            seen.popleft()
        for limit in self.limits:
            if sum(now - moment <= limit.seconds for moment in seen) >= limit.most:
                return False
        seen.append(now)
        self._told.pop(name, None)
        for old in _drop_old(self._seen, now - longest):
            self._told.pop(old, None)
            self._urgent.pop(old, None)
        return True

    def wait(self, name: str) -> int:
        """Whole seconds until the next message of a name is within the limits."""
        now = self._now()
        seen = self._seen.get(name, deque())
        free = [
            seen[-limit.most] + limit.seconds - now
            for limit in self.limits
            if sum(now - moment <= limit.seconds for moment in seen) >= limit.most
        ]
        return max(1, math.ceil(max(free, default=0.0)))

    def first_refusal(self, name: str) -> bool:
        """True once after the limit was reached: a polite word, then silence."""
        if name in self._told:
            return False
        self._told[name] = self._now()
        return True

    def urgent_now(self, name: str) -> bool:
        """Whether danger beyond the limit is answered now."""
        now = self._now()
        if now - self._urgent.get(name, -URGENT_EVERY) < URGENT_EVERY:
            return False
        self._urgent[name] = now
        return True

    def forget(self, name: str) -> None:
        """Drop a name."""
        for kept in (self._seen, self._told, self._urgent, self._arrived):
            kept.pop(name, None)  # type: ignore[attr-defined]


def _drop_old(times: OrderedDict[str, deque[float]], least: float) -> list[str]:
    """Take out the names that were last counted before `least`, and what is too many; the names."""
    dropped = []
    while times:
        name, counted = next(iter(times.items()))
        if len(times) <= MOST_SENDERS and counted and counted[-1] >= least:
            break
        del times[name]
        dropped.append(name)
    return dropped
