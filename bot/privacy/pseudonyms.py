"""Names under which conversations are kept: nobody can go from a name back to a sender.

HMAC-SHA256 of channel and sender under 32 random bytes that are new every day and live in this process's
memory only. Today's and yesterday's key exist; a conversation found under yesterday's moves to today's.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import secrets

from actions import clock


class Pseudonyms:
    """Makes pseudonyms under today's key."""

    def __init__(self) -> None:
        self._keys: dict[dt.date, bytes] = {}

    def _key(self, day: dt.date) -> bytes:
        today = clock.now().date()
        for old in [known for known in self._keys if known < today - dt.timedelta(days=1)]:
            del self._keys[old]
        if day not in self._keys:
            self._keys[day] = secrets.token_bytes(32)
        return self._keys[day]

    @staticmethod
    def _name(key: bytes, channel: str, sender: str) -> str:
        return hmac.new(key, f"{channel}\x1f{sender}".encode(), hashlib.sha256).hexdigest()

    def of(self, channel: str, sender: str) -> str:
        """Today's pseudonym."""
        return self._name(self._key(clock.now().date()), channel, sender)

    def before(self, channel: str, sender: str) -> str | None:
        """Yesterday's, while its key exists."""
        yesterday = clock.now().date() - dt.timedelta(days=1)
        self._key(clock.now().date())
        key = self._keys.get(yesterday)
        return self._name(key, channel, sender) if key else None
