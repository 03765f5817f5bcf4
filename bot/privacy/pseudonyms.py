"""Names under which conversations, messages and opt-outs are kept: nobody can go from a name back to a sender."""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from actions import clock
from bot.privacy.keys import DayKeys, MemoryKeys

TAG_SIGNS = 8
"""Of the tag in front of an opt-out's name, which says under which secret it lies: enough that two never have the same."""


def _name(key: bytes, *parts: str) -> str:
    return hmac.new(key, "\x1f".join(parts).encode(), hashlib.sha256).hexdigest()


def tag(key: bytes) -> str:
    """What tells apart the keys of opt-outs; nobody can go from it to the key."""
    return _name(key, "tag")[:TAG_SIGNS]


def tag_of(name: str) -> str:
    """The tag of an opt-out's name; "" for one from before there were tags."""
    return name.rpartition("-")[0]


@dataclass(frozen=True)
class UnderSecrets:
    """How many opt-outs lie under which secret."""

    current: int
    """OUTREACH_SECRET."""
    former: int
    """OUTREACH_SECRET_BEFORE, or from before names had a tag."""
    unknown: int
    """A secret that is not set any more: nobody finds them."""


class Pseudonyms:
    """HMAC-SHA256 of channel and sender under a key that is new every day (bot/privacy/keys.py)."""

    def __init__(self, keys: DayKeys | None = None, lasting: bytes | None = None, former: Sequence[bytes] = ()) -> None:
        """
        Args:
            keys: the daily keys; in this process's memory when left out.
            lasting: the subkey for opt-outs; without one there are no opt-outs to look up.
            former: subkeys of former secrets, under which opt-outs may still lie.
        """
        self._keys = keys or MemoryKeys()
        self._lasting = lasting
        self._former = tuple(key for key in former if key != lasting)

    def of(self, channel: str, sender: str) -> str:
        """Today's name of a conversation."""
        return _name(self._keys.key(clock.now().date()), channel, sender)

    def before(self, channel: str, sender: str) -> str | None:
        """Yesterday's, while its key exists."""
        key = self._keys.known(clock.now().date() - dt.timedelta(days=1))
        return _name(key, channel, sender) if key else None

    def message(self, channel: str, message_id: str) -> list[str]:
        """Names of a provider's message, today's first: what was received before midnight is still known after."""
        today = clock.now().date()
        keys = [self._keys.key(today), self._keys.known(today - dt.timedelta(days=1))]
        return [_name(key, channel, "message", message_id) for key in keys if key]

    def opt_out(self, channel: str, sender: str) -> str | None:
        """The lasting name under which an opt-out stands. It links to no conversation."""
        return f"{tag(self._lasting)}-{_name(self._lasting, channel, sender)}" if self._lasting else None

    def opt_out_names(self, channel: str, sender: str) -> list[str]:
        """All names under which an opt-out may stand: today's first, then those of former secrets; empty without a secret."""
        if not self._lasting:
            return []
        keys = (self._lasting, *self._former)
        plain = [_name(key, channel, sender) for key in keys]
        # Before names had a tag they stood alone.
        return [*(f"{tag(key)}-{name}" for key, name in zip(keys, plain, strict=True)), *plain]

    def under_secrets(self, numbers: Mapping[str, int]) -> UnderSecrets:
        """What lies where.

        Args:
            numbers: tag -> opt-outs, as a store counts them.
        """
        current = numbers.get(tag(self._lasting), 0) if self._lasting else 0
        former = sum(numbers.get(known, 0) for known in {"", *(tag(key) for key in self._former)})
        return UnderSecrets(current, former, sum(numbers.values()) - current - former)

    def sweep(self) -> None:
        """Let go of keys whose days are over, also where nobody writes."""
        self._keys.sweep()
