"""The assistant as channels see it: a text in, finished replies out, whatever happens behind."""

from __future__ import annotations

import asyncio
import logging
import secrets
from dataclasses import dataclass

from rasa.core.agent import Agent
from rasa.core.channels.channel import UserMessage
from rasa.core.lock_store import InMemoryLockStore

from actions.knowledge.load import Knowledge, knowledge
from bot import in_process
from bot.channels.output import CollectedReplies
from bot.channels.shape import SHAPES, shape
from bot.nlg import CatalogueWords, Reply
from bot.nlu import language as languages
from bot.nlu import safety
from bot.privacy.records import MemoryRecords, Record, Records
from bot.privacy.trackers import RecordTrackerStore
from bot.settings import Settings, settings
from bot.train import model_path
from bot.words import MissingWords, Words, loaded

logger = logging.getLogger(__name__)
SECONDS = 10.0
"""A reply within so many seconds, or the fixed failure text."""


@dataclass(frozen=True)
class Incoming:
    """A message as a channel hands it over."""

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


class Assistant:
    """A loaded model with words and records."""

    def __init__(self, agent: Agent, records: Records, words: Words):
        self.agent = agent
        self.records = records
        self.words = words

    @classmethod
    def load(cls, records: Records | None = None, own: Settings | None = None) -> Assistant:
        """Load the trained model from this project's folder, by its checksum, with everything in this process.

        Raises:
            ModelError: no model, or not the one that was trained here.
            FileNotFoundError: catalogues are not compiled.
        """
        own = own or settings()
        words = loaded()
        records = records if records is not None else MemoryRecords(own)
        in_process.skip_result_check()
        store = RecordTrackerStore(records)
        agent = Agent.load(
            model_path(),
            generator=CatalogueWords(words=words),
            tracker_store=store,
            lock_store=InMemoryLockStore(),
            action_endpoint=in_process.InProcessActions(),
        )
        kept = getattr(agent.tracker_store, "_tracker_store", agent.tracker_store)
        if kept is not store:
            raise RuntimeError("Rasa wrapped the conversation store in one of its own; records would be kept by it")
        return cls(agent, records, words)

    @property
    def knowledge(self) -> Knowledge:
        """What the assistant knows."""
        return knowledge()

    async def reply(self, incoming: Incoming) -> list[Reply]:
        """The finished replies to one message, urgent first, shaped for its channel. Never raises, never empty."""
        form = SHAPES[incoming.channel]
        try:
            replies = await asyncio.wait_for(self._turn(incoming), SECONDS)
        except Exception as error:
            incident = secrets.token_hex(4)
            logger.error("incident %s: %s while answering", incident, type(error).__name__)
            replies = []
        if not replies:
            replies = self.failure(incoming.text, incoming.conversation)
        return [shape(reply, form, self.words) for reply in replies]

    async def _turn(self, incoming: Incoming) -> list[Reply]:
        form = SHAPES[incoming.channel]
        record = self.records.get(incoming.conversation)
        text = safety.ends(incoming.text).strip()
        language = incoming.language or (record.language if record else None)
        if incoming.language and record is not None and record.language != incoming.language:
            record.language = incoming.language
            self.records.put(incoming.conversation, record)
        elif incoming.language and record is None:
            self.records.put(incoming.conversation, Record(language=incoming.language))
        if text == "/start" and not form.stop_words:
            text = "hello" if language in (None, "en") else {"es": "hola", "ht": "bonjou"}[language]
        chosen = self._chosen(incoming.button, record) if incoming.button else None
        if incoming.button and chosen is None:
            return [self._notice("phrase/number_unknown", language or "en")]
        if chosen is None and not text:
            return [self._notice("phrase/empty", language or "en")]
        output = CollectedReplies()
        message = UserMessage(
            # A leading "/" is Rasa's way to force intents and slots; residents have no such way.
            text.lstrip("/ \t\n") or "?",
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
        await self.agent.handle_message(message)
        return output.replies

    @staticmethod
    def _chosen(button: str, record: Record | None) -> str | None:
        """What a button stands for; None unless this conversation was offered it."""
        if record is None:
            return None
        if button == "more":
            return "more" if record.more else None
        return button if button in record.choices else None

    def _notice(self, text_id: str, language: str) -> Reply:
        return Reply(self._line(text_id, language), language, "notice", None)

    def _line(self, text_id: str, language: str) -> str:
        try:
            return self.words.line(text_id, language)
        except MissingWords:
            return self.words.line(text_id, "en")

    def failure(self, text: str, conversation: str | None = None) -> list[Reply]:
        """What is said when everything behind failed: danger first, then 911 and the hotline."""
        language = "en"
        try:
            record = self.records.get(conversation) if conversation else None
            language = languages.choose(languages.identify(text), record.language if record else None)
        except Exception as error:
            logger.error("language unknown in a failure: %s", type(error).__name__)
        replies = []
        urgent = safety.screen(text)
        if urgent:
            replies.append(Reply(self._line(f"{urgent}/short", language), language, urgent, urgent))
        replies.append(self._notice("phrase/failure", language))
        return replies
