"""Twilio as the tests need it: forms as it sends them, signed as it signs, and a stand-in for its REST API."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import socket
import struct
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ACCOUNT = "AC" + "0" * 31 + "1"
TOKEN = "0123456789abcdef0123456789abcdef"
NUMBER = "+13055550100"
PUBLIC_URL = "https://outreach.example.org"
"""What Twilio calls; a proxy hands it on to the server on 127.0.0.1."""
SECRET = "a-secret-of-the-tests-0123456789-ABCDEFGH"
WEBHOOK = "/webhooks/sms"
STATUS = "/webhooks/sms/status"
_sids = itertools.count(1)


def new_sid(kind: str = "SM") -> str:
    """A message's id."""
    return f"{kind}{next(_sids):032x}"


def sms(body: str | None = "hello", sender: str = "+13055550142", **more: str) -> dict[str, str]:
    """A text message, with the blank fields that real ones have (https://www.twilio.com/docs/messaging/guides/webhook-request)."""
    sid = more.pop("MessageSid", "") or new_sid()
    form = {
        "ToCountry": "US",
        "ToState": "FL",
        "SmsMessageSid": sid,
        "NumMedia": "0",
        "ToCity": "",
        "FromZip": "",
        "SmsSid": sid,
        "FromState": "FL",
        "SmsStatus": "received",
        "FromCity": "",
        "Body": body or "",
        "FromCountry": "US",
        "To": NUMBER,
        "ToZip": "",
        "NumSegments": "1",
        "MessageSid": sid,
        "AccountSid": ACCOUNT,
        "From": sender,
        "ApiVersion": "2010-04-01",
    }
    form.update(more)
    return form


def mms(body: str = "", kind: str = "image/jpeg", sender: str = "+13055550142") -> dict[str, str]:
    """A picture, with or without words."""
    sid = new_sid("MM")
    media = f"https://api.twilio.com/2010-04-01/Accounts/{ACCOUNT}/Messages/{sid}/Media/ME{'0' * 32}"
    return sms(body, sender, MessageSid=sid, NumMedia="1", MediaContentType0=kind, MediaUrl0=media)


def whatsapp(body: str = "hello", sender: str = "+13055550142", **more: str) -> dict[str, str]:
    """A WhatsApp message (https://www.twilio.com/docs/whatsapp/api#receiving-a-whatsapp-message)."""
    sid = more.pop("MessageSid", "") or new_sid()
    form = {
        "SmsMessageSid": sid,
        "NumMedia": "0",
        "ProfileName": "A resident",
        "MessageType": "text",
        "SmsSid": sid,
        "WaId": sender.removeprefix("+"),
        "SmsStatus": "received",
        "Body": body,
        "To": f"whatsapp:{NUMBER}",
        "NumSegments": "1",
        "ReferralNumMedia": "0",
        "MessageSid": sid,
        "AccountSid": ACCOUNT,
        "From": f"whatsapp:{sender}",
        "ApiVersion": "2010-04-01",
    }
    form.update(more)
    return form


def status(word: str, sid: str = "", to: str = "+13055550142", **more: str) -> dict[str, str]:
    """A status callback."""
    sid = sid or new_sid()
    return {
        "SmsSid": sid,
        "SmsStatus": word,
        "MessageStatus": word,
        "To": to,
        "MessageSid": sid,
        "AccountSid": ACCOUNT,
        "From": NUMBER,
        "ApiVersion": "2010-04-01",
        **more,
    }


def signature(form: dict[str, str], url: str, token: str = TOKEN) -> str:
    """As Twilio signs: the address, then each name and value in the names' order
    (https://www.twilio.com/docs/usage/security#validating-requests)."""
    text = url + "".join(name + form[name] for name in sorted(form))
    return base64.b64encode(hmac.new(token.encode(), text.encode(), hashlib.sha1).digest()).decode()


@dataclass(frozen=True)
class Got:
    """A response to Twilio."""

    status: int
    body: str
    headers: dict[str, str]

    @property
    def messages(self) -> list[str]:
        """The texts that Twilio sends on; it refuses what is no XML."""
        return [message.text or "" for message in self.elements]

    @property
    def elements(self) -> list[ET.Element]:
        """The TwiML's messages."""
        root = ET.fromstring(self.body)
        assert root.tag == "Response"
        assert all(element.tag == "Message" for element in root)
        return list(root)

    @property
    def text(self) -> str:
        """The one message; "" for silence."""
        assert self.status == 200, (self.status, self.body)
        assert len(self.messages) <= 1, "the replies of a turn are one message"
        return self.messages[0] if self.messages else ""


def post(
    address: str,
    form: dict[str, str] | bytes,
    path: str = WEBHOOK,
    headers: dict[str, str] | None = None,
    signed: bool = True,
    url: str = PUBLIC_URL,
    token: str = TOKEN,
) -> Got:
    """Send a form as Twilio does."""
    body = form if isinstance(form, bytes) else urllib.parse.urlencode(form).encode()
    sent = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8", "User-Agent": "TwilioProxy/1.1"}
    if signed and isinstance(form, dict):
        sent["X-Twilio-Signature"] = signature(form, url + path, token)
    request = urllib.request.Request(address + path, body, {**sent, **(headers or {})})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return Got(answer.status, answer.read().decode(), dict(answer.headers))
    except urllib.error.HTTPError as error:
        return Got(error.code, error.read().decode(), dict(error.headers))


# --- the REST API ---------------------------------------------------------------------------------


@dataclass
class Say:
    """What the stand-in does with one request."""

    status: int = 204
    body: dict[str, Any] | str = ""
    headers: dict[str, str] = field(default_factory=dict)
    wait: float = 0.0
    reset: bool = False
    """Break the connection instead of answering."""


def fault(status: int, code: int) -> Say:
    """An error as Twilio words it."""
    link = f"https://www.twilio.com/docs/errors/{code}"
    return Say(status, {"code": code, "message": "A message to +13055550142", "more_info": link, "status": status})


@dataclass
class Api:
    """A stand-in for api.twilio.com."""

    address: str
    says: list[Say]
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    """(method, path, form)"""

    def paths(self, method: str) -> list[str]:
        """The last part of each path that was asked with a method."""
        return [path.rsplit("/", 1)[-1] for asked, path, _ in self.asked if asked == method]


@contextmanager
def rest_api(*says: Say) -> Iterator[Api]:
    """Serve the answers in their order, then 204 and 201."""
    api = Api("", list(says))
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            form = dict(urllib.parse.parse_qsl(self.rfile.read(length).decode()))
            with lock:
                api.asked.append((self.command, self.path, form))
                created = Say(201, {"sid": "SM" + "f" * 32, "status": "queued"})
                say = api.says.pop(0) if api.says else (created if self.command == "POST" else Say())
            time.sleep(say.wait)
            if say.reset:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
                return
            body = (say.body if isinstance(say.body, str) else json.dumps(say.body)).encode()
            self.send_response(say.status)
            for name, value in say.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_DELETE = _answer

        def log_message(self, *arguments: object) -> None:
            return None

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *arguments: object) -> None:
            """A client that left, or a connection that was to break."""

    server = Server(("127.0.0.1", 0), Handler)
    api.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
