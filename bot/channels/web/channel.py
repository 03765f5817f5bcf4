"""The website chat's server side: /chat, /chat/basic, /chat/v1/messages, /chat/v1/end, /chat/loader.

The wire fields are those of bot.nlg.Reply. A session is a token that the server makes at the first message; it
travels in bodies only and is kept nowhere: the conversation stands under a pseudonym of it.
"""

from __future__ import annotations

import html
import json
import re
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from rasa.core.channels.channel import InputChannel, UserMessage
from sanic import Blueprint
from sanic.request import Request
from sanic.response import HTTPResponse, empty, raw, text

from bot.channels.web import build
from bot.desk import Desk, Message
from bot.words import LANGUAGES

LONGEST_TEXT = 8000
"""Characters; the page itself stops at 1000. Of more than 2,400 the assistant reads both ends (bot/nlu/safety.py)."""
_ID = re.compile(r"^[\w.-]{1,64}$")
_SESSION = re.compile(r"^[\w-]{32}$")

HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=(), interest-cohort=()",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class BadRequest(ValueError):
    """What the caller sent cannot be used; answered with 400 and nothing of it."""


def wanted_language(request: Request) -> str:
    """From ?l=, else from what the browser prefers, else English."""
    asked = request.args.get("l", "")
    if asked in LANGUAGES:
        return asked
    for part in request.headers.get("accept-language", "").lower().split(","):
        code = part.split(";")[0].strip().split("-")[0]
        if code in LANGUAGES:
            return code
        if code == "fr":
            return "ht"
    return "en"


class WebChannel(InputChannel):
    """Serves the chat."""

    def __init__(self, desk: Desk, origins: tuple[str, ...] = ()):
        """
        Args:
            desk: answers.
            origins: sites that may frame the chat (CHAT_ORIGINS).
        """
        self.desk = desk
        self.words = desk.assistant.words
        self._ancestors = " ".join(origins) or "'none'"
        self._pages = {code: build.chat_document(self.words, code) for code in LANGUAGES}

    @classmethod
    def name(cls) -> str:
        """As channels are named everywhere."""
        return "web"

    def url_prefix(self) -> str:
        """Absolute, so that Rasa's /webhooks is not in front."""
        return "/chat"

    # --- the conversation -----------------------------------------------------------------------

    async def converse(
        self,
        session: str | None,
        message_id: str,
        message: str,
        button: str | None,
        chosen: str | None,
        hint: str | None,
    ) -> dict[str, Any]:
        """One turn: the answer's body."""
        known = session is not None and _SESSION.match(session) is not None
        token = session if known and session else secrets.token_urlsafe(24)
        # The page numbers its messages; only together with the session is that an id.
        answer = await self.desk.answer(Message("web", token, message, f"{token}/{message_id}", button, chosen, hint))
        return {
            "v": 1,
            "session": token,
            "expires_in": self.words.hours * 3600,
            "lang": answer.language,
            "messages": [{"id": f"m{number}", **reply.as_dict()} for number, reply in enumerate(answer.replies, 1)],
        }

    async def end(self, session: str) -> None:
        """Forget a conversation."""
        if _SESSION.match(session):
            await self.desk.end("web", session)

    # --- HTTP -----------------------------------------------------------------------------------

    def _page(self, document: build.Document) -> HTTPResponse:
        policy = document.policy.replace("{ancestors}", self._ancestors)
        return raw(
            document.body.encode(),
            content_type="text/html; charset=utf-8",
            headers={**HEADERS, "Content-Security-Policy": policy},
        )

    @staticmethod
    def _json(body: dict[str, Any], status: int = 200) -> HTTPResponse:
        return raw(
            json.dumps(body, ensure_ascii=False).encode(),
            status=status,
            content_type="application/json; charset=utf-8",
            headers=HEADERS,
        )

    @staticmethod
    def _message(request: Request) -> dict[str, Any]:
        """The body of a message, checked field by field.

        Raises:
            BadRequest: naming the field.
        """
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            raise BadRequest("origin")
        try:
            body = json.loads(request.body or b"")
        except (ValueError, RecursionError):
            raise BadRequest("body") from None
        if not isinstance(body, dict):
            raise BadRequest("body")
        for name, kinds in (
            ("text", (str,)),
            ("id", (str,)),
            ("session", (str, type(None))),
            ("button", (str, type(None))),
        ):
            if not isinstance(body.get(name), kinds):
                raise BadRequest(name)
        for name in ("session", "button", "lang", "hint"):
            body.setdefault(name, None)
        if not _ID.match(body["id"]) or len(body.get("button") or "") > 64:
            raise BadRequest("id")
        return body

    def blueprint(self, on_new_message: Callable[[UserMessage], Awaitable[Any]]) -> Blueprint:
        """The routes. `on_new_message` is Rasa's way in; ours goes by the desk, which has the same model."""
        routes = Blueprint("chat")

        @routes.get("/")
        async def page(request: Request) -> HTTPResponse:
            return self._page(self._pages[wanted_language(request)])

        @routes.get("/loader/<name>")
        async def loader(request: Request, name: str) -> HTTPResponse:
            if name != f"{build.VERSION}.js":
                return text("", status=404)
            headers = {
                **HEADERS,
                "Cache-Control": "public, max-age=31536000, immutable",
                "Access-Control-Allow-Origin": "*",
            }
            return raw(build.loader().encode(), content_type="text/javascript; charset=utf-8", headers=headers)

        @routes.post("/v1/messages")
        async def messages(request: Request) -> HTTPResponse:
            try:
                body = self._message(request)
            except BadRequest as error:
                return self._json({"error": "bad_request", "field": str(error), "messages": []}, 400)
            chosen = body.get("lang") if body.get("lang") in LANGUAGES else None
            hint = body.get("hint") if body.get("hint") in LANGUAGES else None
            message = body["text"][:LONGEST_TEXT]
            return self._json(await self.converse(body["session"], body["id"], message, body["button"], chosen, hint))

        @routes.post("/v1/end")
        async def end(request: Request) -> HTTPResponse:
            try:
                session = json.loads(request.body or b"")["session"]
            except (ValueError, TypeError, KeyError, RecursionError):
                return self._json({"error": "bad_request", "field": "session", "messages": []}, 400)
            if isinstance(session, str):
                await self.end(session)
            return empty(204, headers=HEADERS)

        @routes.get("/basic")
        async def basic(request: Request) -> HTTPResponse:
            return self._page(build.basic_document(self.words, wanted_language(request)))

        @routes.post("/basic")
        async def basic_say(request: Request) -> HTTPResponse:
            form = request.form or {}
            message = (form.get("text") or "")[:LONGEST_TEXT]
            language = str(form.get("l")) if form.get("l") in LANGUAGES else "en"
            if not message.strip():
                return self._page(build.basic_document(self.words, language, "", form.get("session") or ""))
            body = await self.converse(
                form.get("session"), secrets.token_hex(8), message, form.get("button"), None, language
            )
            log = [f'<div class="entry own"><p>{html.escape(message)}</p></div>']
            for reply in body["messages"]:
                paragraphs = "".join(f"<p>{html.escape(part)}</p>" for part in reply["text"].split("\n\n"))
                log.append(f'<div class="entry {reply["kind"]}" lang="{reply["language"]}">{paragraphs}</div>')
            return self._page(build.basic_document(self.words, body["lang"], "".join(log), body["session"]))

        return routes
