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
URGENT_EVERY = 60.0
"""Beyond the limit danger is still answered, at most once in so many seconds."""


class Limiter:
    """Counts per name; the longest unused name is dropped beyond MOST_SENDERS."""

    def __init__(self, limits: tuple[Limit, ...], now: Callable[[], float] = time.monotonic):
        self.limits = limits
        self._now = now
        self._seen: OrderedDict[str, deque[float]] = OrderedDict()
        self._told: dict[str, float] = {}
        self._urgent: dict[str, float] = {}

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
        while len(self._seen) > MOST_SENDERS:
            old, _ = self._seen.popitem(last=False)
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
        for kept in (self._seen, self._told, self._urgent):
            kept.pop(name, None)  # type: ignore[attr-defined]
