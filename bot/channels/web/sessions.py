"""The website's sessions: tokens that only this server can make, and what ends while it is still being answered."""

from __future__ import annotations

import base64
import hmac
import re
import secrets
import time
from collections.abc import Callable

from bot.privacy.pseudonyms import Pseudonyms

NONCE_BYTES = 16
MARK = 10
"""Hexadecimal signs of a token by which we know that it is ours. The secret is in the nonce."""
ENDED_SECONDS = 120.0
"""An ended session stays ended so long: a message that was still on its way is forgotten again when it is answered."""
MOST_ENDED = 10_000
_TOKEN = re.compile(r"^[A-Za-z0-9_-]{32}$")
_PAGE = re.compile(r"^([0-9a-f]{32})-\d{1,6}$")
"""A message's id as our page makes it: 128 random bits of the page, and a number."""


class Sessions:
    """Makes tokens, 32 signs of base64url, and knows its own again for today and yesterday."""

    def __init__(self, pseudonyms: Pseudonyms, now: Callable[[], float] = time.monotonic):
        self._pseudonyms = pseudonyms
        self._now = now
        self._ended: dict[str, float] = {}

    def _marks(self, nonce: str) -> list[str]:
        return [name[:MARK] for name in self._pseudonyms.message("web", f"session/{nonce}")]

    def _made(self, nonce: bytes) -> str:
        text = base64.urlsafe_b64encode(nonce).decode().rstrip("=")
        return text + self._marks(text)[0]

    def known(self, token: str | None) -> bool:
        """Whether we made a token. One that a visitor invented, or an old one, is no session."""
        if not token or not _TOKEN.match(token):
            return False
        return any(hmac.compare_digest(token[-MARK:], mark) for mark in self._marks(token[:-MARK]))

    def first(self, message_id: str) -> str | None:
        """The session that a page's first messages begin; the same for a retry, so that its answer can be found.

        The page's id is as secret as the token: it travels in bodies only. None for an id that our page did not make.
        """
        page = _PAGE.match(message_id)
        if page is None:
            return None
        name = self._pseudonyms.message("web", f"page/{page.group(1)}")[0]
        return self._made(bytes.fromhex(name)[:NONCE_BYTES])

    def token(self, session: str | None, message_id: str) -> str:
        """The session of a message: the one it names if that is ours, else a new one."""
        if session and self.known(session):
            return session
        return self.first(message_id) or self._made(secrets.token_bytes(NONCE_BYTES))

    def end(self, token: str) -> None:
        """Remember for two minutes that a session has ended."""
        now = self._now()
        for old in [name for name, moment in self._ended.items() if now - moment > ENDED_SECONDS]:
            del self._ended[old]
        if len(self._ended) >= MOST_ENDED:
            del self._ended[next(iter(self._ended))]
        self._ended[token] = now

    def has_ended(self, token: str) -> bool:
        """Whether a session was ended in the last two minutes."""
        return self._now() - self._ended.get(token, -ENDED_SECONDS) < ENDED_SECONDS
