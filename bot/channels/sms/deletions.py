"""Messages that are to be deleted at Twilio some minutes after they have done their work (TWILIO_DELETE_AFTER).

The list is in memory only: it would tell who wrote when. What waits when the server is killed stays at Twilio, which is
why docs/operators.md recommends Twilio's own redaction beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from bot.assistant import incident
from bot.channels.sms.client import (
    THREADS,
    Rejected,
    RequestFailed,
    Throttled,
    TooEarly,
    TwilioClient,
    Unreachable,
)
from bot.privacy.logs import event

logger = logging.getLogger(__name__)
AGAIN = (5 * 60.0, 30 * 60.0, 2 * 3600.0, 12 * 3600.0, 24 * 3600.0)
"""Seconds before each further try: some messages can be deleted only much later
(https://www.twilio.com/docs/api/errors/20009 speaks of up to 14 days)."""
WITHOUT_RECEIPT = 3600.0
"""Seconds more for a message of which the last word is "sent": many carriers give no receipt."""
LOOK_EVERY = 15.0
MOST_PENDING = 50_000
FAREWELL_SECONDS = 10.0
"""What a stopping server spends on what still waits: about a hundred messages at .2 s each, two at a time."""


@dataclass
class _Pending:
    due: float
    tries: int = 0


class Deletions:
    """The list and the task that works it off."""

    def __init__(
        self,
        client: TwilioClient,
        minutes: int,
        look_every: float = LOOK_EVERY,
        now: Callable[[], float] = time.monotonic,
    ):
        """
        Args:
            client: deletes.
            minutes: after which a message that has done its work goes.
            look_every: seconds between two looks at the list.
            now: seconds, counting up.
        """
        self.client = client
        self.seconds = minutes * 60.0
        self.look_every = look_every
        self._now = now
        self._pending: dict[str, _Pending] = {}
        self._task: asyncio.Task[None] | None = None
        self._given_up = 0

    @property
    def waiting(self) -> int:
        """How many messages wait."""
        return len(self._pending)

    def add(self, sid: str, more: float = 0.0) -> None:
        """Delete a message when its time has come; of two times the earlier.

        Args:
            sid: Twilio's id.
            more: seconds on top of TWILIO_DELETE_AFTER.
        """
        due = self._now() + self.seconds + more
        there = self._pending.get(sid)
        if there:
            there.due = min(there.due, due)
            return
        if len(self._pending) >= MOST_PENDING:
            self._pending.pop(next(iter(self._pending)))
            event(logger, logging.WARNING, "too many messages wait to be deleted at Twilio; the oldest stays there")
        self._pending[sid] = _Pending(due)

    async def work(self) -> None:
        """Delete what is due."""
        now = self._now()
        for sid in [sid for sid, pending in self._pending.items() if pending.due <= now]:
            await self._delete(sid)

    async def _delete(self, sid: str) -> None:
        pending = self._pending.get(sid)
        if pending is None:
            return
        # In the list until it is done: what is broken off has to be counted.
        pending.due = float("inf")
        try:
            await self.client.delete(sid)
        except (TooEarly, Throttled, Unreachable) as error:
            if pending.tries < len(AGAIN):
                wait = max(AGAIN[pending.tries], error.seconds if isinstance(error, Throttled) else 0.0)
                self._pending[sid] = _Pending(self._now() + wait, pending.tries + 1)
                return
            incident(error, "while deleting a message at Twilio, for the last time; it stays there")
            self._given_up += 1
        except (Rejected, RequestFailed) as error:
            incident(error, "while deleting a message at Twilio; it stays there (is TWILIO_AUTH_TOKEN right?)")
            self._given_up += 1
        self._pending.pop(sid, None)

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.get_running_loop().create_task(self._look())

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(self.look_every)
            try:
                await self.work()
            except Exception as error:
                incident(error, "while looking for messages to delete")

    async def stop(self) -> None:
        """Stop looking; what waits is deleted now as far as a few seconds reach. Nothing may be added after it."""
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._given_up = 0
        # What is asked for in vain is not asked for again: others wait.
        left = iter(list(self._pending))

        async def work_off() -> None:
            for sid in left:
                await self._delete(sid)

        workers = [asyncio.ensure_future(work_off()) for _ in range(THREADS)]
        _, late = await asyncio.wait(workers, timeout=FAREWELL_SECONDS)
        for worker in late:
            worker.cancel()
        if late:
            await asyncio.wait(late)
        for worker in set(workers) - late:
            if worker.exception():
                incident(worker.exception() or RuntimeError(), "while deleting the last messages at Twilio")
        staying = len(self._pending) + self._given_up
        if staying:
            event(
                logger,
                logging.WARNING,
                "{number} messages that were to be deleted stay at Twilio",
                number=staying,
            )
        self.client.close()
