"""Twilio's REST API: a message deleted or sent, off the event loop, tried again where that helps, with errors that have names.

Answers do not go this way: they are the TwiML in the response to a message (channel.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import requests
from twilio.base.exceptions import TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.http.response import Response
from twilio.rest import Client
from urllib3.exceptions import NewConnectionError

from bot.settings import Twilio

# Its INFO lines hold every request's address, with the ids of account and message: which message is deleted when is nobody's business.
logging.getLogger("twilio.http_client").setLevel(logging.WARNING)

T = TypeVar("T")
SECONDS = 10.0
"""For one request; Twilio answers in well under one."""
WAITS = (1.0, 4.0, 15.0)
"""Seconds before each further try (https://www.twilio.com/docs/usage/rest-api-best-practices)."""
LONGEST_WAIT = 60.0
"""A Retry-After beyond that is left to the caller."""
THREADS = 2
"""Few at once: Twilio throttles by concurrent requests (https://www.twilio.com/docs/api/errors/20429)."""

OPTED_OUT = 21610
"""The receiver has stopped messages at Twilio (https://www.twilio.com/docs/api/errors/21610)."""
TOO_MANY = 20429
"""Too many requests; never carried out (https://www.twilio.com/docs/api/errors/20429)."""
NOT_COMPLETE = 20009
"""Cannot be deleted yet (https://www.twilio.com/docs/api/errors/20009)."""
GONE = 404


class RequestFailed(RuntimeError):
    """Twilio did not do what was asked. Its text holds no number and nothing of a message."""


class OptedOut(RequestFailed):
    """The receiver has stopped messages."""


class Throttled(RequestFailed):
    """Too many requests at once; nothing was done."""

    def __init__(self, seconds: float = 0.0):
        super().__init__("Twilio asks to wait")
        self.seconds = seconds
        """How long Twilio asks to wait; 0 when it does not say."""


class Unreachable(RequestFailed):
    """No connection, no answer in time, or a fault on Twilio's side."""

    def __init__(self, what: str, perhaps_done: bool = True):
        super().__init__(what)
        self.perhaps_done = perhaps_done
        """Whether Twilio may have done it all the same."""


class TooEarly(RequestFailed):
    """The message is still on its way and cannot be deleted yet."""


class Rejected(RequestFailed):
    """Twilio understood and refused; trying again would not help."""

    def __init__(self, status: int, code: int | None):
        super().__init__(f"HTTP {status}, Twilio's code {code}: https://www.twilio.com/docs/api/errors/{code}")
        self.status = status
        self.code = code


class _Http(TwilioHttpClient):
    """The library's client, with faults of the network as errors of ours: they hold the address and so the account."""

    def request(self, *arguments: Any, **options: Any) -> Response:
        try:
            response = super().request(*arguments, **options)
        except requests.ConnectTimeout:
            raise Unreachable("no connection in time", perhaps_done=False) from None
        except requests.ConnectionError as error:
            refused = isinstance(getattr(error.args[0] if error.args else None, "reason", None), NewConnectionError)
            raise Unreachable("no connection" if refused else "the connection broke", not refused) from None
        except requests.RequestException as error:
            raise Unreachable(type(error).__name__) from None
        if response.status_code == 429:
            raise Throttled(_seconds(response.headers.get("Retry-After", "")))
        if response.status_code >= 500:
            # Twilio says that it failed: done in part or not at all.
            raise Unreachable(f"HTTP {response.status_code}", perhaps_done=False)
        return response


def _seconds(text: str) -> float:
    """Retry-After in seconds; 0 for a date or nothing."""
    try:
        return max(0.0, float(text))
    except ValueError:
        return 0.0


def _named(error: TwilioRestException) -> RequestFailed:
    if error.code == OPTED_OUT:
        return OptedOut("the receiver has stopped messages")
    if error.code == TOO_MANY:
        return Throttled()
    if error.code == NOT_COMPLETE:
        return TooEarly("not complete yet")
    return Rejected(error.status, error.code)


class TwilioClient:
    """Deletes and sends messages."""

    def __init__(self, own: Twilio, status_address: str = "", waits: Sequence[float] = WAITS, timeout: float = SECONDS):
        """
        Args:
            own: account, token, number and address of the API.
            status_address: where Twilio is to tell what became of a message that is sent.
            waits: seconds before each further try.
            timeout: seconds for one request.
        """
        self._own = own
        self._status_address = status_address
        self._waits = tuple(waits)
        self._client = Client(own.account, own.token, http_client=_Http(timeout=timeout))
        self._client.api.base_url = own.api
        self._threads = ThreadPoolExecutor(THREADS, "twilio")

    async def delete(self, sid: str) -> None:
        """Delete a message at Twilio, whoever sent it; one that is not there any more is deleted.

        Raises:
            TooEarly, Throttled, Unreachable, Rejected
        """
        try:
            await self._tried(lambda: self._client.messages(sid).delete(), repeatable=True)
        except Rejected as error:
            if error.status != GONE:
                raise

    async def send(self, channel: str, to: str, text: str) -> str:
        """Send a message that nobody has just asked for; its id.

        Args:
            channel: sms or whatsapp.
            to: E.164.
            text: at most 1600 UTF-16 units (twiml.parts).

        Raises:
            OptedOut, Throttled, Unreachable, Rejected. What Twilio may have done already is not tried again: twice the
            same text frightens.
        """
        prefix = "whatsapp:" if channel == "whatsapp" else ""
        options = {"status_callback": self._status_address} if self._status_address else {}

        def create() -> str:
            made = self._client.messages.create(
                to=f"{prefix}{to}", from_=f"{prefix}{self._own.number}", body=text, **options
            )
            return str(made.sid)

        return await self._tried(create, repeatable=False)

    async def _tried(self, call: Callable[[], T], repeatable: bool) -> T:
        """Call, and again after each wait while that can help."""
        loop = asyncio.get_running_loop()
        for wait in (*self._waits, None):
            try:
                return await loop.run_in_executor(self._threads, _translated, call)
            except Throttled as error:
                if wait is None or error.seconds > LONGEST_WAIT:
                    raise
                wait = max(wait, error.seconds)
            except Unreachable as error:
                if wait is None or (error.perhaps_done and not repeatable):
                    raise
            await asyncio.sleep(wait)
        raise AssertionError("the last try returns or raises")

    def close(self) -> None:
        """Let go of the threads; what is under way is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _translated(call: Callable[[], T]) -> T:
    """Call, with the library's error as one of ours: its text holds Twilio's, which quotes the request."""
    try:
        return call()
    except TwilioRestException as error:
        raise _named(error) from None
