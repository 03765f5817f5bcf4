"""The one way of a message, whatever channel it came by. A channel authenticates before and sends after; nothing in between is its own.

    flood? -> safety screen -> opt-out -> repeat? -> limit -> pseudonym -> queue -> room -> engine -> one transaction -> words, shaped

Danger is answered first whatever is limited, stopped or broken: the screen needs no model, no store and no queue.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, TypeVar

from actions.answering import line, plan
from bot.assistant import Assistant, Incoming, Plan, incident, notice, urgent
from bot.channels.shape import SHAPES, shape
from bot.nlg import Reply
from bot.nlu import keywords as keywords_module
from bot.nlu import language as languages
from bot.nlu import safety
from bot.nlu.text import ends
from bot.privacy.limits import SENDER, Limiter
from bot.privacy.pseudonyms import Pseudonyms
from bot.privacy.records import Record
from bot.privacy.store import Counted, Store, StoreError
from bot.queues import Busy, Line, Queues, Room

logger = logging.getLogger(__name__)
T = TypeVar("T")
ALLOWED_WHEN_STOPPED = frozenset({"start", "menu"})
"""START comes back; HELP is answered to everybody, as carriers ask (https://www.ctia.org/the-wireless-industry/industry-commitments/messaging-interoperability-sms-mms)."""

ERASING = frozenset({"delete_data", "opt_out"})
SHORT_WORDS = 40
"""Characters of a message that can be STOP or START."""
FLOOD_SECONDS = 60
"""Until a flood is forgotten."""
BUSY_SECONDS = 5
"""A conversation's queue is usually empty again after so long."""


LEASE_SECONDS, LEASE_POLL = 8.0, 0.05
"""So long another server may hold a conversation before this one gives up, and how often it asks."""


class Result(Enum):
    """What became of a message."""

    ANSWERED = "answered"
    REPEATED = "repeated"
    """The provider sent it again; the same replies."""
    LIMITED = "limited"
    BUSY = "busy"
    STOPPED = "stopped"
    """The sender has stopped messages: silence."""
    CARRIER = "carrier"
    """The carrier has answered in our place: silence."""
    FAILED = "failed"
    """Answered with the fixed failure text."""


@dataclass(frozen=True)
class Message:
    """What a channel hands over once it knows that the provider sent it."""

    channel: str
    """sms, whatsapp, telegram or web."""
    sender: str
    """The address. Lives in memory for this message only."""
    text: str = ""
    id: str | None = None
    """The provider's id of the message; None where there is none."""
    button: str | None = None
    language: str | None = None
    """Chosen by the resident with the channel's own picker."""
    hint: str | None = None
    """What the channel guesses of the language."""
    readable: bool = True
    """False for pictures, voice, stickers, places: there is something, but no words."""
    carrier_answered: bool = False
    """The carrier itself has answered this STOP, START or HELP."""
    carrier_word: str | None = None
    """What the carrier took the message for, where it has answered: stop, start, help or start_again. Whatever our own
    words say, its word is believed: it has already stopped or started the messages. start_again (YES) is a START from
    a sender who had stopped, and an ordinary message, not answered by the carrier, from anybody else."""


@dataclass(frozen=True)
class Answer:
    """What the channel sends."""

    replies: list[Reply]
    """Shaped for the channel, urgent first; empty means silence."""
    result: Result
    language: str | None = None
    """The conversation's language after the turn."""
    kept: bool = False
    """Whether anything of the conversation is kept."""
    wait: int = 0
    """Seconds until another try is worth while, after LIMITED and BUSY."""


@dataclass(frozen=True)
class _Unsaved:
    """A STOP or START that the store has not taken yet."""

    out: bool
    before: Sequence[str]
    """Names under former secrets."""


class Desk:
    """Answers messages of all channels."""

    def __init__(
        self,
        assistant: Assistant,
        store: Store,
        pseudonyms: Pseudonyms | None = None,
        limiter: Limiter | None = None,
        counting: bool = True,
        repeats: bool = True,
    ):
        """
        Args:
            assistant: the engine.
            store: what is kept.
            pseudonyms: names; in this process's memory when left out.
            limiter: per sender; the usual one when left out.
            counting: whether turns go into the organisation's numbers.
            repeats: whether messages are limited and the replies to a message id are kept; `outreach ask` does neither.
        """
        self.assistant = assistant
        self.store = store
        self.pseudonyms = pseudonyms or Pseudonyms()
        self.limiter = limiter or Limiter(SENDER)
        self.queues = Queues()
        self._room = Room()
        self._line = Line()
        self.counting = counting
        self.repeats = repeats
        self._keywords = keywords_module.load()
        # The texts that must come when words themselves fail; read now, so that a missing one stops the start.
        self._fixed = {
            (text_id, code): assistant.words.line(text_id, code)
            for text_id in ("emergency/short", "crisis/short", "phrase/failure")
            for code in languages.LANGUAGES
        }
        self._unsaved: dict[str, _Unsaved] = {}
        # One thread: a store's calls keep their order, and a slow disk does not hold up other conversations' thinking.
        self._thread = (
            ThreadPoolExecutor(1, "store") if getattr(store, "path", None) or getattr(store, "url", None) else None
        )

    # --- the way ----------------------------------------------------------------------------------

    async def answer(self, message: Message) -> Answer:
        """The replies to one message. Never raises."""
        # Both ends of it, here already: nothing behind looks at more, and no length of a text may hold up the others.
        message = replace(message, text=ends(message.text))
        floods = self._floods(message)
        if floods:
            await self._line.stand()
        danger = self._screened(message)
        try:
            if floods and not danger and not self._is_stop_or_start(message):
                return Answer([], Result.LIMITED, wait=FLOOD_SECONDS)
            return await self._answer(message, danger)
        except Exception as error:
            incident(error, "at the desk")
            return self._failed(message, danger)

    def _floods(self, message: Message) -> bool:
        """Whether so many messages come from this sender that only danger, STOP and START are looked for."""
        try:
            return self.repeats and self.limiter.floods(self.pseudonyms.of(message.channel, message.sender))
        except Exception as error:
            incident(error, "while counting what arrives")
            return False

    def _is_stop_or_start(self, message: Message) -> bool:
        word = self._word(message) if len(message.text) <= SHORT_WORDS else None
        return bool(message.carrier_word or (word and word[0] in ("stop", "start")))

    @staticmethod
    def _screened(message: Message) -> str | None:
        """What the safety screen says; where it fails itself, what is left is the failure text, which names 911."""
        try:
            return safety.screen(message.text)
        except Exception as error:
            incident(error, "in the safety screen")
            return None

    async def refused(self, message: Message, wait: int) -> Answer:
        """The answer to a message that its channel may not hand in, its network having sent too many: danger first, all the same.

        It takes no engine, store or queue. Never raises.

        Args:
            wait: seconds until another try is worth while.
        """
        message = replace(message, text=ends(message.text))
        await self._line.stand()
        danger = self._screened(message)
        try:
            language = self._language(message, None)
            made = urgent(danger, language) if danger else notice("phrase/slow_down", language)
            return replace(self._shaped(message, [made], Result.LIMITED), wait=wait)
        except Exception as error:
            incident(error, "at the desk")
            return self._failed(message, danger)

    async def _answer(self, message: Message, danger: str | None) -> Answer:
        key = self.pseudonyms.of(message.channel, message.sender)
        stopping = SHAPES[message.channel].stop_words
        # With its sender: an id that comes twice, whoever made it, brings nobody the answer to somebody else.
        told_apart = f"{message.sender}/{message.id}"
        names = self.pseudonyms.message(message.channel, told_apart) if message.id and self.repeats else []
        if danger:
            # Whatever the carrier has said by itself, it was not this.
            message = replace(message, carrier_answered=False, carrier_word=None)
        elif message.carrier_word == "start_again":
            message = await self._start_again(message, names)
        word = self._word(message) if stopping and danger is None else None
        if stopping:
            stop_names = self.pseudonyms.opt_out_names(message.channel, message.sender)
            if word and word[0] in ("stop", "start"):
                return await self._stop_or_start(message, key, names, stop_names, word)
            if await self._is_stopped(stop_names):
                if danger:
                    return self._shaped(message, [urgent(danger, self._language(message, None))], Result.STOPPED)
                if not word or word[0] not in ALLOWED_WHEN_STOPPED:
                    return Answer([], Result.STOPPED)
        if message.carrier_answered:
            return Answer([], Result.CARRIER)
        # Before the limit: what is still owed for a message must not be lost because it had to be brought again.
        repeated = await self._repeated(message, names)
        if repeated:
            return repeated
        if self.repeats and not self.limiter.passes(key):
            return replace(self._limited(message, key, danger), wait=self.limiter.wait(key))
        try:
            async with self.queues.turn(key), self._place(danger), self._leased(key) as lease:
                # The first delivery may have been answered while this one waited.
                return await self._repeated(message, names) or await self._turn(message, key, names, lease)
        except Busy:
            language = self._language(message, None)
            made = urgent(danger, language) if danger else notice("phrase/slow_down", language)
            return replace(self._shaped(message, [made], Result.BUSY), wait=BUSY_SECONDS)

    def _place(self, danger: str | None) -> AbstractAsyncContextManager[None]:
        """A place among the turns that are worked on; in danger nobody waits for one."""
        return nullcontext() if danger else self._room.place()

    @asynccontextmanager
    async def _leased(self, key: str) -> AsyncIterator[int | None]:
        """This conversation for this server alone; without a store that answers, order rests on the queue."""
        lease: int | None = None
        try:
            deadline = time.monotonic() + LEASE_SECONDS
            while (lease := await self._do(self.store.lease, key)) is None:
                if time.monotonic() > deadline:
                    raise Busy
                await asyncio.sleep(LEASE_POLL)
        except StoreError as error:
            incident(error, "while taking a conversation")
        try:
            yield lease
        finally:
            if lease:
                try:
                    await self._do(self.store.release, key, lease)
                except StoreError as error:
                    incident(error, "while giving a conversation back")

    async def _turn(self, message: Message, key: str, names: Sequence[str], lease: int | None) -> Answer:
        before: str | None = None
        record: Record | None = None
        try:
            record = await self._do(self.store.get, key)
            if record is None:
                # Yesterday's name: the conversation moves over with this turn.
                before = self.pseudonyms.before(message.channel, message.sender)
                record = await self._do(self.store.get, before) if before else None
                before = before if record else None
        except StoreError as error:
            incident(error, "while looking up a conversation")
        if not message.readable and not message.text.strip():
            language = self._language(message, record)
            plans, after = [notice("phrase/cannot_read", language)], record
        else:
            incoming = Incoming(message.channel, key, message.text, message.button, message.language, message.hint)
            outcome = await self.assistant.turn(incoming, record)
            plans, after = outcome.plans, outcome.record
        language = after.language if after and after.language else plans[-1]["language"]
        if after is None:
            # What is deleted goes under both names, whichever was found: a turn over midnight leaves one behind, and replies stay longer
            # than records.
            before = self.pseudonyms.before(message.channel, message.sender)
        # Words first: what cannot be said is not kept as having been said.
        answer = self._shaped(message, plans, Result.ANSWERED, language)
        kept = await self._commit(message, key, after, names, plans, before, lease)
        if not kept and after is None and any(made["topic"] in ERASING for made in plans):
            # "We deleted it" is only said when it was done.
            return self._failed(message, None)
        return Answer(answer.replies, answer.result, language, kept and after is not None)

    async def _commit(
        self,
        message: Message,
        key: str,
        record: Record | None,
        names: Sequence[str],
        plans: Sequence[Plan],
        before: str | None,
        lease: int | None = None,
    ) -> bool:
        """Keep the turn; whether that worked. The resident is answered all the same: twice is better than never."""
        counted = None
        if self.counting:
            topics = tuple(dict.fromkeys(made["topic"] or made["kind"] for made in plans))
            counted = Counted(message.channel, plans[0]["language"], topics)
        try:
            await self._do(self.store.commit, key, record, names, plans, counted, before, lease)
        except StoreError as error:
            incident(error, "while keeping a turn")
            return False
        return True

    # --- what stands before the engine ------------------------------------------------------------

    def _word(self, message: Message) -> tuple[str, str] | None:
        """(meaning, language) of a message that is a command as a whole; the carrier's reading of it comes first."""
        word = self._keywords.find(message.text)
        if message.carrier_word is None:
            return word
        meaning = {"help": "menu"}.get(message.carrier_word, message.carrier_word)
        return meaning, word[1] if word else self._language(message, None)

    async def _start_again(self, message: Message, names: Sequence[str]) -> Message:
        """YES: the carrier's START from who had stopped, an answer like any other from who had not."""
        stop_names = self.pseudonyms.opt_out_names(message.channel, message.sender)
        try:
            plans = await self._do(self.store.handled, names) if names else None
        except StoreError as error:
            incident(error, "while looking for a repeat")
            plans = None
        # A repeat of the YES that brought the messages back finds them back already.
        resumed = bool(plans and plans[0]["topic"] == "opt_out")
        if resumed or await self._is_stopped(stop_names):
            return replace(message, carrier_word="start")
        return replace(message, carrier_word=None, carrier_answered=False)

    async def _stop_or_start(
        self, message: Message, key: str, names: Sequence[str], stop_names: Sequence[str], word: tuple[str, str]
    ) -> Answer:
        """STOP and START, whatever else is open: one confirmation from one side, then silence."""
        repeated = await self._repeated(message, names)
        if repeated:
            return repeated
        stops = word[0] == "stop"
        record: Record | None = None
        try:
            record = await self._do(self.store.get, key)
        except StoreError as error:
            incident(error, "while looking up a conversation")
        if stops and await self._is_stopped(stop_names):
            return Answer([], Result.STOPPED)
        if stop_names:
            await self._set_stopped(stop_names, stops)
        language = (record.language if record else None) or word[1]
        text = "opt_out/short" if stops else "opt_out/resumed"
        plans = [plan("service", "opt_out", language, [[line(text)]])]
        after = None if stops else (record or Record(language=language))
        await self._commit(message, key, after, names, plans, self.pseudonyms.before(message.channel, message.sender))
        if message.carrier_answered:
            return Answer([], Result.CARRIER)
        return self._shaped(message, plans, Result.ANSWERED, language)

    async def _is_stopped(self, names: Sequence[str]) -> bool:
        """Whether an opt-out stands under any of a sender's names, today's first; there are none without OUTREACH_SECRET."""
        if not names:
            return False
        if names[0] in self._unsaved:
            return self._unsaved[names[0]].out
        try:
            return await self._do(self.store.opted_out, names[0], names[1:])
        except StoreError as error:
            # Who wrote to us just now gets an answer: silence towards somebody in need is the worse mistake.
            incident(error, "while looking up an opt-out")
            return False

    async def _set_stopped(self, names: Sequence[str], out: bool) -> None:
        """Keep an opt-out; where the store cannot, this process does until it can."""
        self._unsaved[names[0]] = _Unsaved(out, names[1:])
        await self.save_opt_outs()

    async def save_opt_outs(self) -> None:
        """Write the opt-outs that the store could not take before."""
        for name, unsaved in list(self._unsaved.items()):
            try:
                await self._do(self.store.set_opted_out, name, unsaved.out, unsaved.before)
            except StoreError as error:
                incident(error, "while keeping an opt-out; it is kept in memory and tried again")
                return
            self._unsaved.pop(name, None)

    def _limited(self, message: Message, key: str, danger: str | None) -> Answer:
        language = self._language(message, None)
        if danger:
            told = self.limiter.urgent_now(key)
            return (
                self._shaped(message, [urgent(danger, language)], Result.LIMITED)
                if told
                else Answer([], Result.LIMITED)
            )
        if self.limiter.first_refusal(key):
            return self._shaped(message, [notice("phrase/slow_down", language)], Result.LIMITED)
        return Answer([], Result.LIMITED)

    async def _repeated(self, message: Message, names: Sequence[str]) -> Answer | None:
        if not names:
            return None
        try:
            plans = await self._do(self.store.handled, names)
        except StoreError as error:
            incident(error, "while looking for a repeat")
            return None
        if plans is None:
            return None
        answer = self._shaped(message, plans, Result.REPEATED)
        return Answer([] if message.carrier_answered else answer.replies, answer.result, answer.language, True)

    # --- channels that send by themselves ---------------------------------------------------------

    async def is_delivered(self, channel: str, message_id: str, sender: str) -> bool:
        """Whether all replies to a message have gone out. Where the store cannot say: no; twice is better than never.

        A deletion takes with it what is known of the messages before it. A provider that brings all of them once more has them
        answered anew; so the deletion that comes after them deletes again.
        """
        if not self.repeats:
            return False
        try:
            names = self.pseudonyms.message(channel, f"{message_id}/delivered")
            if await self._do(self.store.handled, names) is None:
                return False
            plans = await self._do(self.store.handled, self.pseudonyms.message(channel, f"{sender}/{message_id}"))
        except StoreError as error:
            incident(error, "while looking for a repeat")
            return False
        if any(made["topic"] in ERASING for made in plans or ()):
            await self.end(channel, sender)
        return True

    async def keep_delivered(self, channel: str, message_id: str, sender: str) -> None:
        """Keep that all replies to a message have gone out: under a name of its own, as long as repeats, and no longer than the conversation."""
        if not self.repeats:
            return
        name = self.pseudonyms.message(channel, f"{message_id}/delivered")[0]
        conversations = [self.pseudonyms.of(channel, sender), self.pseudonyms.before(channel, sender)]
        try:
            await self._do(self.store.mark, name, [key for key in conversations if key])
        except StoreError as error:
            incident(error, "while keeping that a message went out")

    # --- small --------------------------------------------------------------------------------------

    async def end(self, channel: str, sender: str) -> None:
        """Forget a conversation at once."""
        for key in (self.pseudonyms.of(channel, sender), self.pseudonyms.before(channel, sender)):
            if key:
                try:
                    await self._do(self.store.forget, key)
                except StoreError as error:
                    incident(error, "while forgetting a conversation")

    async def delivered(self, channel: str, status: str, code: str = "") -> None:
        """Count what became of a message that was sent: the provider's word and its error code, nothing else."""
        if not self.counting:
            return
        try:
            await self._do(self.store.count_delivery, channel, status, code)
        except StoreError as error:
            incident(error, "while counting a delivery")

    async def sweep(self) -> None:
        """What is due every minute: expired conversations and keys go, opt-outs that could not be written are tried again."""
        self.pseudonyms.sweep()
        await self.save_opt_outs()
        try:
            await self._do(self.store.sweep)
        except StoreError as error:
            incident(error, "while sweeping")

    def close(self) -> None:
        """Let go of the store."""
        if self._thread:
            self._thread.shutdown(wait=True)
        self.store.close()

    async def _do(self, call: Callable[..., T], *arguments: Any) -> T:
        """Ask the store; whatever goes wrong in it is a StoreError, and costs nobody an answer."""
        try:
            if self._thread is None:
                return call(*arguments)
            return await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)
        except StoreError:
            raise
        except Exception as error:
            raise StoreError(f"the store failed: {type(error).__name__}") from error

    def failed(self, message: Message) -> Answer:
        """The fixed failure text, danger first: for a channel whose own part has failed."""
        return self._failed(message, self._screened(message))

    def _failed(self, message: Message, danger: str | None) -> Answer:
        """When everything behind failed: danger first, then 911 and the hotline, from texts that were read at the start."""
        try:
            language = self._language(message, None)
        except Exception as error:
            incident(error, "while looking at a language")
            likely = message.language or message.hint
            language = likely if likely in languages.LANGUAGES else "en"
        replies = [Reply(self._fixed[f"{danger}/short", language], language, danger, danger)] if danger else []
        replies.append(Reply(self._fixed["phrase/failure", language], language, "notice", None))
        try:
            form = SHAPES[message.channel]
            replies = [shape(reply, form, self.assistant.words) for reply in replies]
        except Exception as error:
            incident(error, "while shaping what is said in a failure; it goes out as it is")
        return Answer(replies, Result.FAILED, language)

    @staticmethod
    def _language(message: Message, record: Record | None) -> str:
        before = message.language or (record.language if record else None)
        return languages.choose(languages.identify(message.text), before, message.hint)

    def _shaped(self, message: Message, plans: Sequence[Plan], result: Result, language: str | None = None) -> Answer:
        form = SHAPES[message.channel]
        replies = [shape(reply, form, self.assistant.words) for reply in self.assistant.render(plans)]
        return Answer(replies, result, language or plans[-1]["language"], False)
