"""The keys of the day in a Redis that keeps nothing on a disk: several machines then know a conversation by the same name.

outreach:k:<day>   the key of a day, in hex; expires when the day after it is over
"""

from __future__ import annotations

import datetime as dt
import secrets
import time

from actions import clock
from bot.privacy.keys import KEPT_DAYS, KEY_BYTES, MemoryKeys
from bot.privacy.redis_connection import RedisConnection
from bot.privacy.store import StoreError

PREFIX = "outreach:k:"
TIMEOUT_SECONDS, REST_SECONDS = 0.25, 10.0
"""Names are made where all messages pass, so that waiting for Redis there holds up everybody."""
FRESH_SECONDS = 30.0
"""Until a key is looked up again: `outreach purge` has removed it, or Redis has lost it and another server has made a new one."""


class RedisKeys:
    """Asked every half minute; while Redis does not answer, the last known keys or new ones of this process's own take their place."""

    def __init__(self, url: str):
        """Connect. A key that such a Redis drops is made anew: conversations begin again, no opt-out hangs on it.

        Raises:
            StoreError: when Redis does not answer, or keeps what it holds on a disk.
        """
        self._connection = RedisConnection(url, "OUTREACH_KEYS", TIMEOUT_SECONDS, REST_SECONDS, may_evict=True)
        self._keys = MemoryKeys()
        self._looked: dict[dt.date, float] = {}

    @staticmethod
    def _name(day: dt.date) -> str:
        return f"{PREFIX}{day.isoformat()}"

    def _look(self, day: dt.date, make: bool) -> None:
        """Follow Redis, unless that was done just now."""
        now = time.monotonic()
        if now - self._looked.get(day, -FRESH_SECONDS) < FRESH_SECONDS and (not make or self._keys.known(day)):
            return
        redis = self._connection.redis
        ends = dt.datetime.combine(day + dt.timedelta(days=KEPT_DAYS + 1), dt.time(), clock.now().tzinfo)
        seconds = max(1, int((ends - clock.now()).total_seconds()))
        made = secrets.token_bytes(KEY_BYTES).hex()
        try:
            if make:
                self._connection.ask(lambda: redis.set(self._name(day), made, nx=True, ex=seconds))
            stored = self._connection.ask(lambda: redis.get(self._name(day)))
            self._keys.drop(day)
            if stored:
                self._keys.keep(day, bytes.fromhex(stored))
            self._looked[day] = now
        except (StoreError, ValueError):
            pass  # what is known stays

    def key(self, day: dt.date) -> bytes:
        """The key of a day; made on its first use by any server."""
        self._look(day, make=True)
        return self._keys.key(day)

    def known(self, day: dt.date) -> bytes | None:
        """The key of a day, None when it never existed or is gone."""
        if self._keys.may_be(day):
            self._look(day, make=False)
        return self._keys.known(day)

    def sweep(self) -> None:
        """Let go of keys whose days are over; Redis does so by itself."""
        self._keys.sweep()
        self._looked = {day: moment for day, moment in self._looked.items() if self._keys.may_be(day)}

    def forget(self) -> bool:
        """Remove the keys from Redis; running servers follow within half a minute. Whether there were any.

        Raises:
            StoreError: when Redis does not answer.
        """
        redis = self._connection.redis
        names = self._connection.ask(lambda: list(redis.scan_iter(f"{PREFIX}*")))
        return bool(names and self._connection.ask(lambda: redis.delete(*names)))

    def close(self) -> None:
        """Give the connection back."""
        self._connection.redis.close()
