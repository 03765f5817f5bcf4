"""How large and how slow a request may be. Sanic 21.12, the version that Rasa is bound to, sets bounds that a stranger can get around."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from sanic.exceptions import InvalidUsage, RequestTimeout
from sanic.http import Stage
from sanic.request import Request
from sanic.server import HttpProtocol

BODY_BYTES = 16_384
BODY_SECONDS = 10
"""For the headers, and again for the body."""
_LENGTH = re.compile(r"[0-9]{1,12}")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""Of a header (RFC 9110, section 5.1). "Content-Length :" is another name to Sanic, which then takes the body for a request of its own;
a proxy that reads on would hand its answer to somebody else (RFC 9112, section 5.1: refuse it). So is a line that continues another."""


class BoundedRequest(Request):
    """A request whose body has one length that can be one, and comes in time, or the connection is closed."""

    def __init__(self, *arguments: Any, **options: Any):
        """
        Raises:
            InvalidUsage: Sanic itself takes "-1" for a length, and reads on for ever without letting anybody else in; or "1_0"; and anything
                for a header's name.
        """
        super().__init__(*arguments, **options)
        if not all(_NAME.fullmatch(name) for name in self.headers):
            raise InvalidUsage("")
        lengths = self.headers.getall("content-length", [])
        codings = self.headers.getall("transfer-encoding", [])
        if len(lengths) + len(codings) > 1 or not all(_LENGTH.fullmatch(length) for length in lengths):
            raise InvalidUsage("")
        if codings and codings != ["chunked"]:
            raise InvalidUsage("")

    async def receive_body(self) -> None:
        """The whole body. Sanic's own limit is the one for answers, three times as long.

        Raises:
            RequestTimeout: after BODY_SECONDS.
        """
        whole = False
        try:
            await asyncio.wait_for(super().receive_body(), BODY_SECONDS)
            whole = True
        except asyncio.TimeoutError:
            raise RequestTimeout("") from None
        finally:
            if not whole and self.stream:
                # What is still to come is not waited for.
                self.stream.keep_alive = False
                self.stream.request_body = None


class BoundedProtocol(HttpProtocol):
    """A connection on which the time for the headers runs from their first byte; Sanic's begins anew with every byte."""

    def data_received(self, data: bytes) -> None:
        """Take what has come."""
        # Not there before the first request, and "false" outside of a handler.
        http = getattr(self, "_http", None)
        begun = self._time if http is not None and http.stage is Stage.REQUEST else None
        super().data_received(data)
        if begun is not None:
            self._time = begun
