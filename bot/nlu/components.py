"""The NLU as Rasa graph components: thin, each wraps one module of this folder.

    TopicFeatures   views of the text (letters, gloss, words, concepts) and the topic classifier: trainable
    Understanding   safety screen, language, keywords, context, doubt: one `understanding` on the message

`rasa train`, `rasa shell nlu` and `rasa test nlu` work with them (bot/config.yml).
"""

from __future__ import annotations

import logging
from typing import Any

from rasa.engine.graph import ExecutionContext, GraphComponent
from rasa.engine.recipes.default_recipe import DefaultV1Recipe
from rasa.engine.storage.resource import Resource
from rasa.engine.storage.storage import ModelStorage
from rasa.nlu.classifiers.classifier import IntentClassifier
from rasa.shared.core.trackers import DialogueStateTracker
from rasa.shared.nlu.constants import INTENT, INTENT_RANKING_KEY, METADATA, TEXT
from rasa.shared.nlu.training_data.message import Message
from rasa.shared.nlu.training_data.training_data import TrainingData

from actions.knowledge.load import knowledge
from bot.nlu import keywords as keywords_module
from bot.nlu import language, safety
from bot.nlu.classifier import TopicClassifier
from bot.nlu.features import Lexicons, gloss
from bot.nlu.mentions import mentioned
from bot.nlu.personal import without_personal_data
from bot.nlu.text import parts, tokens
from bot.nlu.understanding import TAIL_WORDS, Context, understand

logger = logging.getLogger(__name__)
BELIEFS = "beliefs"
PARTS = "parts"
TAIL = "tail"
MOST_PARTS = 4
"""A story of more sentences is one message."""
LEAST_WORDS = 5
"""With so many words left beside it, a number or address is taken out before the topic is judged."""
UNDERSTANDING = "understanding"


@DefaultV1Recipe.register(DefaultV1Recipe.ComponentType.INTENT_CLASSIFIER, is_trainable=True)
class TopicFeatures(GraphComponent, IntentClassifier):
    """Learns and tells how likely each topic is (bot/nlu/classifier.py)."""

    @staticmethod
    def get_default_config() -> dict[str, Any]:
        """No options: what can be chosen was measured and stands beside the code."""
        return {}

    @staticmethod
    def required_packages() -> list[str]:
        """Checked by Rasa before training."""
        return ["sklearn", "scipy"]

    def __init__(self, model_storage: ModelStorage, resource: Resource, model: TopicClassifier | None = None) -> None:
        self._storage = model_storage
        self._resource = resource
        self._model = model
        self._lexicons = Lexicons.load()

    @classmethod
    def create(
        cls,
        config: dict[str, Any],
        model_storage: ModelStorage,
        resource: Resource,
        execution_context: ExecutionContext,
    ) -> TopicFeatures:
        """For training."""
        return cls(model_storage, resource)

    @classmethod
    def load(
        cls,
        config: dict[str, Any],
        model_storage: ModelStorage,
        resource: Resource,
        execution_context: ExecutionContext,
        **kwargs: Any,
    ) -> TopicFeatures:
        """From a trained model. A damaged one is an error here, not on a resident's message."""
        with model_storage.read_from(resource) as folder:
            return cls(model_storage, resource, TopicClassifier.load(folder))

    def train(self, training_data: TrainingData) -> Resource:
        """Learn from the messages; the language comes from each file's metadata."""
        messages = [message for message in training_data.intent_examples if message.get(TEXT)]
        if not messages:
            raise ValueError("no training messages; nlu_data is empty")
        languages = [((message.get(METADATA) or {}).get(INTENT) or {}).get("language") for message in messages]
        self._model = TopicClassifier.train(
            [message.get(TEXT) for message in messages],
            languages,
            [message.get(INTENT) for message in messages],
            self._lexicons,
            progress=lambda line: logger.info("%s", line),
        )
        with self._storage.write_to(self._resource) as folder:
            self._model.save(folder)
        return self._resource

    def process(self, messages: list[Message]) -> list[Message]:
        """Put the likeliest topic as intent, and all beliefs, on each message."""
        if self._model is None:
            raise RuntimeError("the topic classifier was not trained; run `make train`")
        for message in messages:
            text = message.get(TEXT) or ""
            bare = without_personal_data(text)
            if len(tokens(bare)) >= LEAST_WORDS:
                text = bare
            vote = language.identify(text)
            beliefs = self._model.probabilities(text, language.choose(vote, None), self._lexicons)
            ranking = [{"name": topic, "confidence": belief} for topic, belief in list(beliefs.items())[:10]]
            message.set(INTENT, ranking[0], add_to_output=True)
            message.set(INTENT_RANKING_KEY, ranking, add_to_output=True)
            message.set(BELIEFS, beliefs)
            words = text.split()
            if len(words) > 2 * TAIL_WORDS:
                last = " ".join(words[-TAIL_WORDS:])
                spoken = language.choose(vote, None)
                message.set(TAIL, self._model.probabilities(last, spoken, self._lexicons))
            pieces = parts(text)
            if 2 <= len(pieces) <= MOST_PARTS:
                spoken = language.choose(vote, None)
                message.set(PARTS, [self._model.probabilities(piece, spoken, self._lexicons) for piece in pieces])
        return messages


@DefaultV1Recipe.register(DefaultV1Recipe.ComponentType.INTENT_CLASSIFIER, is_trainable=False)
class Understanding(GraphComponent, IntentClassifier):
    """Brings screen, language, keywords, context and beliefs together (bot/nlu/understanding.py)."""

    @staticmethod
    def get_default_config() -> dict[str, Any]:
        """No options."""
        return {}

    def __init__(self) -> None:
        self._lexicons = Lexicons.load()
        self._changes = list(knowledge().changes().values())
        self._passages = list(knowledge().passages().values())
        self._keywords = keywords_module.load()
        self._related = {topic: answer.next for topic, answer in knowledge().answers.items()}
        self._gazetteer = knowledge().gazetteer
        safety.load()
        language.identify("bonjou, kijan ou ye")  # loads the identifier now, not on the first message

    @classmethod
    def create(
        cls,
        config: dict[str, Any],
        model_storage: ModelStorage,
        resource: Resource,
        execution_context: ExecutionContext,
    ) -> Understanding:
        """For training and use alike: it learns nothing."""
        return cls()

    def process(self, messages: list[Message], tracker: DialogueStateTracker | None = None) -> list[Message]:
        """Put the understanding on each message; the intent is its first topic.

        Rasa hands over the conversation because the parameter is named `tracker` and annotated.
        """
        for message in messages:
            metadata = message.get(METADATA) or {}
            result = understand(
                message.get(TEXT) or "",
                message.get(BELIEFS) or {"out_of_scope": 1.0, "help_menu": 0.0},
                context_of(tracker, metadata.get("hint")),
                self._keywords,
                self._gazetteer,
                self._lexicons.concepts,
                chosen=metadata.get("chosen"),
                parts=message.get(PARTS) or (),
                related=self._related,
                tail=message.get(TAIL),
            )
            text = message.get(TEXT) or ""
            said = [text, gloss(text, result.language, self._lexicons)]
            result.changes = mentioned(said, self._changes)
            result.passages = mentioned(said, self._passages)
            told = {name: bool(metadata.get(name)) for name in ("brief", "stop_words", "introduced")}
            topics = ([result.urgent] if result.urgent else []) + result.topics
            name = topics[0] if topics else "out_of_scope"
            message.set(INTENT, {"name": name, "confidence": result.confidence}, add_to_output=True)
            message.set(UNDERSTANDING, {**result.as_dict(), **told}, add_to_output=True)
        return messages


def context_of(tracker: DialogueStateTracker | None, hint: str | None = None) -> Context:
    """The part of a conversation that understanding rests on."""
    if tracker is None:
        return Context(hint=hint)
    slots = tracker.current_slot_values()
    return Context(
        language=slots.get("language"),
        last_topics=tuple(slots.get("last_topics") or ()),
        open_question=slots.get("open_question"),
        choices=tuple(slots.get("choices") or ()),
        more=bool(slots.get("more")),
        hint=hint,
    )
