"""The store in Redis, for several servers. Redis itself forgets what has expired; it must not write to a disk (`save ""`, no AOF).

outreach:c:<key>   record without its context; expires after the long clock
outreach:x:<key>   the context; expires after the short clock
outreach:m:<name>  plans that answered a message, and whose they are
outreach:r:<key>   names of the messages of a conversation, so that all can be removed
outreach:l:<key>   lease: which server answers this conversation now
outreach:newest    the newest moment that any server has seen, in full tens of minutes
outreach:stop      lasting pseudonyms of opt-outs     outreach:topics, outreach:days, outreach:deliveries   numbers
"""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from actions import clock
from bot.privacy.pseudonyms import tag_of
from bot.privacy.records import CONTEXT, ROUNDING, Moments, Record, fresh, from_json, rounded, to_json
from bot.privacy.redis_connection import RedisConnection, other_data
from bot.privacy.store import Counted, Counts, Plan, StoreError, day_cell, delivery_cell, repeat_hours, topic_cells
from bot.settings import SENSITIVE_TOPICS, Settings

NAME = "outreach"
AGREE = dt.timedelta(seconds=1)
"""Clocks of servers that are kept right differ by less."""
LEASE_MS = 15_000
"""A turn takes at most 10 s (bot/assistant.py); a server that dies keeps others waiting no longer than this."""


def _seconds_until(moment: dt.datetime) -> int:
    """For an expiry, which is at least one second."""
    return max(1, int((moment - clock.now()).total_seconds()))


def _moment(stored: str | None) -> dt.datetime | None:
    """What is no moment is none."""
    try:
        found = dt.datetime.fromisoformat(stored or "")
    except ValueError:
        return None
    return found if found.tzinfo else None


class RedisStore:
    """Everything in one Redis."""

    def __init__(self, url: str, settings: Settings):
        """Connect.

        Raises:
            StoreError: when Redis does not answer, keeps what it holds on a disk, or may drop it.
        """
        self.url = url
        self.settings = settings
        connection = RedisConnection(url, "REDIS_URL")
        self._ask, self._redis = connection.ask, connection.redis
        self._moments = Moments()
        self._newest = _moment(self._ask(lambda: self._redis.get(self._key("newest"))))
        if self._newest:
            self._moments.begin(self._newest)
        # Opt-outs must outlive a restart of Redis: docs/runbook.md says how they are exported.

    @staticmethod
    def _key(kind: str, name: str = "") -> str:
        return f"{NAME}:{kind}:{name}" if name else f"{NAME}:{kind}"

    def _context_seconds(self, record: Record) -> int:
        sensitive = SENSITIVE_TOPICS & set(record.last_topics)
        return 60 * (self.settings.sensitive_minutes if sensitive else self.settings.context_minutes)

    # --- conversations ----------------------------------------------------------------------------

    def get(self, key: str) -> Record | None:
        """The record of a conversation; its context only while the short clock runs."""
        names = [self._key("c", key), self._key("x", key), self._key("newest")]
        kept, context, newest = self._ask(lambda: self._redis.mget(names))
        self._newest = _moment(newest)
        if self._newest:
            self._moments.saw(self._newest)
        if kept is None:
            return None
        try:
            record = from_json({**json.loads(kept), **(json.loads(context) if context else {})})
        except (ValueError, TypeError):
            return None
        return self._usable(record)

    def _usable(self, record: Record) -> Record | None:
        """Redis forgets by its own clock, to the second; where a clock was set back, the newest moment says what has passed all the same.

        To full tens of minutes it says it too early; so it is asked only where the clocks disagree.
        """
        now, moment = clock.now(), self._moments.now()
        early = fresh(record, now, self.settings, moment=moment)
        used = record.moment or record.used
        if early is None or used is None or moment - now >= AGREE:
            return early
        ended = moment - used - ROUNDING >= dt.timedelta(seconds=self._context_seconds(record))
        return early if ended else record

    def handled(self, messages: Sequence[str]) -> list[Plan] | None:
        """The plans that answered a message."""
        if not messages:
            return None
        found = self._ask(lambda: self._redis.mget([self._key("m", name) for name in messages]))
        kept = next((text for text in found if text), None)
        try:
            return json.loads(kept)["plans"] if kept else None
        except (ValueError, TypeError, KeyError):
            return None

    def commit(
        self,
        key: str,
        record: Record | None,
        messages: Sequence[str] = (),
        plans: Sequence[Plan] = (),
        counted: Counted | None = None,
        before: str | None = None,
        lease: int | None = None,
    ) -> None:
        """Keep a turn, all of it or nothing; nothing where another server has taken the conversation over meanwhile."""

        def all_at_once() -> None:
            with self._redis.pipeline() as pipe:
                lease_key = self._key("l", key)
                pipe.watch(lease_key)
                if lease is not None and pipe.get(lease_key) != str(lease):
                    raise StoreError("another server has taken this conversation over; the turn is not kept")
                pipe.multi()
                if before:
                    self._move(pipe, before, key)
                if record is None:
                    self._delete(pipe, key, before)
                if record is not None:
                    self._put(pipe, key, record)
                if messages:
                    self._put_message(pipe, messages[0], key if record else "", plans)
                if counted:
                    for cell in topic_cells(counted):
                        pipe.hincrby(self._key("topics"), "|".join(cell), 1)
                    pipe.hincrby(self._key("days"), "|".join(day_cell(counted)), 1)
                pipe.execute()

        self._ask(all_at_once)

    def _put(self, pipe: Any, key: str, record: Record) -> None:
        now = clock.now()
        used, moment = self._moments.stamp()
        stamped = to_json(replace(record, used=used, moment=moment))
        self._see(pipe)
        context = {name: stamped.pop(name) for name in CONTEXT if name in stamped}
        # To full ten minutes: the time that is left must not tell when somebody wrote.
        ends = rounded(now) + dt.timedelta(hours=self.settings.retention_hours)
        pipe.set(self._key("c", key), json.dumps(stamped, ensure_ascii=False), ex=_seconds_until(ends))
        if context:
            pipe.set(self._key("x", key), json.dumps(context, ensure_ascii=False), ex=self._context_seconds(record))
        else:
            pipe.delete(self._key("x", key))

    def _see(self, pipe: Any) -> None:
        """Keep the newest moment; every turn has read before what other servers have seen."""
        newest = rounded(self._moments.now())
        if self._newest is None or newest > self._newest:
            pipe.set(self._key("newest"), newest.isoformat())

    def _delete(self, pipe: Any, key: str, before: str | None = None) -> None:
        """Queue the removal of a conversation. Its messages are read now, outside of the transaction: they only grow with its lease.

        Args:
            before: its name under yesterday's key, whose messages go too.
        """
        for owner in [name for name in (key, before) if name]:
            for name in self._redis.smembers(self._key("r", owner)):
                pipe.delete(self._key("m", name))
        pipe.delete(self._key("c", key), self._key("x", key), self._key("r", key))

    def _move(self, pipe: Any, before: str, key: str) -> None:
        """Queue that a conversation's messages belong to today's name: a repeat of theirs is still known."""
        names = self._redis.smembers(self._key("r", before))
        if names:
            pipe.sadd(self._key("r", key), *names)
            pipe.expire(self._key("r", key), (repeat_hours(self.settings) + 1) * 3600)
        pipe.delete(self._key("c", before), self._key("x", before), self._key("r", before))

    def mark(self, message: str, conversations: Sequence[str]) -> None:
        """Keep that all replies to a message have gone out."""
        places = [self._key("c", key) for key in conversations]

        def marked(pipe: Any) -> None:
            owner = next((key for key in conversations if pipe.exists(self._key("c", key))), "")
            pipe.multi()
            self._put_message(pipe, message, owner, [])

        self._ask(lambda: self._redis.transaction(marked, *places))

    def _put_message(self, pipe: Any, message: str, owner: str, plans: Sequence[Plan]) -> None:
        seconds = _seconds_until(rounded(clock.now()) + ROUNDING + dt.timedelta(hours=repeat_hours(self.settings)))
        pipe.set(self._key("m", message), json.dumps({"of": owner, "plans": list(plans)}), ex=seconds)
        if owner:
            pipe.sadd(self._key("r", owner), message)
            pipe.expire(self._key("r", owner), seconds)

    def forget(self, key: str) -> None:
        """Remove a conversation and the replies to its messages."""

        def all_at_once() -> None:
            with self._redis.pipeline() as pipe:
                self._delete(pipe, key)
                pipe.execute()

        self._ask(all_at_once)

    # --- several servers --------------------------------------------------------------------------

    def lease(self, key: str) -> int | None:
        """Take a conversation for one turn: a number that grows with every lease, None while another server has it."""

        def taken() -> int | None:
            number = int(self._redis.incr(self._key("fence")))
            return number if self._redis.set(self._key("l", key), str(number), nx=True, px=LEASE_MS) else None

        return self._ask(taken)

    def release(self, key: str, lease: int) -> None:
        """Give a conversation back, if it is still ours."""

        def given() -> None:
            with self._redis.pipeline() as pipe:
                pipe.watch(self._key("l", key))
                if pipe.get(self._key("l", key)) == str(lease):
                    pipe.multi()
                    pipe.delete(self._key("l", key))
                    pipe.execute()

        self._ask(given)

    # --- opt-outs and numbers ---------------------------------------------------------------------

    def opted_out(self, name: str, before: Sequence[str] = ()) -> bool:
        """Whether messages to this sender have been stopped."""

        def looked_up() -> list[bool]:
            # No transaction: a Redis whose memory is full would refuse it, reading or not, and who has stopped would be written to.
            with self._redis.pipeline(transaction=False) as pipe:
                for each in (name, *before):
                    pipe.sismember(self._key("stop"), each)
                return [bool(there) for there in pipe.execute()]

        found = self._ask(looked_up)
        if any(found[1:]):
            # Who has stopped has stopped, whether or not that can be written anew just now.
            with suppress(StoreError):
                self._ask(lambda: self._rename_opt_out(name, before))
        return any(found)

    def _rename_opt_out(self, name: str, before: Sequence[str]) -> None:
        """Not where another server has taken the opt-out away meanwhile: a START there holds."""

        def renamed(pipe: Any) -> None:
            gone = [old for old in before if pipe.sismember(self._key("stop"), old)]
            pipe.multi()
            if gone:
                pipe.srem(self._key("stop"), *gone)
                pipe.sadd(self._key("stop"), name)

        self._redis.transaction(renamed, self._key("stop"))

    def set_opted_out(self, name: str, out: bool, before: Sequence[str] = ()) -> None:
        """Stop or start messages to a sender."""

        def all_at_once() -> None:
            with self._redis.pipeline() as pipe:
                pipe.srem(self._key("stop"), name, *before)
                if out:
                    pipe.sadd(self._key("stop"), name)
                pipe.execute()

        self._ask(all_at_once)

    def opt_outs(self) -> dict[str, int]:
        """Opt-outs by the tag of their secret."""
        return self._ask(lambda: dict(Counter(map(tag_of, self._redis.sscan_iter(self._key("stop"), count=1000)))))

    def counts(self) -> Counts:
        """All numbers."""
        topics = self._ask(lambda: self._redis.hgetall(self._key("topics")))
        days = self._ask(lambda: self._redis.hgetall(self._key("days")))
        deliveries = self._ask(lambda: self._redis.hgetall(self._key("deliveries")))
        try:
            tables = [
                {tuple(cell.split("|")): int(n) for cell, n in table.items()} for table in (topics, days, deliveries)
            ]
        except ValueError:
            raise other_data("REDIS_URL") from None
        return Counts(*tables)  # type: ignore[arg-type]

    def count_delivery(self, channel: str, status: str, code: str) -> None:
        """Count what became of a message that we sent."""
        cell = "|".join(delivery_cell(channel, status, code))
        self._ask(lambda: self._redis.hincrby(self._key("deliveries"), cell, 1))

    def sweep(self) -> int:
        """Nothing but the newest moment: Redis forgets by itself."""
        self._ask(lambda: self._see(self._redis))
        return 0

    def purge(self) -> int:
        """Remove every conversation and every reply."""

        def all_at_once() -> int:
            gone = 0
            for kind in ("c", "x", "m", "r"):
                names = list(self._redis.scan_iter(f"{NAME}:{kind}:*", count=1000))
                gone += len(names) if kind == "c" else 0
                for start in range(0, len(names), 1000):
                    self._redis.delete(*names[start : start + 1000])
            return gone

        return self._ask(all_at_once)

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()
