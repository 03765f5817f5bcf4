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
LINE_SECONDS = 0.005
"""Between two of a line: 200 a second at most. Read at once, a hundred of a flood held everybody else up for .2 s (benchmarks/flood.py)."""
MOST_IN_LINE = 2000
"""Ten seconds of waiting; Twilio gives up after 15 (https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides)."""


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

    @property
    def waiting(self) -> int:
        """So many wait for a place."""
        return len(self._waiting)

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


class Line:
    """Where those wait who send too much: one after the other, with a pause between, in which everybody else is answered."""

    def __init__(self) -> None:
        self._room = Room(1)

    async def stand(self) -> None:
        """Wait for one's turn; where very many wait already there is none to wait for."""
        if self._room.waiting < MOST_IN_LINE:
            async with self._room.place():
                await asyncio.sleep(LINE_SECONDS)
