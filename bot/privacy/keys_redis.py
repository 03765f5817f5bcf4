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

TIMEOUT_SECONDS, REST_SECONDS = 0.25, 10.0
"""Names are made where all messages pass, so that waiting for Redis there holds up everybody."""
ABSENT_SECONDS = 60.0
"""Until yesterday's key, which was not there, is asked for again."""


class RedisKeys:
    """Asked once a day; while Redis does not answer, keys of this process's own take their place, and conversations begin anew."""

    def __init__(self, url: str):
        """Connect.

        Raises:
            StoreError: when Redis does not answer, or keeps what it holds on a disk.
        """
        self._connection = RedisConnection(url, "OUTREACH_KEYS", TIMEOUT_SECONDS, REST_SECONDS)
        self._shared = MemoryKeys()
        self._own = MemoryKeys()
        self._absent_until = 0.0

    @staticmethod
    def _name(day: dt.date) -> str:
        return f"outreach:k:{day.isoformat()}"

    def key(self, day: dt.date) -> bytes:
        """The key of a day; made on its first use by any server."""
        shared = self._shared.known(day)
        if shared:
            return shared
        redis = self._connection.redis
        ends = dt.datetime.combine(day + dt.timedelta(days=KEPT_DAYS + 1), dt.time(), clock.now().tzinfo)
        seconds = max(1, int((ends - clock.now()).total_seconds()))
        made = secrets.token_bytes(KEY_BYTES).hex()
        try:
            self._connection.ask(lambda: redis.set(self._name(day), made, nx=True, ex=seconds))
            stored = self._connection.ask(lambda: redis.get(self._name(day)))
            self._shared.keep(day, bytes.fromhex(stored))
        except (StoreError, ValueError, TypeError):
            return self._own.key(day)
        return self._shared.key(day)

    def known(self, day: dt.date) -> bytes | None:
        """The key of a day, None when it never existed, is gone, or Redis does not answer."""
        shared = self._shared.known(day)
        if shared or time.monotonic() < self._absent_until:
            return shared or self._own.known(day)
        try:
            stored = self._connection.ask(lambda: self._connection.redis.get(self._name(day)))
            self._absent_until = 0.0 if stored else time.monotonic() + ABSENT_SECONDS
            if stored:
                self._shared.keep(day, bytes.fromhex(stored))
        except (StoreError, ValueError):
            self._absent_until = time.monotonic() + REST_SECONDS
        return self._shared.known(day) or self._own.known(day)

    def close(self) -> None:
        """Give the connection back."""
        self._connection.redis.close()
