"""Names under which conversations, messages and opt-outs are kept: nobody can go from a name back to a sender."""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac

from actions import clock
from bot.privacy.keys import DayKeys, MemoryKeys


def _name(key: bytes, *parts: str) -> str:
    return hmac.new(key, "\x1f".join(parts).encode(), hashlib.sha256).hexdigest()


class Pseudonyms:
    """HMAC-SHA256 of channel and sender under a key that is new every day (bot/privacy/keys.py)."""

    def __init__(self, keys: DayKeys | None = None, lasting: bytes | None = None) -> None:
        """
        Args:
            keys: the daily keys; in this process's memory when left out.
            lasting: the subkey for opt-outs; without one there are no opt-outs to look up.
        """
        self._keys = keys or MemoryKeys()
        self._lasting = lasting

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
        return _name(self._lasting, channel, sender) if self._lasting else None
