"""A local stand-in for Telegram's Bot API: notes every call, and misbehaves as it is told.

It answers as https://core.telegram.org/bots/api#making-requests says: {"ok": true, "result": ...}, or {"ok": false,
"error_code", "description", "parameters"} with the HTTP status of the error.
"""

from __future__ import annotations

import itertools
import json
import socket
import struct
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs


@dataclass(frozen=True)
class Fault:
    """One answer that is none."""

    status: int = 200
    description: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    reset: bool = False
    """The connection is broken off without a word."""
    seconds: float = 0.0
    """It takes so long; then, with status 200, it succeeds."""
    garbled: bool = False
    """It succeeds, and its answer breaks off in the middle."""


OK = Fault()
RESET = Fault(reset=True)
BAD_GATEWAY = Fault(502, "Bad Gateway")
SERVER_ERROR = Fault(500, "Internal Server Error")
BLOCKED = Fault(403, "Forbidden: bot was blocked by the user")
NO_CHAT = Fault(400, "Bad Request: chat not found")
BAD_BUTTON = Fault(400, "Bad Request: BUTTON_DATA_INVALID")
NO_TOKEN = Fault(401, "Unauthorized")
GARBLED = Fault(garbled=True)


def too_many(seconds: int) -> Fault:
    """Flood control."""
    return Fault(429, f"Too Many Requests: retry after {seconds}", {"retry_after": seconds})


def slow(seconds: float) -> Fault:
    """A late success."""
    return Fault(seconds=seconds)


@dataclass(frozen=True)
class Call:
    """One call, as it came."""

    method: str
    values: dict[str, Any]
    token: str
    moment: float


class BotApi:
    """The server. Use as a context manager."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.faults: dict[str, list[Fault]] = defaultdict(list)
        """method -> what happens at its next calls; afterwards it works."""
        self.chat_faults: dict[int, list[Fault]] = defaultdict(list)
        """chat -> the same for messages to it."""
        self.updates: list[dict[str, Any]] = []
        """What getUpdates has for us."""
        self._numbers = itertools.count(1000)
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                api._answer(self)

            def log_message(self, *arguments: Any) -> None:
                return None

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *arguments: None  # type: ignore[method-assign]
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> BotApi:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()

    # --- what tests ask -----------------------------------------------------------------------------

    def of(self, method: str, chat: int | None = None) -> list[dict[str, Any]]:
        """The values of all calls of a method, in order."""
        with self._lock:
            return [
                call.values
                for call in self.calls
                if call.method == method and chat in (None, call.values.get("chat_id"))
            ]

    def texts(self, chat: int | None = None) -> list[str]:
        """What was sent."""
        return [values["text"] for values in self.of("sendMessage", chat)]

    def methods(self) -> list[str]:
        """All calls in order, without "typing"."""
        with self._lock:
            return [call.method for call in self.calls if call.method != "sendChatAction"]

    def wait_for(self, method: str, count: int = 1, seconds: float = 10.0) -> list[dict[str, Any]]:
        """Wait until a method was called so often."""
        deadline = time.monotonic() + seconds
        while len(self.of(method)) < count:
            if time.monotonic() > deadline:
                raise AssertionError(f"{method} was called {len(self.of(method))} times, not {count}: {self.methods()}")
            time.sleep(0.01)
        return self.of(method)

    # --- the server ---------------------------------------------------------------------------------

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0)).decode()
        token, _, method = handler.path.removeprefix("/bot").partition("/")
        values = {name: _value(found[-1]) for name, found in parse_qs(body, keep_blank_values=True).items()}
        with self._lock:
            self.calls.append(Call(method, values, token, time.monotonic()))
            waiting = self.chat_faults[values["chat_id"]] if method == "sendMessage" else []
            waiting = waiting or self.faults[method]
            fault = waiting.pop(0) if waiting else OK
        if fault.seconds:
            self._stopped.wait(fault.seconds)
        if fault.reset:
            # RST instead of FIN: as a machine that dies.
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            handler.connection.close()
            handler.close_connection = True
            return
        if fault.status != 200:
            made: dict[str, Any] = {"ok": False, "error_code": fault.status, "description": fault.description}
            if fault.parameters:
                made["parameters"] = fault.parameters
        else:
            made = {"ok": True, "result": self._result(method, values)}
        sent = json.dumps(made).encode()
        if fault.garbled:
            sent = sent[:-20]
        handler.send_response(fault.status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(sent)))
        handler.end_headers()
        handler.wfile.write(sent)

    def _result(self, method: str, values: dict[str, Any]) -> Any:
        if method == "getUpdates":
            offset, until = values.get("offset") or 0, time.monotonic() + min(values.get("timeout") or 0, 0.2)
            while True:
                found = [update for update in self.updates if update["update_id"] >= offset]
                if found or time.monotonic() > until:
                    return found[:100]
                self._stopped.wait(0.02)
        if method == "sendMessage":
            chat = {"id": values["chat_id"], "type": "private", "first_name": "Resident"}
            return {"message_id": next(self._numbers), "date": 1795348800, "chat": chat, "text": values["text"]}
        return True


def _value(text: str) -> Any:
    """Numbers, lists and objects come as JSON in a form's field; texts as they are."""
    if text[:1] in "[{" or text.lstrip("-").isdigit() or text in ("true", "false"):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text
