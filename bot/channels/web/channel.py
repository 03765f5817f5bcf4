"""The website chat's server side: /chat, /chat/basic, /chat/v1/messages, /chat/v1/end, /chat/loader.

The wire fields are those of bot.nlg.Reply. A session is a token that the server makes at the first message; it
travels in bodies only and is kept nowhere: the conversation stands under a pseudonym of it.
"""

from __future__ import annotations

import gzip
import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import brotli
from rasa.core.channels.channel import InputChannel, UserMessage
from sanic import Blueprint
from sanic.exceptions import PayloadTooLarge
from sanic.request import Request
from sanic.response import HTTPResponse, empty, raw, text

from bot.assistant import notice
from bot.channels.web import build
from bot.channels.web.network import Network, network
from bot.channels.web.sessions import Sessions
from bot.desk import Answer, Desk, Message, Result
from bot.privacy.limits import NETWORK, Limiter
from bot.words import LANGUAGES

_ID = re.compile(r"^[A-Za-z0-9_.-]{1,64}$")
_KINDS = ("application/json", "text/plain")
"""Of bodies: text/plain is what sendBeacon sends, and what needs no preflight (https://fetch.spec.whatwg.org/#simple-header)."""
MOST_FIELDS = 20
WORTH_PACKING = 400
"""Bytes from which compressing a reply saves more than it takes."""

HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Permissions-Policy": (
        "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), hid=(), magnetometer=(), "
        "microphone=(), midi=(), payment=(), publickey-credentials-get=(), screen-wake-lock=(), serial=(), usb=()"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
}
DATA_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
"""Of what only scripts read; every byte of it is sent with every turn."""


class BadRequest(ValueError):
    """What the caller sent cannot be used; answered with 400 and nothing of it."""


@dataclass(frozen=True)
class Said:
    """A message, checked field by field."""

    text: str
    id: str
    session: str | None = None
    button: str | None = None
    chosen: str | None = None
    """Language picked on the page since the last message."""
    hint: str | None = None
    """Language of the page."""


def wanted_language(asked: str, accepted: str) -> str:
    """From ?l=, else from what the browser prefers, else English.

    >>> wanted_language("", "fr-HT;q=0.9, es;q=0.95"), wanted_language("ht-HT", "en"), wanted_language("de", "*")
    ('es', 'ht', 'en')
    """
    code = asked.lower().partition("-")[0]
    if code in LANGUAGES:
        return code
    preferred: list[tuple[float, str]] = []
    for part in accepted.lower().split(","):
        name, _, rest = part.partition(";")
        weight = re.match(r"\s*q=([0-9.]{1,5})\s*$", rest)
        try:
            preferred.append((-float(weight.group(1)) if weight else -1.0, name.strip().partition("-")[0]))
        except ValueError:
            continue
    for weight_below, code in sorted(preferred, key=lambda item: item[0]):
        # Phones of Haitians are often set to French: Creole is not on every phone's list.
        code = "ht" if code == "fr" else code
        if weight_below < 0 and code in LANGUAGES:
            return code
    return "en"


def accepts(header: str, coding: str) -> bool:
    """Whether an Accept-Encoding header takes a coding.

    >>> accepts("gzip, deflate, br", "br"), accepts("gzip;q=1, br;q=0", "br"), accepts("", "gzip")
    (True, False, False)
    """
    for part in header.lower().split(","):
        name, _, rest = part.partition(";")
        if name.strip() == coding:
            return not re.match(r"\s*q=0(\.0*)?\s*$", rest)
    return False


def _squeezed(request: Request, data: bytes) -> tuple[bytes, str | None]:
    """A body that is made for one request, compressed as the browser takes it: the bytes, and how."""
    taken = request.headers.get("accept-encoding", "")
    if len(data) >= WORTH_PACKING and accepts(taken, "br"):
        return brotli.compress(data, mode=brotli.MODE_TEXT, quality=6), "br"
    if len(data) >= WORTH_PACKING and accepts(taken, "gzip"):
        return gzip.compress(data, 6), "gzip"
    return data, None


class WebChannel(InputChannel):
    """Serves the chat."""

    def __init__(
        self,
        desk: Desk,
        origins: Sequence[str] = (),
        proxies: Sequence[Network] = (),
        limiter: Limiter | None = None,
    ):
        """
        Args:
            desk: answers.
            origins: sites that may frame the chat (CHAT_ORIGINS).
            proxies: our own proxies, whose X-Forwarded-For is believed (TRUSTED_PROXIES).
            limiter: per network; the usual one when left out.
        """
        self.desk = desk
        self.words = desk.assistant.words
        self.sessions = Sessions(desk.pseudonyms)
        self._limiter = limiter or Limiter(NETWORK)
        self._proxies = proxies
        self._key = secrets.token_bytes(32)
        self._ancestors = " ".join(origins) or "'none'"
        self._own_words = {code: build.page_words(self.words, code) for code in LANGUAGES}
        self._loader = build.loader()
        self._pages = {code: self._ready(build.chat_document(self.words, code)) for code in LANGUAGES}

    @classmethod
    def name(cls) -> str:
        """As channels are named everywhere."""
        return "web"

    def url_prefix(self) -> str:
        """Absolute, so that Rasa's /webhooks is not in front."""
        return "/chat"

    # --- the conversation -----------------------------------------------------------------------

    async def converse(self, said: Said, network: str) -> tuple[Answer, str]:
        """One turn: the answer, and the session's token.

        Args:
            network: where the message comes from; in memory, for this message and its limit.
        """
        token = self.sessions.token(said.session, said.id)
        # The page numbers its messages; only together with the session is that an id.
        message = Message("web", token, said.text, f"{token}/{said.id}", said.button, said.chosen, said.hint)
        name = hmac.new(self._key, network.encode(), hashlib.sha256).hexdigest()
        if self.desk.repeats and not self._limiter.passes(name):
            return await self.desk.refused(message, self._limiter.wait(name)), token
        answer = await self.desk.answer(message)
        if self.sessions.has_ended(token):
            # The page was left while this was being answered.
            await self.desk.end("web", token)
        return answer, token

    async def end(self, session: str | None, message_id: str | None) -> None:
        """Forget a conversation; where its first answer has not come yet, the page only knows its own id."""
        token = session if self.sessions.known(session) else self.sessions.first(message_id or "")
        if token:
            self.sessions.end(token)
            await self.desk.end("web", token)

    # --- HTTP -----------------------------------------------------------------------------------

    def _ready(self, document: build.Document) -> tuple[build.Packed, dict[str, str]]:
        return build.Packed.of(document.body), self._page_headers(document)

    def _page_headers(self, document: build.Document) -> dict[str, str]:
        return {
            **HEADERS,
            "Content-Security-Policy": document.policy.replace("{ancestors}", self._ancestors),
            "Vary": "Accept-Encoding, Accept-Language",
        }

    @staticmethod
    def _packed(
        request: Request, body: build.Packed, headers: Mapping[str, str], kind: str = "text/html"
    ) -> HTTPResponse:
        taken = request.headers.get("accept-encoding", "")
        coding = next((coding for coding in ("br", "gzip") if accepts(taken, coding)), None)
        return raw(
            getattr(body, coding) if coding else body.plain,
            content_type=f"{kind}; charset=utf-8",
            headers={**headers, "Content-Encoding": coding} if coding else dict(headers),
        )

    @staticmethod
    def _json(request: Request, body: dict[str, Any], status: int = 200) -> HTTPResponse:
        # Compressing is safe here: a reply holds a secret, the session, but nothing that the sender chose (BREACH,
        # https://www.breachattack.com). The page without scripts repeats what was said, and goes as it is.
        data, coding = _squeezed(request, json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode())
        headers = {**DATA_HEADERS, "Content-Encoding": coding} if coding else dict(DATA_HEADERS)
        if body.get("retry_after"):
            headers["Retry-After"] = str(body["retry_after"])
        return raw(data, status=status, content_type="application/json; charset=utf-8", headers=headers)

    def _refused(self, request: Request, error: str, status: int, messages: Sequence[Any] = ()) -> HTTPResponse:
        replies = [{"id": f"m{number}", **reply.as_dict()} for number, reply in enumerate(messages, 1)]
        return self._json(request, {"v": 1, "error": error, "messages": replies}, status)

    def _network(self, request: Request) -> str:
        return network(request.ip or "", request.headers.getall("x-forwarded-for", []), self._proxies)

    def _language(self, request: Request) -> str:
        return wanted_language(request.args.get("l", ""), request.headers.get("accept-language", ""))

    @staticmethod
    def _check_site(request: Request) -> None:
        """Only our own pages post here. Old browsers do not say; there is no cookie that another site could use."""
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            raise BadRequest("origin")

    @classmethod
    def _body(cls, request: Request) -> dict[str, Any]:
        """The JSON object that was sent.

        Raises:
            BadRequest: naming what is wrong.
        """
        cls._check_site(request)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in _KINDS:
            raise BadRequest("content-type")
        try:
            body = json.loads(request.body or b"")
        except (ValueError, RecursionError):
            raise BadRequest("body") from None
        if not isinstance(body, dict):
            raise BadRequest("body")
        return body

    @classmethod
    def _said(cls, request: Request) -> Said:
        """The message that was sent, checked field by field.

        Raises:
            BadRequest: naming the field.
        """
        body = cls._body(request)
        for name, kinds in (
            ("text", (str,)),
            ("id", (str,)),
            ("session", (str, type(None))),
            ("button", (str, type(None))),
        ):
            if not isinstance(body.get(name), kinds):
                raise BadRequest(name)
        if not _ID.match(body["id"]) or len(body.get("button") or "") > 64:
            raise BadRequest("id")
        chosen, hint = (body.get(name) if body.get(name) in LANGUAGES else None for name in ("lang", "hint"))
        # Half of a pair of signs, which no UTF-8 can hold.
        said = body["text"].encode("utf-8", "replace").decode()
        return Said(said, body["id"], body.get("session"), body.get("button"), chosen, hint)

    def blueprint(self, on_new_message: Callable[[UserMessage], Awaitable[Any]]) -> Blueprint:
        """The routes. `on_new_message` is Rasa's way in; ours goes by the desk, which has the same model."""
        routes = Blueprint("chat")

        @routes.get("/")
        async def page(request: Request) -> HTTPResponse:
            return self._packed(request, *self._pages[self._language(request)])

        @routes.get("/loader/<name>")
        async def loader(request: Request, name: str) -> HTTPResponse:
            if name != f"{self._loader.version}.js":
                return text("not found", status=404, headers=HEADERS)
            headers = {
                # Its address holds its hash: what is under it never changes.
                "Cache-Control": "public, max-age=31536000, immutable",
                # Integrity is checked only of what may be read (https://www.w3.org/TR/SRI/#cross-origin-data-leakage).
                "Access-Control-Allow-Origin": "*",
                "Cross-Origin-Resource-Policy": "cross-origin",
                "X-Content-Type-Options": "nosniff",
                "Vary": "Accept-Encoding",
            }
            return self._packed(request, build.Packed.of(self._loader.body.decode()), headers, "text/javascript")

        @routes.post("/v1/messages")
        async def messages(request: Request) -> HTTPResponse:
            try:
                said = self._said(request)
            except BadRequest:
                return self._refused(request, "bad_request", 400)
            answer, token = await self.converse(said, self._network(request))
            body: dict[str, Any] = {
                "v": 1,
                "session": token,
                "expires_in": self.words.hours * 3600,
                "lang": answer.language,
                "messages": [{"id": f"m{number}", **reply.as_dict()} for number, reply in enumerate(answer.replies, 1)],
            }
            if answer.result in (Result.LIMITED, Result.BUSY):
                error = "rate" if answer.result is Result.LIMITED else "busy"
                return self._json(request, {**body, "error": error, "retry_after": answer.wait}, 429)
            return self._json(request, body)

        @routes.post("/v1/end")
        async def end(request: Request) -> HTTPResponse:
            try:
                body = self._body(request)
            except BadRequest:
                return self._refused(request, "bad_request", 400)
            session, message_id = body.get("session"), body.get("id")
            if not isinstance(session, str | None) or not isinstance(message_id, str | None):
                return self._refused(request, "bad_request", 400)
            await self.end(session, message_id)
            return empty(204, headers=DATA_HEADERS)

        @routes.get("/basic")
        async def basic(request: Request) -> HTTPResponse:
            return self._basic_page(request, self._language(request))

        @routes.post("/basic")
        async def basic_said(request: Request) -> HTTPResponse:
            try:
                self._check_site(request)
                form = dict(
                    parse_qsl(
                        request.body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MOST_FIELDS
                    )
                )
            except ValueError:
                return text("error", status=400, headers=HEADERS)
            return await self._basic_turn(request, form)

        @routes.exception(PayloadTooLarge)
        async def too_large(request: Request, error: Exception) -> HTTPResponse:
            language = self._language(request)
            reply = self.desk.assistant.render([notice("phrase/too_long", language)])[0]
            if request.path.startswith("/chat/v1/"):
                return self._refused(request, "too_long", 413, [reply])
            return self._basic_page(request, language, build.entry(reply, self._own_words[reply.language]), status=413)

        return routes

    # --- the page without scripts -----------------------------------------------------------------

    async def _basic_turn(self, request: Request, form: Mapping[str, str]) -> HTTPResponse:
        language = form["l"] if form.get("l") in LANGUAGES else self._language(request)
        session = form.get("session") or None
        if form.get("restart"):
            await self.end(session, None)
            return self._basic_page(request, language)
        message = form.get("say") or form.get("text") or ""
        button = form.get("button") or None
        if not (message.strip() or button):
            return self._basic_page(request, language, session=session or "")
        message_id = form.get("id", "")
        said = Said(
            "" if button else message,
            message_id if _ID.match(message_id) else secrets.token_hex(8),
            session,
            button[:64] if button else None,
            hint=language,
        )
        answer, token = await self.converse(said, self._network(request))
        spoken = answer.language if answer.language in LANGUAGES else language
        log = "" if button else build.said(message)
        log += "".join(build.entry(reply, self._own_words[reply.language]) for reply in answer.replies)
        if not answer.replies:
            log += build.told(self._own_words[spoken]["page_busy"])
        status = 429 if answer.result in (Result.LIMITED, Result.BUSY) else 200
        return self._basic_page(request, spoken, log, token, status)

    def _basic_page(
        self, request: Request, language: str, log: str = "", session: str = "", status: int = 200
    ) -> HTTPResponse:
        # With a first message this id begins a session of its own; a reload of its answer finds the same one again.
        message_id = f"{secrets.token_hex(16)}-1"
        document = build.basic_document(self.words, language, log, session, message_id)
        headers = self._page_headers(document)
        body, coding = document.body.encode(), None
        if not log:
            body, coding = _squeezed(request, body)
        return raw(
            body,
            status=status,
            content_type="text/html; charset=utf-8",
            headers={**headers, "Content-Encoding": coding} if coding else headers,
        )
