"""From replies to messages on Telegram: shape, split, call, a typed result.

Texts go as plain text, without parse_mode: nothing in them can turn into markup. What is marked (the sources) is marked by
place (https://core.telegram.org/bots/api#messageentity).

protect_content is not set: it would keep residents from passing an answer on to family or a lawyer, and from keeping a phone
number; against somebody who holds the phone it protects nothing. Deleting the chat does, and the answers on abuse say so.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from telegram import Bot, InlineKeyboardButton, InlineKeyboardMarkup, LinkPreviewOptions, MessageEntity
from telegram.error import BadRequest, ChatMigrated, Forbidden, InvalidToken, RetryAfter, TelegramError

from bot.assistant import incident
from bot.channels.shape import opening
from bot.nlg import Reply
from bot.privacy.logs import event
from bot.words import MissingWords, Words

logger = logging.getLogger(__name__)
LONGEST = 4096
"""Of a message's text (https://core.telegram.org/bots/api#sendmessage); counted in UTF-16, as Telegram's clients do."""
LONGEST_TITLE = 40
"""Of a button: a phone shows one line and cuts the rest in the middle of a word. Bytes of its data: 1 to 64
(https://core.telegram.org/bots/api#inlinekeyboardbutton)."""
RETRIES = (0.5, 1.0, 2.0, 4.0)
"""Seconds between attempts while Telegram is not reached."""
NO_PREVIEW = LinkPreviewOptions(is_disabled=True)
"""A preview would have Telegram fetch the address, and shows pictures that nobody chose."""
URGENT = ("emergency", "crisis")

_SENTENCE = re.compile(r"[.?!][\"”»)]*\s+(?=[A-ZÀ-Þ¿¡\"“«(\d])|\n+")


class Outcome(Enum):
    """What became of a call."""

    SENT = "sent"
    BLOCKED = "blocked"
    """Forbidden: the resident has blocked the bot, or is gone."""
    THROTTLED = "throttled"
    """Telegram wants a longer pause than this request can wait."""
    UNREACHABLE = "unreachable"
    """No answer, or one that is none, after all retries. The message may have arrived all the same."""
    REJECTED = "rejected"
    """Telegram takes the request for wrong; it would be wrong the next time too."""


@dataclass(frozen=True)
class Delivery:
    """What became of a turn's messages."""

    outcome: Outcome
    sent: int
    """How many of them went out, counted from the first."""
    wait: float = 0.0
    """Seconds until it may be tried again, where Telegram said so."""


@dataclass(frozen=True)
class Part:
    """One message on Telegram."""

    text: str
    marks: tuple[MessageEntity, ...] = ()
    keyboard: InlineKeyboardMarkup | None = None


# --- shape --------------------------------------------------------------------------------------


def units(text: str) -> int:
    """The length of a text as Telegram counts it.

    >>> units("ou 👍")
    5
    """
    return len(text.encode("utf-16-le")) // 2


def split(text: str, most: int = LONGEST) -> list[str]:
    """A text in parts of at most `most` units: between paragraphs where that wastes less than half of a part, else between
    sentences, else between words.

    >>> split("Call now. Say where you are. Wait.", 20)
    ['Call now.', 'Say where you are.', 'Wait.']
    """
    parts = []
    rest = text.strip()
    while units(rest) > most:
        head = rest.encode("utf-16-le")[: 2 * most].decode("utf-16-le", "ignore")
        # One sign more, so that an end exactly at the limit is found.
        seen = rest[: len(head) + 2]
        ends = [match.end() for match in _SENTENCE.finditer(seen) if len(seen[: match.end()].rstrip()) <= len(head)]
        paragraphs = [end for end in ends if seen[:end].endswith("\n\n") and end * 2 > len(head)]
        words = [match.start() for match in re.finditer(r"\s", seen) if match.start() <= len(head)]
        end = next((found[-1] for found in (paragraphs, ends, words) if found and found[-1]), len(head))
        parts.append(rest[:end].rstrip())
        rest = rest[end:].lstrip()
    return [*parts, rest] if rest else parts


def title(text: str, most: int = LONGEST_TITLE) -> str:
    """A button's title, cut between words.

    >>> title("Immigration officers came to my workplace yesterday")
    'Immigration officers came to my…'
    """
    if len(text) <= most:
        return text
    head = text[:most]
    return head[: head.rfind(" ") if " " in head else most - 1].rstrip(" ,;:") + "…"


def keyboard(buttons: Sequence[dict[str, str]]) -> InlineKeyboardMarkup | None:
    """One button a row: thumbs are wide, and titles of three languages long."""
    if not buttons:
        return None
    return InlineKeyboardMarkup(
        [[InlineKeyboardButton(title(item["title"]), callback_data=item["id"])] for item in buttons]
    )


def parts(reply: Reply, words: Words) -> list[Part]:
    """A reply as messages: its sources folded up under the text, its buttons under the last."""
    head = opening([reply], words)
    room = LONGEST - (units(head) + 2 if head else 0)
    # The closing line stays the last, under the sources.
    text = reply.text.removesuffix(reply.closing).rstrip() if reply.closing else reply.text
    made = [Part(f"{head}\n\n{text}" if head and number else text) for number, text in enumerate(split(text, room))]
    # Nothing stands under "call 911" but what to do.
    if reply.links and made and reply.kind not in URGENT:
        made = _with_sources(made, reply, words, head)
    if reply.closing:
        made = _closed(made, reply.closing, head)
    if made:
        made[-1] = replace(made[-1], keyboard=keyboard(reply.buttons))
    return made


def _closed(made: list[Part], closing: str, head: str) -> list[Part]:
    """The closing line under the last message, or as one of its own where there is no room."""
    last = made[-1]
    if units(last.text) + 2 + units(closing) <= LONGEST:
        return [*made[:-1], replace(last, text=f"{last.text}\n\n{closing}")]
    return [*made, Part(f"{head}\n\n{closing}" if head else closing)]


def _with_sources(made: list[Part], reply: Reply, words: Words, head: str = "") -> list[Part]:
    try:
        block = words.line("phrase/page_sources", reply.language)
    except MissingWords:
        block = words.line("phrase/page_sources", "en")
    links = []
    for link in reply.links:
        named = " ".join(link["title"].split())
        if units(block) + units(named) + 1 > LONGEST - (units(head) + 2 if head else 0):
            break
        links.append(MessageEntity(MessageEntity.TEXT_LINK, units(block) + 1, units(named), url=link["url"]))
        block += f"\n{named}"
    last = made[-1].text
    fits = units(last) + 2 + units(block) <= LONGEST
    before = f"{last}\n\n" if fits else (f"{head}\n\n" if head else "")
    start = units(before)
    fold = MessageEntity(MessageEntity.EXPANDABLE_BLOCKQUOTE, start, units(block))
    marks = (fold, *MessageEntity.shift_entities(start, links))
    return [*(made[:-1] if fits else made), Part(f"{before}{block}", marks)]


# --- call ---------------------------------------------------------------------------------------


class Sender:
    """Calls Telegram, again where that may help, never longer than it is given."""

    def __init__(
        self,
        bot: Bot,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ):
        self.bot = bot
        self._now = now
        self._sleep = sleep
        self._pauses: dict[str, float] = {}

    def paused(self, name: str) -> float:
        """Seconds that Telegram still wants to hear nothing for this chat."""
        return max(0.0, self._pauses.get(name, 0.0) - self._now())

    async def send(self, name: str, chat: int, messages: Sequence[Part], until: float) -> Delivery:
        """Send messages one after the other.

        Args:
            name: the chat's pseudonym; pauses are remembered under it.
            chat: its address.
            messages: in order.
            until: moment of the clock after which no further attempt begins.
        """
        for number, part in enumerate(messages):
            delivery = await self.attempt(name, self._message(chat, part), until)
            if delivery.outcome is Outcome.REJECTED and (part.marks or part.keyboard):
                # The words are what matters.
                bare = self._message(chat, Part(part.text))
                delivery = await self.attempt(name, bare, until)
            if delivery.outcome is not Outcome.SENT:
                return Delivery(delivery.outcome, number, delivery.wait)
        return Delivery(Outcome.SENT, len(messages))

    def _message(self, chat: int, part: Part) -> Callable[[], Awaitable[Any]]:
        return lambda: self.bot.send_message(
            chat, part.text, entities=part.marks or None, reply_markup=part.keyboard, link_preview_options=NO_PREVIEW
        )

    async def attempt(self, name: str, call: Callable[[], Awaitable[Any]], until: float) -> Delivery:
        """One call, until it went through or cannot any more. Never raises."""
        retries = iter(RETRIES)
        while True:
            if self._now() > until:
                # It waited too long behind others; it is brought again, and finds its turn then.
                return Delivery(Outcome.UNREACHABLE, 0)
            pause = self.paused(name)
            if pause and self._now() + pause > until:
                return Delivery(Outcome.THROTTLED, 0, pause)
            if pause:
                await self._sleep(pause)
            try:
                await call()
                return Delivery(Outcome.SENT, 1)
            except RetryAfter as error:
                self._pause(name, seconds(error))
            except Forbidden:
                return Delivery(Outcome.BLOCKED, 0)
            except (BadRequest, ChatMigrated) as error:
                incident(error, "while sending to Telegram, which takes it for wrong")
                return Delivery(Outcome.REJECTED, 0)
            except InvalidToken:
                refused()
                return Delivery(Outcome.UNREACHABLE, 0)
            except TelegramError as error:
                wait = next(retries, None)
                if wait is None or self._now() + wait > until:
                    incident(error, "while sending to Telegram; the message is sent when the update comes again")
                    return Delivery(Outcome.UNREACHABLE, 0)
                await self._sleep(wait)
            except Exception as error:
                # The library turns every fault on the way into a TelegramError; what is left comes from reading a success.
                incident(error, "while reading Telegram's answer to a message that it took")
                return Delivery(Outcome.SENT, 1)

    def _pause(self, name: str, wait: float) -> None:
        now = self._now()
        self._pauses = {other: until for other, until in self._pauses.items() if until > now}
        self._pauses[name] = now + wait


def seconds(error: RetryAfter) -> float:
    """How long Telegram wants a pause; a whole number now, a timedelta in later versions of the library."""
    wait = error.retry_after
    return wait.total_seconds() if isinstance(wait, dt.timedelta) else float(wait)


def refused() -> None:
    """Tell the operator that the token is none. Its error's own text may hold the token."""
    event(
        logger,
        logging.ERROR,
        'Telegram refuses TELEGRAM_TOKEN: copy it again from @BotFather (docs/operators.md, "Telegram")',
    )
