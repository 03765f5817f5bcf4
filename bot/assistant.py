"""The engine as the desk sees it: a text and a record in, plans and a record out, whatever happens behind."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rasa.core.agent import Agent
from rasa.core.channels.channel import UserMessage
from rasa.core.lock_store import InMemoryLockStore

from actions.answering import SENSITIVE, close, deleting, line, plan
from actions.knowledge.load import Knowledge, knowledge
from bot import in_process
from bot.channels.output import CollectedPlans
from bot.channels.shape import SHAPES
from bot.nlg import CatalogueWords, Reply, render
from bot.nlu import language as languages
from bot.nlu import safety
from bot.nlu.text import ends
from bot.privacy import logs
from bot.privacy.records import Record
from bot.privacy.trackers import RecordTrackerStore
from bot.train import ModelError, model_path
from bot.words import Words, loaded

logger = logging.getLogger(__name__)
_FORCING = re.compile(r"\A[/\s]+")
"""What Rasa takes for its command, or strips before it looks for one: any blank that Unicode has, not only those of a keyboard."""
SECONDS = 10.0
"""A reply within so many seconds, or the fixed failure text."""

Plan = dict[str, Any]


class Silence(RuntimeError):
    """Rasa came back without a reply: it swallows what an action raises."""


@dataclass(frozen=True)
class Incoming:
    """A message as the desk hands it to the engine."""

    channel: str
    """sms, whatsapp, telegram or web."""
    conversation: str
    """A pseudonym; never an address."""
    text: str
    button: str | None = None
    """Id of a pressed button, as the reply before gave it."""
    language: str | None = None
    """Chosen by the resident with the channel's own picker: from now on."""
    hint: str | None = None
    """What the channel guesses, for a first text that says nothing of its language."""


@dataclass(frozen=True)
class Outcome:
    """What a turn came to."""

    plans: list[Plan]
    """Never empty; urgent first."""
    record: Record | None
    """To be kept; None: the conversation is to be forgotten, or there was none and nothing is to be kept."""


class Assistant:
    """A loaded model with words."""

    def __init__(self, agent: Agent, trackers: RecordTrackerStore, words: Words):
        self.agent = agent
        self.trackers = trackers
        self.words = words

    @classmethod
    def load(cls) -> Assistant:
        """Load the trained model from this project's folder, by its checksum, with everything in this process.

        Raises:
            ModelError: no model, or not the one that was trained here, or not with this code.
            FileNotFoundError: catalogues are not compiled.
        """
        words = loaded()
        in_process.skip_result_check()
        trackers = RecordTrackerStore()
        path = model_path()
        try:
            agent = Agent.load(
                path,
                generator=CatalogueWords(words=words),
                tracker_store=trackers,
                lock_store=InMemoryLockStore(),
                action_endpoint=in_process.InProcessActions(),
            )
        except Exception as error:
            raise ModelError(
                f"{path.name} cannot be loaded ({type(error).__name__}); run `make train`, and `make clean setup` if that does not help"
            ) from error
        kept = getattr(agent.tracker_store, "_tracker_store", agent.tracker_store)
        if kept is not trackers:
            raise RuntimeError("Rasa wrapped the conversation store in one of its own; records would be kept by it")
        return cls(agent, trackers, words)

    @property
    def knowledge(self) -> Knowledge:
        """What the assistant knows."""
        return knowledge()

    async def turn(self, incoming: Incoming, record: Record | None) -> Outcome:
        """Answer one message. Never raises, never without a plan.

        Args:
            incoming: the message.
            record: of its conversation; not changed.
        """
        if incoming.language and (record is None or record.language != incoming.language):
            record = replace(record or Record(), language=incoming.language)
        try:
            outcome = await asyncio.wait_for(self._turn(incoming, record), SECONDS)
            if outcome.plans:
                return outcome
            raise Silence
        except Exception as error:
            incident(error, "while answering")
        finally:
            self.trackers.take(incoming.conversation)
        return Outcome(failure(incoming.text, record, incoming.language or incoming.hint), record)

    async def _turn(self, incoming: Incoming, record: Record | None) -> Outcome:
        form = SHAPES[incoming.channel]
        text = ends(incoming.text).strip()
        language = record.language if record else None
        if text == "/start" and not form.stop_words:
            text = {"es": "hola", "ht": "bonjou"}.get(language or incoming.hint or "en", "hello")
        chosen = _chosen(incoming.button, record) if incoming.button else None
        if incoming.button and chosen is None:
            return Outcome([notice("phrase/number_unknown", language or incoming.hint or "en")], record)
        if chosen is None and not text:
            return Outcome([notice("phrase/empty", language or incoming.hint or "en")], record)
        output = CollectedPlans()
        message = UserMessage(
            # A leading "/" is Rasa's way to force intents and slots; residents have no such way.
            _FORCING.sub("", text) or "?",
            output_channel=output,
            sender_id=incoming.conversation,
            input_channel=incoming.channel,
            message_id="-",
            metadata={
                "brief": form.brief,
                "stop_words": form.stop_words,
                "introduced": form.introduced,
                "chosen": chosen,
                "hint": incoming.hint,
            },
        )
        self.trackers.lay(incoming.conversation, record)
        await self.agent.handle_message(message)
        return Outcome(output.plans, self.trackers.take(incoming.conversation))

    def render(self, plans: Sequence[Mapping[str, Any]]) -> list[Reply]:
        """Plans as replies, in words."""
        return [render(made, self.words) for made in plans]


def _chosen(button: str, record: Record | None) -> str | None:
    """What a button stands for; None unless this conversation was offered it."""
    if record is None:
        return None
    if button == "more":
        return "more" if record.more else None
    return button if button in record.choices else None


def notice(text_id: str, language: str) -> Plan:
    """A fixed notice: a limit, a failure, a picture."""
    return plan("notice", None, language, [[line(text_id)]])


def urgent(topic: str, language: str) -> Plan:
    """The fixed 911 or 988 text, as it is said when nothing else can be."""
    return plan(topic, topic, language, [[line(f"{topic}/short")]], closing=deleting() if topic in SENSITIVE else [])


def failure(text: str, record: Record | None = None, likely: str | None = None) -> list[Plan]:
    """What is said when everything behind failed: danger first, then 911 and the hotline.

    Args:
        likely: the language where neither text nor record tell it.
    """
    before = record.language if record else None
    danger = safety.screen(text)
    try:
        vote = languages.identify(text)
        language = (
            languages.choose_in_danger(vote, safety.language_of(text), before, likely)
            if danger
            else languages.choose(vote, before, likely)
        )
    except Exception as error:
        incident(error, "while looking at a language")
        language = next((code for code in (before, likely) if code in languages.LANGUAGES), None) or "en"
    plans = [*([urgent(danger, language)] if danger else []), notice("phrase/failure", language)]
    close(plans)
    return plans


def incident(error: BaseException, where: str, /, **values: logs.Value) -> str:
    """Log a fault under a number of its own, without a word of what was said (bot/privacy/logs.py)."""
    return logs.incident(logger, error, where, **values)
