"""A connection to a Redis that keeps nothing on a disk, for the store and for the keys of the day."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import redis

from bot.privacy.store import StoreError

TIMEOUT_SECONDS = 2.0
REST_SECONDS = 2.0
"""A Redis that has not answered is asked nothing for so long: each message would else wait for several of its silences, behind all others."""
T = TypeVar("T")


class RedisConnection:
    """Commands for one Redis; every fault is a StoreError."""

    def __init__(self, url: str, setting: str, timeout: float = TIMEOUT_SECONDS, rest: float = REST_SECONDS):
        """Connect.

        Args:
            url: redis://, rediss:// or unix://, with a password where it has one.
            setting: where the operator wrote it, for what is told.
            timeout: seconds until an answer is given up.
            rest: seconds until a Redis that gave none is asked again.

        Raises:
            StoreError: when Redis does not answer, or keeps what it holds on a disk.
        """
        self.setting = setting
        self._rest, self._rests_until = rest, 0.0
        try:
            self.redis = redis.Redis.from_url(
                url, socket_timeout=timeout, socket_connect_timeout=timeout, decode_responses=True
            )
        except ValueError:
            raise StoreError(f"{setting} is no address; write for example redis://127.0.0.1:6379/0") from None
        self.ask(self.redis.ping)
        kept = self.ask(lambda: {**self.redis.config_get("save"), **self.redis.config_get("appendonly")})
        if kept.get("save") or kept.get("appendonly") == "yes":
            raise StoreError(
                f"{setting} names a Redis that writes to a disk; start it with --save '' --appendonly no, so that it cannot be carried away"
            )

    def ask(self, call: Callable[[], T]) -> T:
        """What a command gives.

        Raises:
            StoreError: when Redis fails, or has failed to answer a moment ago.
        """
        if time.monotonic() < self._rests_until:
            raise StoreError("Redis: it has not answered just now, and is asked again in a moment")
        try:
            return call()
        except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError) as error:
            self._rests_until = time.monotonic() + self._rest
            raise StoreError(f"Redis: {type(error).__name__}; is it running, is {self.setting} right?") from None
        except redis.exceptions.RedisError as error:
            raise StoreError(f"Redis: {type(error).__name__}; is it running, is {self.setting} right?") from None
