"""One message of a conversation at a time, others meanwhile: a bounded queue per pseudonym in front of Rasa.

Rasa's own lock would do it with a poll a second, and hangs when its tickets expire; in front of it, it is never contended.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

MOST_WAITING = 5


class Busy(RuntimeError):
    """So many messages of one conversation wait already that this one is told to slow down."""


class Queues:
    """Order within a conversation."""

    def __init__(self, most: int = MOST_WAITING):
        self.most = most
        self._locks: dict[str, asyncio.Lock] = {}
        self._waiting: dict[str, int] = {}

    @asynccontextmanager
    async def turn(self, key: str) -> AsyncIterator[None]:
        """Wait for this conversation's turn.

        Raises:
            Busy: when more than `most` wait.
        """
        waiting = self._waiting.get(key, 0)
        if waiting > self.most:
            raise Busy
        lock = self._locks.setdefault(key, asyncio.Lock())
        self._waiting[key] = waiting + 1
        try:
            async with lock:
                yield
        finally:
            self._waiting[key] -= 1
            if not self._waiting[key]:
                del self._waiting[key]
                self._locks.pop(key, None)
