"""How many connections may be open, of one network and in all. One that waits, for a request or the rest of one, makes room for one that comes.

A connection costs a stranger nothing and us a file descriptor. Where there is none left nobody is let in, on any channel, and uvloop, on which
Sanic runs, closes what comes without a word: so the bound lies under the limit, and is told when it is met.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import resource
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from bot.channels.web.network import Network, address, network
from bot.privacy.logs import event

logger = logging.getLogger(__name__)
MOST = 4096
"""Open at a time, where the limit of open files allows it."""
MOST_OF_A_NETWORK = 64
"""That wait at a time. A browser opens six (https://developer.mozilla.org/en-US/docs/Web/HTTP/Guides/Connection_management_in_HTTP_1.x), for an
instant; those whose request is being answered are not counted, so that no shelter, library or provider of ours is held up."""
LEAST = 8
LOW_LIMIT = 1024
"""Open files, the least that systems usually allow (https://man7.org/linux/man-pages/man2/getrlimit.2.html)."""
TOLD_EVERY = 60.0
OURSELVES = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
"""A proxy on this machine; with TRUSTED_PROXIES, those elsewhere: all their visitors have their address."""


class Connection(Protocol):
    """What a protocol shows of itself (bot/bounds.py)."""

    @property
    def is_idle(self) -> bool:
        """Whether there is no whole head of a request."""

    @property
    def waits(self) -> bool:
        """Whether the next step is the other side's: idle, or a body is still to come."""

    def drop(self) -> None:
        """Close it at once."""

    def finish(self) -> None:
        """Answer what has been asked, then close it."""

    def give_up(self) -> asyncio.Future[None] | None:
        """Break off what is being answered; what there is to wait for."""


class Connections:
    """The open ones, in the order in which they came. No address is kept: only the network, as long as the connection."""

    def __init__(self, most: int = MOST, ours: Sequence[Network] = OURSELVES, of_a_network: int = MOST_OF_A_NETWORK):
        """
        Args:
            most: at a time.
            ours: networks that are not bounded: of our proxies.
            of_a_network: most that wait.
        """
        self.most = most
        self.of_a_network = of_a_network
        self.stopping = False
        self._ours = tuple(ours)
        self._open: dict[Connection, str] = {}
        self._of: dict[str, dict[Connection, None]] = {}
        self._told = -TOLD_EVERY

    def __len__(self) -> int:
        return len(self._open)

    def enter(self, connection: Connection, peer: str) -> bool:
        """Whether a new connection may stay; the one that has waited longest may go for it.

        Args:
            peer: who opened it.
        """
        if self.stopping:
            return False
        own = self._network(peer)
        waiting = [one for one in self._of.get(own, ()) if one.waits] if own else []
        if len(waiting) >= self.of_a_network:
            self._tell()
            self._drop(waiting[0])
        if len(self._open) >= self.most:
            self._tell()
            longest = self._longest_waiting()
            if longest is None:
                return False
            self._drop(longest)
        self._open[connection] = own
        self._of.setdefault(own, {})[connection] = None
        return True

    def leave(self, connection: Connection) -> None:
        """A connection that is closed."""
        own = self._open.pop(connection, None)
        if own is not None:
            self._of[own].pop(connection, None)
            if not self._of[own]:
                del self._of[own]

    def _network(self, peer: str) -> str:
        """ "" for our own."""
        found = address(peer)
        if found is None or any(found.version == one.version and found in one for one in self._ours):
            return ""
        return network(peer, (), ())

    def _longest_waiting(self) -> Connection | None:
        """Of the network that has most; of our own proxies last."""
        for own in sorted(self._of, key=lambda own: (not own, -len(self._of[own]))):
            for one in self._of[own]:
                if one.waits:
                    return one
        return None

    def _drop(self, connection: Connection) -> None:
        self.leave(connection)
        connection.drop()

    def _tell(self) -> None:
        if time.monotonic() - self._told >= TOLD_EVERY:
            self._told = time.monotonic()
            event(
                logger,
                logging.WARNING,
                "too many connections at once ({number} are open): those that have waited longest are closed. Bound them at the proxy",
                number=len(self._open),
            )

    async def drain(self, seconds: float) -> int:
        """Let nothing in any more, and wait until what has been asked is answered; how many were not in time.

        Args:
            seconds: then what is left is broken off.
        """
        self.stopping = True
        for one in list(self._open):
            if one.is_idle:
                self._drop(one)
            else:
                one.finish()
        deadline = time.monotonic() + seconds
        while self._open and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        left = [ending for ending in map(_given_up, list(self._open)) if ending]
        if left:
            await asyncio.wait(left, timeout=1)
        return len(left)


def _given_up(connection: Connection) -> asyncio.Future[None] | None:
    return connection.give_up()


def open_files() -> int:
    """The limit of open files, raised as far as this process may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):
            return soft
    return hard if hard != resource.RLIM_INFINITY else MOST * 16


def most_connections(limit: int) -> int:
    """So many of the files that may be open can be connections: a quarter, or 64, is left for the store and for calls to others."""
    try:
        used = len(list(Path("/proc/self/fd").iterdir()))
    except OSError:
        used = 64
    return max(LEAST, min(MOST, limit - used - min(64, limit // 4)))


def remarks(limit: int) -> Iterable[str]:
    """What an operator should know of the limit."""
    if limit < LOW_LIMIT:
        yield (
            f"Only {limit} files and connections can be open at once, of which {most_connections(limit)} are for visitors: raise the hard limit to "
            f"{MOST * 2} (ulimit -Hn, LimitNOFILE= of systemd, --ulimit nofile= of Docker)."
        )
