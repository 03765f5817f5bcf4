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


OTHER_TYPE, NO_NUMBER = "WRONGTYPE", "value is not an integer"
"""How Redis says that a name of ours holds what we did not write (https://redis.io/docs/latest/develop/reference/protocol-spec/)."""


def other_data(setting: str) -> StoreError:
    """Of somebody who has the same names."""
    return StoreError(
        f"Redis: a name that begins with outreach: holds other data; give this service a Redis, or a database number, of its own ({setting})"
    )


class RedisConnection:
    """Commands for one Redis; every fault is a StoreError."""

    def __init__(
        self,
        url: str,
        setting: str,
        timeout: float = TIMEOUT_SECONDS,
        rest: float = REST_SECONDS,
        may_evict: bool = False,
    ):
        """Connect.

        Args:
            url: redis://, rediss:// or unix://, with a password where it has one.
            setting: where the operator wrote it, for what is told.
            timeout: seconds until an answer is given up.
            rest: seconds until a Redis that gave none is asked again.
            may_evict: whether it may drop what it holds when its memory is full.

        Raises:
            StoreError: when Redis does not answer, keeps what it holds on a disk, or may drop it.
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

        if not may_evict:
            policy = self.ask(lambda: self.redis.config_get("maxmemory-policy")).get("maxmemory-policy")
            if policy != "noeviction":
                # https://redis.io/docs/latest/develop/reference/eviction/
                raise StoreError(
                    f"{setting} names a Redis that drops what it holds when it is full, opt-outs too; start it with --maxmemory-policy noeviction"
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
        except redis.exceptions.OutOfMemoryError:
            raise StoreError(f"Redis: its memory is full; raise maxmemory of the Redis of {self.setting}") from None
        except redis.exceptions.ResponseError as error:
            if OTHER_TYPE in str(error) or NO_NUMBER in str(error):
                raise other_data(self.setting) from None
            raise StoreError(f"Redis: {type(error).__name__}; is it running, is {self.setting} right?") from None
        except redis.exceptions.RedisError as error:
            raise StoreError(f"Redis: {type(error).__name__}; is it running, is {self.setting} right?") from None
