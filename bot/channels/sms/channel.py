"""SMS and WhatsApp by Twilio: POST /webhooks/sms and POST /webhooks/sms/status.

    signature -> form -> Message -> desk -> one text -> TwiML in the response

The response is the answer, and it comes only when the turn is kept: what Twilio got no answer to it sends again
(docs/operators.md has the settings for that), and the repeat gets the same text.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from rasa.core.channels.channel import InputChannel, UserMessage
from sanic import Blueprint
from sanic.request import Request
from sanic.response import HTTPResponse, empty, raw, text
from twilio.request_validator import RequestValidator

from bot.assistant import incident
from bot.channels import shape
from bot.channels.sms import incoming, status, twiml
from bot.channels.sms.client import TwilioClient
from bot.channels.sms.deletions import WITHOUT_RECEIPT, Deletions
from bot.channels.sms.signature import HEADER, Form, InvalidBody, Refused, verified
from bot.desk import Desk, Message
from bot.privacy.logs import event
from bot.settings import Twilio

logger = logging.getLogger(__name__)
PREFIX = "/webhooks/sms"
STATUS = "/status"
SECONDS = 13.0
"""Then the failure text: Twilio waits 15 (https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides)."""
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class SmsChannel(InputChannel):
    """Answers what Twilio brings."""

    def __init__(self, desk: Desk, own: Twilio, public_url: str, deletions: Deletions | None = None):
        """
        Args:
            desk: answers.
            own: account, token, number and choices of the operator.
            public_url: how Twilio reaches this server; part of what it signs.
            deletions: made from `own` when left out and TWILIO_DELETE_AFTER is set.
        """
        self.desk = desk
        self.own = own
        self.public_url = public_url
        self.status_address = f"{public_url}{PREFIX}{STATUS}"
        self.validator = RequestValidator(own.token)
        if deletions is None and own.delete_after:
            deletions = Deletions(TwilioClient(own, self.status_address), own.delete_after)
        self.deletions = deletions
        # What is said when not even a message could be made of the form; read now, so that it is there.
        self._failure = twiml.response(desk.assistant.words.line("phrase/failure", "en"))
        self._under_way: set[asyncio.Task[Any]] = set()
        self._told_of_opt_out = False

    @classmethod
    def name(cls) -> str:
        """As channels are named everywhere."""
        return "sms"

    def url_prefix(self) -> str:
        """Absolute, so that Rasa's /webhooks is not in front."""
        return PREFIX

    async def start(self) -> None:
        """Begin to delete what is to be deleted."""
        if self.deletions:
            self.deletions.start()

    async def stop(self) -> None:
        """Delete what can still be deleted."""
        if self.deletions:
            await self.deletions.stop()

    # --- receive ----------------------------------------------------------------------------------

    def _form(self, request: Request) -> Form:
        """The form, once it is known to be Twilio's.

        Raises:
            Refused, InvalidBody
        """
        query = f"?{request.query_string}" if request.query_string else ""
        return verified(
            self.validator,
            f"{self.public_url}{request.path}{query}",
            request.headers.get(HEADER),
            request.headers.get("Content-Type", ""),
            request.body or b"",
        )

    async def _message(self, form: Form) -> str:
        """The TwiML that answers a verified form.

        Raises:
            InvalidBody
        """
        message: Message | None = None
        try:
            try:
                message = incoming.read(form, self.own.opt_out)
            except incoming.OtherSender:
                event(logger, logging.WARNING, "SMS: a message from a kind of sender that is not served is ignored")
                return twiml.response("")
            self._tell_of_opt_out(form)
            return await self._answered(message)
        except InvalidBody:
            raise
        except Exception as error:
            incident(error, "while answering an SMS")
            try:
                return twiml.response(twiml.joined(self.desk.failed(message).replies)) if message else self._failure
            except Exception as worse:
                incident(worse, "while saying that an SMS could not be answered")
                return self._failure
        finally:
            if self.deletions and message and message.id:
                self.deletions.add(message.id)

    async def _answered(self, message: Message) -> str:
        """The desk's answer, or the failure text when it takes too long; the turn itself is not broken off."""
        turn = asyncio.ensure_future(self.desk.answer(message))
        self._under_way.add(turn)
        turn.add_done_callback(self._under_way.discard)
        try:
            answer = await asyncio.wait_for(asyncio.shield(turn), SECONDS)
        except asyncio.TimeoutError as error:
            incident(error, "while waiting for an answer to an SMS")
            answer = self.desk.failed(message)
        opening = shape.opening(answer.replies, self.desk.assistant.words)
        return twiml.response(twiml.joined(answer.replies), self.status_address, opening)

    def _tell_of_opt_out(self, form: Form) -> None:
        """Once: the operator's setting and Twilio's do not agree."""
        if self.own.opt_out == "app" and form.value("OptOutType") and not self._told_of_opt_out:
            self._told_of_opt_out = True
            event(
                logger,
                logging.WARNING,
                'SMS_OPT_OUT is app, but Twilio answers STOP, START or HELP itself; set it to twilio (docs/operators.md, "SMS and WhatsApp")',
            )

    async def _status(self, form: Form) -> None:
        """Count a delivery, and note when the message can go.

        Raises:
            InvalidBody
        """
        told = status.read(form)
        if told.final:
            await self.desk.delivered(told.channel, told.status, told.code)
        if self.deletions and (told.final or told.status == status.SENT):
            self.deletions.add(told.id, 0.0 if told.final else WITHOUT_RECEIPT)

    # --- HTTP -------------------------------------------------------------------------------------

    def blueprint(self, on_new_message: Callable[[UserMessage], Awaitable[Any]]) -> Blueprint:
        """The routes. `on_new_message` is Rasa's way in; ours goes by the desk, which has the same model."""
        routes = Blueprint("sms")

        async def handled(request: Request, call: Callable[[Form], Awaitable[HTTPResponse]]) -> HTTPResponse:
            try:
                form = self._form(request)
            except (Refused, InvalidBody) as error:
                return _refused(error)
            except Exception as error:
                incident(error, "while looking at the signature of an SMS")
                return _refused(Refused())
            try:
                return await call(form)
            except InvalidBody as error:
                return _refused(error)

        @routes.post("/")
        async def receive(request: Request) -> HTTPResponse:
            async def answer(form: Form) -> HTTPResponse:
                made = await self._message(form)
                return raw(made.encode(), content_type=twiml.CONTENT_TYPE, headers=HEADERS)

            return await handled(request, answer)

        @routes.post(STATUS)
        async def receive_status(request: Request) -> HTTPResponse:
            async def note(form: Form) -> HTTPResponse:
                try:
                    await self._status(form)
                except InvalidBody:
                    raise
                except Exception as error:
                    incident(error, "while noting what became of an SMS")
                return empty(204, headers=HEADERS)

            return await handled(request, note)

        return routes


def _refused(error: Refused | InvalidBody) -> HTTPResponse:
    """403 for what is not shown to be Twilio's, 400 for what is no message; nothing of it comes back."""
    if isinstance(error, Refused):
        event(
            logger,
            logging.WARNING,
            "SMS: a request was refused: {error}. From Twilio? Then see PUBLIC_URL and TWILIO_AUTH_TOKEN (docs/operators.md)",
            error=type(error),
        )
        return text("refused", status=403, headers=HEADERS)
    event(logger, logging.WARNING, "SMS: a request was refused: {error}", error=type(error))
    return text("bad request", status=400, headers=HEADERS)
