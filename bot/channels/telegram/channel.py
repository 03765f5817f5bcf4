"""Telegram's side of the service: POST /webhooks/telegram, or asking Telegram for updates where no webhook can reach us.

    secret token -> body -> step (updates.py) -> desk -> messages (send.py) -> kept as delivered -> 200

The desk keeps a turn before it is sent. What happens then, so that nothing is lost and nothing doubled:

    sending fails       503, and Telegram brings the update again: the desk renders the same replies, and those are sent that
                        were not yet. Telegram holds back this chat's next updates meanwhile, so that order stays.
    killed in between   the same, from the first message on: one may arrive twice
    sent                kept under the update's name; an update that comes once more is answered with 200 and nothing else
    wrong for Telegram  200: it would be refused the next time too, and hold up everything that this chat says for a day

Of python-telegram-bot its Bot and its types are used, not its Application: that takes an update and says nothing of how it went,
and 200 is only said when it went well. No handler, queue or get_me stands between; each update costs the calls that answer it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import logging
import math
import sys
import time
import warnings
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from rasa.core.channels.channel import InputChannel, UserMessage
from sanic import Blueprint
from sanic.exceptions import PayloadTooLarge
from sanic.request import Request
from sanic.response import HTTPResponse, text
from telegram import Bot, BotCommandScopeAllPrivateChats
from telegram.constants import ChatAction
from telegram.error import BadRequest, Conflict, InvalidToken, RetryAfter, TelegramError
from telegram.request import HTTPXRequest

from bot.assistant import incident
from bot.channels.telegram import commands, updates
from bot.channels.telegram.send import LONGEST, Outcome, Sender, parts, refused, seconds, units
from bot.channels.telegram.updates import Do, Step
from bot.desk import Desk, Message, Result
from bot.privacy.limits import Limit, Limiter
from bot.privacy.logs import event
from bot.queues import Busy, Queues
from bot.settings import Telegram
from bot.words import MissingWords

logger = logging.getLogger(__name__)
PATH = "/webhooks/telegram"
SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"  # noqa: S105 - the header's name
"""https://core.telegram.org/bots/api#setwebhook"""
CONNECTIONS = 40
"""How many updates Telegram brings at the same time (max_connections, 1 to 100); what it waits for is Telegram itself."""
MOST_BYTES = 131_072
"""Of an authentic update. Telegram writes each letter beyond ASCII with 6 bytes, an emoji with 12, and repeats the message that is
answered: 4096 signs and a reply exceed the 16 KB of all other requests, and an update that is refused is brought again for a day,
before anything else that this person says. Beyond 16 KB it must be one that Telegram can carry: see `_too_large`."""
SECONDS = 15.0
"""After so long no further attempt to send begins. With the longest call (connect and read: 13 s) that is within the server's 30 s,
and the 60 s that Telegram waits for a webhook (telegram-bot-api, WebhookActor.cpp)."""
CONNECT_SECONDS, READ_SECONDS = 3.0, 10.0
TYPING_SECONDS = 4.0
""" "Typing" stays for 5 s (https://core.telegram.org/bots/api#sendchataction)."""
TYPING_PATIENCE = 0.3
"""So long an answer waits for "typing" to be out, that it may not appear behind it."""
POLL_SECONDS = 25
"""How long Telegram holds a getUpdates without updates."""
BACKOFF = (2.0, 5.0, 15.0, 60.0, 300.0)
"""Seconds between attempts to register, or to poll, the last one from then on."""
REMEMBERED = 2000
"""Updates, albums and chats that this process remembers at most."""
ALL = sys.maxsize
"""All messages of an update are out."""
ONCE_AN_HOUR = (Limit(1, 3600.0),)


class Told(Enum):
    """What Telegram is told at the start, as a log names it."""

    WEBHOOK = "PUBLIC_URL as webhook"
    NO_WEBHOOK = "the end of a webhook"
    COMMANDS = "the commands"


@dataclass(frozen=True)
class Reaction:
    """What the caller gets: Telegram's webhook, or our own polling."""

    status: int
    said: str
    wait: float = 0.0
    """Seconds after which the update may be brought again; sent as Retry-After, which Telegram obeys."""

    @property
    def done(self) -> bool:
        """Whether the update need not come again."""
        return self.status < 500


def quiet() -> None:
    """Keep other packages from logging what they know: httpx's INFO lines hold addresses with the token, and the errors of
    python-telegram-bot hold what Telegram sent (a resident's name and text) or, for a refused token, the token."""
    logging.getLogger("httpx").setLevel(logging.WARNING)
    logging.getLogger("httpcore").setLevel(logging.WARNING)
    logging.getLogger("telegram").setLevel(logging.CRITICAL + 1)
    # It would rather parse updates itself, all or none of them.
    warnings.filterwarnings("ignore", message="Please use 'Bot.getUpdates'")


def _remember(kept: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > REMEMBERED:
        kept.popitem(last=False)


class TelegramChannel(InputChannel):
    """Answers on Telegram."""

    def __init__(self, desk: Desk, own: Telegram, public_url: str = ""):
        """
        Args:
            desk: answers.
            own: token, secret token, and the Bot API's address.
            public_url: where Telegram reaches us; empty: we ask it.
        """
        quiet()
        self.desk = desk
        self.words = desk.assistant.words
        self.public_url = public_url
        self._secret = own.secret_token.encode() if public_url else b""
        self._requests = [
            HTTPXRequest(read_timeout=READ_SECONDS, connect_timeout=CONNECT_SECONDS, pool_timeout=CONNECT_SECONDS)
            for _ in range(2)
        ]
        # Not initialised: that would ask Telegram who we are, and put the token into the error when it refuses.
        self.bot = Bot(
            own.token,
            base_url=f"{own.api}/bot",
            request=self._requests[0],
            get_updates_request=self._requests[1],
        )
        self.sender = Sender(self.bot)
        self._sending = Queues(CONNECTIONS)
        self._out: OrderedDict[int, int] = OrderedDict()
        """update_id -> how many of its messages are out."""
        self._albums: OrderedDict[str, int] = OrderedDict()
        """album -> the update that is answered for it."""
        self._silent: OrderedDict[str, None] = OrderedDict()
        """Chats (pseudonyms) that got no answer last time: no "typing" for them either."""
        self._declined = Limiter(ONCE_AN_HOUR)
        self._tasks: set[asyncio.Task[Any]] = set()

    @classmethod
    def name(cls) -> str:
        """As channels are named everywhere."""
        return "telegram"

    def url_prefix(self) -> str:
        """Absolute, so that Rasa's /webhooks is not in front."""
        return PATH

    # --- the server's life ------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to receive; what Telegram must be told is told beside, so that the server starts without it too."""
        self._spawn(self._register() if self.public_url else self._poll())

    async def stop(self) -> None:
        """Let go of tasks and connections. What is not out yet is brought again."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for request in self._requests:
            await request.shutdown()

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _register(self) -> None:
        """Once per start: where updates go, which ones, and the menus of commands."""
        url = f"{self.public_url}{PATH}"
        await self._insist(
            Told.WEBHOOK,
            lambda: self.bot.set_webhook(
                url,
                secret_token=self._secret.decode(),
                allowed_updates=updates.HANDLED,
                max_connections=CONNECTIONS,
                drop_pending_updates=False,
            ),
        )
        await self._set_commands()

    async def _set_commands(self) -> None:
        scope = BotCommandScopeAllPrivateChats()
        for code, language in commands.MENUS.items():
            menu = commands.menu(language, self.words)
            await self._insist(
                Told.COMMANDS,
                # Bound now: the loop goes on.
                lambda menu=menu, code=code: self.bot.set_my_commands(menu, scope, language_code=code),  # type: ignore[misc]
            )

    async def _insist(self, what: Told, call: Callable[[], Awaitable[Any]]) -> bool:
        """A call that is not about a message, until it went through; False when Telegram refuses it for good."""
        attempts = 0
        while True:
            try:
                await call()
                return True
            except InvalidToken:
                refused()
                return False
            except BadRequest as error:
                incident(
                    error,
                    'while registering: Telegram does not take {what} (docs/operators.md, "Telegram")',
                    what=what,
                )
                return False
            except RetryAfter as error:
                wait = seconds(error)
            except Exception as error:
                wait = BACKOFF[min(attempts, len(BACKOFF) - 1)]
                incident(
                    error,
                    "while registering with Telegram ({what}); it is tried again in {seconds} s",
                    what=what,
                    seconds=round(wait),
                )
            attempts += 1
            await asyncio.sleep(wait)

    # --- receiving ----------------------------------------------------------------------------------

    def blueprint(self, on_new_message: Callable[[UserMessage], Awaitable[Any]]) -> Blueprint:
        """The route. `on_new_message` is Rasa's way in; ours goes by the desk, which has the same model."""
        routes = Blueprint("telegram")

        # A streaming route: nothing of the body is read before the header is known to be Telegram's.
        @routes.post("/", stream=True)
        async def receive(request: Request) -> HTTPResponse:
            if not self._authentic(request.headers.get(SECRET_HEADER, "")):
                return text("forbidden", status=403)
            if request.stream:
                request.stream.request_max_size = MOST_BYTES
            try:
                await asyncio.wait_for(request.receive_body(), request.app.config.REQUEST_TIMEOUT)
            except asyncio.TimeoutError:
                return text("timeout", status=408)
            try:
                data = json.loads(request.body)
            except (ValueError, RecursionError):
                data = None
            step = updates.read(data)
            if len(request.body) > request.app.config.REQUEST_MAX_SIZE and self._too_large(step):
                raise PayloadTooLarge("")
            if step is None:
                return text("no update", status=400)
            reaction = await self.take(step)
            headers = {"Retry-After": str(math.ceil(reaction.wait))} if reaction.wait else {}
            return text(reaction.said, status=reaction.status, headers=headers)

        return routes

    def _authentic(self, header: str) -> bool:
        """Whether Telegram sent it. Without a secret token (polling) nobody is let in."""
        return hmac.compare_digest(header.encode("utf-8", "surrogateescape"), self._secret) and bool(self._secret)

    @staticmethod
    def _too_large(step: Step | None) -> bool:
        """Whether a large body is none that Telegram can carry; twice its longest text leaves room for a longer one."""
        return step is None or units(step.text) > 2 * LONGEST

    async def _poll(self) -> None:
        """Ask for updates: for a machine that Telegram cannot reach. Takes the same path as the webhook."""
        if not await self._insist(Told.NO_WEBHOOK, lambda: self.bot.delete_webhook(drop_pending_updates=False)):
            return
        self._spawn(self._set_commands())
        offset, failures = 0, 0
        while True:
            try:
                got = await self._updates(offset)
                failures = 0
            except InvalidToken:
                return refused()
            except RetryAfter as error:
                await asyncio.sleep(seconds(error))
                continue
            except Conflict:
                event(
                    logger,
                    logging.ERROR,
                    "Telegram is being asked for updates elsewhere too: stop the other server, or use its own bot",
                )
                await asyncio.sleep(BACKOFF[2])
                continue
            except Exception as error:
                wait = BACKOFF[min(failures, len(BACKOFF) - 1)]
                incident(
                    error, "while asking Telegram for updates; it is asked again in {seconds} s", seconds=round(wait)
                )
                failures += 1
                await asyncio.sleep(wait)
                continue
            offset, wait = await self.take_all(got, offset)
            await asyncio.sleep(wait)

    async def _updates(self, offset: int) -> list[Any]:
        """The updates from an offset on, as they come over the wire: one that cannot be read must not hide the others."""
        got = await self.bot.do_api_request(
            "getUpdates",
            {"offset": offset, "timeout": POLL_SECONDS, "allowed_updates": list(updates.HANDLED)},
            read_timeout=POLL_SECONDS + READ_SECONDS,
        )
        return got if isinstance(got, list) else []

    async def take_all(self, got: Sequence[Any], offset: int) -> tuple[int, float]:
        """Take updates that came together: each chat's in order, chats beside each other.

        Returns:
            the offset to go on from (the first that must come again, else behind the last), and seconds to wait.
        """
        chats: dict[int, list[Step]] = {}
        for data in got:
            step = updates.read(data)
            if step:
                chats.setdefault(step.chat, []).append(step)
                offset = max(offset, step.update + 1)
        failed: list[tuple[int, float]] = []

        async def follow(steps: list[Step]) -> None:
            for step in steps:
                reaction = await self.take(step)
                if not reaction.done:
                    failed.append((step.update, max(1.0, reaction.wait)))
                    return

        await asyncio.gather(*(follow(steps) for steps in chats.values()))
        if failed:
            return min(update for update, _ in failed), min(wait for _, wait in failed)
        return offset, 0.0

    # --- one update ---------------------------------------------------------------------------------

    async def take(self, step: Step) -> Reaction:
        """Do what an update asks for."""
        until = time.monotonic() + SECONDS
        if step.query:
            self._spawn(self._answer_query(step.query))
        if step.do is Do.ANSWER:
            return await self._answer(step, until)
        if step.do is Do.FORGET:
            await self.desk.end(self.name(), str(step.chat))
        elif step.do is Do.DECLINE:
            await self._decline(step, until)
        elif step.do is Do.LEAVE:
            await self._leave(step, until)
        elif step.reason.startswith(updates.MALFORMED):
            event(logger, logging.ERROR, "an update of Telegram cannot be read and is left out")
        return Reaction(200, f"{step.do.value}: {step.reason}" if step.reason else step.do.value)

    def _chat(self, chat: int) -> str:
        """A chat's name in this process's memory: its address is kept nowhere."""
        return self.desk.pseudonyms.of(self.name(), str(chat))

    async def _answer(self, step: Step, until: float) -> Reaction:
        number = str(step.update)
        known = self._out.get(step.update) == ALL
        if known or await self.desk.is_delivered(self.name(), number, str(step.chat)):
            return Reaction(200, "repeat")
        if self._is_rest_of_album(step):
            return Reaction(200, "ignore: album")
        name = self._chat(step.chat)
        async with self._typing(name, step.chat) as typed:
            answer = await self.desk.answer(
                Message(
                    self.name(),
                    str(step.chat),
                    step.text,
                    number,
                    step.button,
                    step.language,
                    step.hint,
                    step.readable,
                    edited=step.edited,
                )
            )
            if not answer.replies:
                _remember(self._silent, name, None)
                return Reaction(200, f"silence: {answer.result.value}")
            self._silent.pop(name, None)
            messages = [part for reply in answer.replies for part in parts(reply, self.words)]
            try:
                # Nothing is awaited between the desk's turn and this one: messages go out in the order of the turns.
                async with self._sending.turn(name):
                    await typed()
                    already = self._out.get(step.update, 0)
                    delivery = await self.sender.send(name, step.chat, messages[already:], until)
                    reached = delivery.outcome is Outcome.SENT
                    _remember(self._out, step.update, ALL if reached else already + delivery.sent)
            except Busy:
                return Reaction(503, "busy")
        return await self._after(step, delivery.outcome, delivery.wait, answer.result)

    async def _after(self, step: Step, outcome: Outcome, wait: float, result: Result) -> Reaction:
        number = str(step.update)
        if outcome in (Outcome.THROTTLED, Outcome.UNREACHABLE):
            return Reaction(503, outcome.value, wait)
        if outcome is Outcome.BLOCKED:
            await self.desk.end(self.name(), str(step.chat))
        await self.desk.keep_delivered(self.name(), number, str(step.chat))
        _remember(self._out, step.update, ALL)
        return Reaction(200, outcome.value if outcome is not Outcome.SENT else result.value)

    def _is_rest_of_album(self, step: Step) -> bool:
        """Whether it is one more picture of an album that is answered already. One with words is always answered."""
        if step.album is None:
            return False
        first = self._albums.get(step.album, step.update)
        _remember(self._albums, step.album, first)
        return first != step.update and not step.text.strip()

    @contextlib.asynccontextmanager
    async def _typing(self, name: str, chat: int) -> AsyncIterator[Callable[[], Awaitable[None]]]:
        """ "Typing" while an answer is being thought of. Gives what is to be awaited before sending: it ends the typing."""
        out = asyncio.Event()

        async def type_on() -> None:
            # A courtesy: where it fails once it is left at that.
            with contextlib.suppress(TelegramError):
                while True:
                    await self.bot.send_chat_action(chat, ChatAction.TYPING)
                    out.set()
                    await asyncio.sleep(TYPING_SECONDS)
            out.set()

        task = None if name in self._silent or self.sender.paused(name) else self._spawn(type_on())

        async def end() -> None:
            if task:
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(out.wait(), TYPING_PATIENCE)
                task.cancel()

        try:
            yield end
        finally:
            if task:
                task.cancel()

    async def _answer_query(self, query: str) -> None:
        """Stop the spinner on a pressed button. Too late, or not at all: the answer itself comes all the same."""
        with contextlib.suppress(TelegramError):
            await self.bot.answer_callback_query(query)

    # --- groups -------------------------------------------------------------------------------------

    async def _decline(self, step: Step, until: float) -> None:
        """Say once an hour that questions belong in private, and leave. A group is public: nothing is answered there, and
        what could not be said is not said later."""
        name = self._chat(step.chat)
        if self._declined.passes(name):
            language = step.hint or "en"
            try:
                line = self.words.line("phrase/private_only", language)
            except MissingWords:
                line = self.words.line("phrase/private_only", "en")
            await self.sender.attempt(name, lambda: self.bot.send_message(step.chat, line), until)
        await self._leave(step, until)

    async def _leave(self, step: Step, until: float) -> None:
        await self.sender.attempt(self._chat(step.chat), lambda: self.bot.leave_chat(step.chat), until)
