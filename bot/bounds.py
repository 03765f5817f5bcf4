"""How large, how slow and how odd a request may be. Sanic 21.12, the version that Rasa is bound to, sets bounds that a stranger can get around."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from sanic.exceptions import InvalidUsage, RequestTimeout
from sanic.http import HTTP_CONTINUE, Http, Stage
from sanic.request import Request
from sanic.server import HttpProtocol

BODY_BYTES = 16_384
BODY_SECONDS = 10
"""For the headers, and again for the body."""
FIRST_SECONDS = 5
"""Until the first byte on a new connection. Browsers open some beforehand, and open others when these are gone."""
_LENGTH = re.compile(r"[0-9]{1,12}")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""Of a header (RFC 9110, section 5.1). "Content-Length :" is another name to Sanic, which then takes the body for a request of its own;
a proxy that reads on would hand its answer to somebody else (RFC 9112, section 5.1: refuse it). So is a line that continues another."""
_STRAY = re.compile(rb"\r(?!\n)|(?<!\r)\n|\x00")
"""In the head: half a line break, which others may take for a whole one (RFC 9112, section 2.2), or NUL."""
_PIECE = re.compile(rb"\r\n([0-9A-Fa-f]{1,8})[ \t]*(?:;[\t\x20-\x7e]*)?\r\n")
"""How long the next piece of a body is (RFC 9112, section 7.1), behind the end of what came before. Sanic takes what Python's int() takes:
"+2", "0x2", "1_0", the digits of other scripts."""
_LONGEST_PIECE_HEAD = 64
_END = b"\r\n"
"""Behind the last piece. Sanic skips two bytes there, whatever they are: the beginning of somebody's next request, for a proxy that reads on."""


class BoundedRequest(Request):
    """A request whose body has one length that can be one, and comes in time, or the connection is closed."""

    def __init__(self, *arguments: Any, **options: Any):
        """
        Raises:
            InvalidUsage: Sanic itself takes "-1" for a length, and reads on for ever without letting anybody else in; or "1_0"; and anything
                for a header's name.
        """
        super().__init__(*arguments, **options)
        if _STRAY.search(self.head) or not all(_NAME.fullmatch(name) for name in self.headers):
            raise InvalidUsage("")
        lengths = self.headers.getall("content-length", [])
        codings = self.headers.getall("transfer-encoding", [])
        if len(lengths) + len(codings) > 1 or not all(_LENGTH.fullmatch(length) for length in lengths):
            raise InvalidUsage("")
        # Pieces came with HTTP/1.1; what stands before us may not have seen them in 1.0 (RFC 9112, section 6.1).
        if codings and (codings != ["chunked"] or self.version == "1.0"):
            raise InvalidUsage("")

    async def receive_body(self) -> None:
        """The whole body. Sanic's own limit is the one for answers, three times as long.

        Raises:
            RequestTimeout: after BODY_SECONDS.
        """
        whole = False
        protocol = self.stream.protocol if self.stream else None
        if isinstance(protocol, BoundedProtocol):
            protocol.owed = True
        try:
            await asyncio.wait_for(super().receive_body(), BODY_SECONDS)
            whole = True
        except asyncio.TimeoutError:
            raise RequestTimeout("") from None
        finally:
            if isinstance(protocol, BoundedProtocol):
                protocol.owed = False
            if not whole and self.stream:
                # What is still to come is not waited for.
                self.stream.keep_alive = False
                self.stream.request_body = None


class BoundedHttp(Http):
    """Reads bodies in pieces to the letter; in doubt the connection is closed."""

    async def read(self) -> bytes | None:
        """Some bytes of the body; None behind its end.

        Raises:
            InvalidUsage, PayloadTooLarge
        """
        if self.request_body == "chunked" and not self.request_bytes_left:
            if self.expecting_continue:
                self.expecting_continue = False
                await self._send(HTTP_CONTINUE)
            if not await self._begins_piece():
                self.keep_alive = False
                self.request_body = None
                if self.stage is not Stage.HANDLER:
                    return None  # answered already
                raise InvalidUsage("")
        return await super().read()

    async def _begins_piece(self) -> bool:
        """Whether what comes next is the head of a piece and, of the last one, the end of the body; waits until that can be told."""
        buffer = self.recv_buffer
        while (end := buffer.find(b"\r\n", 2)) == -1:
            if len(buffer) > _LONGEST_PIECE_HEAD:
                return False
            await self._receive_more()
        head = _PIECE.fullmatch(buffer[: end + 2])
        if head is None or end > _LONGEST_PIECE_HEAD:
            return False
        if int(head[1], 16):
            return True
        while len(buffer) < end + 4:
            await self._receive_more()
        return bytes(buffer[end + 2 : end + 4]) == _END


class BoundedProtocol(HttpProtocol):
    """A connection that is counted, and on which the time for the headers runs from their first byte; Sanic's begins anew with every byte."""

    __slots__ = ("_heard", "owed")

    def __init__(self, **options: Any):
        super().__init__(**options)
        self._heard = False
        self.owed = False
        """Whether the rest of a body is still to come."""

    def _setup_connection(self) -> None:
        super()._setup_connection()
        self._http = BoundedHttp(self)

    @property
    def is_idle(self) -> bool:
        """Whether there is no whole head of a request."""
        # Not there before the first request, and "false" outside of a handler.
        http = getattr(self, "_http", None)
        return http is None or http.stage in (Stage.IDLE, Stage.REQUEST)

    @property
    def waits(self) -> bool:
        """Whether the next step is the other side's."""
        return self.is_idle or self.owed

    def connection_made(self, transport: Any) -> None:
        """Take a connection, or not."""
        peer = transport.get_extra_info("peername")
        if not self.app.ctx.connections.enter(self, peer[0] if isinstance(peer, tuple) else ""):
            transport.abort()
            return
        super().connection_made(transport)
        self.loop.call_later(FIRST_SECONDS, self._expect)

    def _expect(self) -> None:
        if not self._heard:
            self.drop()

    def connection_lost(self, error: Exception | None) -> None:
        """It is closed."""
        self.app.ctx.connections.leave(self)
        super().connection_lost(error)

    def drop(self) -> None:
        """Close it at once."""
        if self.transport:
            self.transport.abort()

    def finish(self) -> None:
        """Answer what has been asked, then close it."""
        if self._http:
            self._http.keep_alive = False

    def give_up(self) -> asyncio.Future[None] | None:
        """Break off what is being answered; what there is to wait for."""
        task: asyncio.Future[None] | None = self._task
        if task:
            task.cancel()
        return task

    def data_received(self, data: bytes) -> None:
        """Take what has come."""
        self._heard = True
        http = getattr(self, "_http", None)
        begun = self._time if http is not None and http.stage is Stage.REQUEST else None
        super().data_received(data)
        if begun is not None:
            self._time = begun
