"""One message of a conversation at a time, others meanwhile: a bounded queue per pseudonym in front of Rasa. And a room for a few turns.

Rasa's own lock would do it with a poll a second, and hangs when its tickets expire; in front of it, it is never contended.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

MOST_WAITING = 5
AT_ONCE = 8
"""So many turns are worked on at a time. The engine has one thread: of 2,000 that are all begun together each is ready only when all are."""


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


class Room:
    """A few at a time, the others in the order in which they came (asyncio's Semaphore lets newcomers go first)."""

    def __init__(self, places: int = AT_ONCE):
        self._free = places
        self._waiting: deque[asyncio.Future[None]] = deque()

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait for a place, and have it."""
        if self._free:
            self._free -= 1
        else:
            coming = asyncio.get_running_loop().create_future()
            self._waiting.append(coming)
            try:
                await coming
            except asyncio.CancelledError:
                if not coming.cancelled():
                    self._leave()  # it was given in the same moment
                raise
        try:
            yield
        finally:
            self._leave()

    def _leave(self) -> None:
        """Hand the place to who waits longest."""
        while self._waiting:
            coming = self._waiting.popleft()
            if not coming.done():
                coming.set_result(None)
                return
        self._free += 1
