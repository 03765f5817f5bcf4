"""From a text and what the conversation holds to one `Understanding`. Pure functions: no Rasa, no words for residents.

Order: what was chosen by button or number; exact words (MORE, STOP, a language's name); danger; the answer
to an open question; the classifier's topics; doubt.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from actions.knowledge.places import Gazetteer
from bot.nlu import language as languages
from bot.nlu import safety
from bot.nlu.keywords import Keywords
from bot.nlu.lexicon import Concepts
from bot.nlu.personal import has_personal_data
from bot.nlu.text import tokens

SURE = 0.40
"""Belief from which one topic is answered without asking ..."""
AHEAD = 0.15
"""... or this far ahead of the next. (.836 right, .073 wrong, .082 offered at .35/.15 on the first model;
tuned in docs/decisions/0003-understanding.md)."""
NEAR = 0.06
"""A topic with less belief is not offered."""
BESIDE = 0.08
"""Belief from which a message touches a topic beside its own (which passage, which rule)."""
MOST_CHOICES = 4
ALARM = 0.5
"""Belief of emergency or crisis that raises the alarm without the screen."""
FOLLOW = 0.3
"""How much of the belief goes to the topic talked about before, for a message without a subject of its own."""
FOLLOW_WORDS = 9
PLACE_WORDS = 6
"""In doubt, a message of at most so many words that names a place asks for help there."""

ASKING = frozenset({"WHETHER_Q", "WHAT_Q", "HOW_Q", "ALLOWED", "ASK_STATUS"})
"""Concepts of a question, for a message that also tells of danger."""
URGENT = ("emergency", "crisis")
SMALL = frozenset({"greet", "thanks", "goodbye"})
_FOLLOWS = re.compile(r"^(and|but|what if|what about|how about|y|e|ye|epi|pero|men|si|sinon|also|tambien|plus)\b")


@dataclass(frozen=True)
class Context:
    """What the conversation holds when a message comes."""

    language: str | None = None
    last_topics: tuple[str, ...] = ()
    open_question: str | None = None
    """place, language, or None."""
    hint: str | None = None
    """The language that the channel guesses."""
    choices: tuple[str, ...] = ()
    """What was offered last, in order: topic ids, or passage:<id>, change:<id>, language:<code>, more."""


@dataclass
class Understanding:
    """What a message asks."""

    topics: list[str] = field(default_factory=list)
    """What to answer, in order; empty when in doubt."""
    urgent: str | None = None
    choices: list[str] = field(default_factory=list)
    """In doubt: up to four topics to choose from; empty means the menu."""
    command: str | None = None
    """more, start, language, number_unknown, choice, place."""
    argument: str | None = None
    """Of the command: a language, a chosen id."""
    place: str | None = None
    """A place id, "miami-dade", "outside"; "unknown" for an answer to "where?" that names no place we know."""
    place_name: str = ""
    zip: str = ""
    case: str | None = None
    """A kind of case that legal help is sought for."""
    about: list[str] = field(default_factory=list)
    """Other topics that the message touches, likeliest first: which rule, which passage."""
    changes: list[str] = field(default_factory=list)
    """Rules that changed and that the message names."""
    passages: list[str] = field(default_factory=list)
    """Passages of policy or law that the message names."""
    concepts: list[str] = field(default_factory=list)
    language: str = "en"
    """To answer in."""
    notice: str | None = None
    """french or other: the text is in a language that we do not write."""
    personal: bool = False
    """The resident wrote a number, an A-number or an address."""
    exact: bool = False
    """The whole message is an exact keyword."""
    confidence: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """For the message and the tracker."""
        return dataclasses.asdict(self)


CASE_OF_TOPIC = {
    "domestic_violence": "domestic_violence",
    "human_trafficking": "trafficking",
    "crime_victim_visa": "crime_victim",
    "report_crime": "crime_victim",
    "workplace": "workplace",
    "immigration_fraud": "immigration_fraud",
    "arrest_detainer": "detention",
    "detained_relative": "detention",
    "officer_complaint": "police_complaint",
    "schools": "schools",
}
CASE_OF_CONCEPT = {
    "DOMESTIC_VIOLENCE": "domestic_violence",
    "BEATEN_BY": "domestic_violence",
    "INJUNCTION": "domestic_violence",
    "ABUSER": "domestic_violence",
    "RAPE": "sexual_assault",
    "TRAFFICKER": "trafficking",
    "FORCED_WORK": "trafficking",
    "NOT_PAID": "workplace",
    "WAGES": "workplace",
    "WORK_INJURY": "workplace",
    "BOSS": "workplace",
    "NOTARIO": "immigration_fraud",
    "DETENTION_CENTER": "detention",
    "DETAINER": "detention",
    "ASYLUM": "immigration",
    "TPS": "immigration",
    "VISA": "immigration",
    "RESIDENT_CARD": "immigration",
    "CASE_STATUS": "immigration",
    "DEPORT": "immigration",
    "WORK_PERMIT": "immigration",
    "U_VISA": "crime_victim",
    "VAWA": "domestic_violence",
    "PUBLIC_DEFENDER": "criminal_defense",
    "MISTREAT": "police_complaint",
    "FAMILY_LAW": "family",
    "RENT_HOUSING": "housing",
}


def case_of(concepts: Sequence[str], last_topics: Sequence[str]) -> str | None:
    """The kind of case, from the words of the message, else from what was talked about."""
    for concept in concepts:
        if concept in CASE_OF_CONCEPT:
            return CASE_OF_CONCEPT[concept]
    return next((CASE_OF_TOPIC[topic] for topic in last_topics if topic in CASE_OF_TOPIC), None)


def understand(
    text: str,
    beliefs: Mapping[str, float],
    context: Context,
    keywords: Keywords,
    gazetteer: Gazetteer,
    concepts: Concepts,
    chosen: str | None = None,
) -> Understanding:
    """What the message asks.

    Args:
        text: as the resident wrote it.
        beliefs: topic -> probability, likeliest first.
        context: what the conversation holds.
        keywords: exact words that mean a thing by themselves.
        gazetteer: the places.
        concepts: the lexicon, for kinds of case.
        chosen: what a pressed button stands for.
    """
    vote = languages.identify(text)
    result = Understanding(language=languages.choose(vote, context.language, context.hint))
    words = tokens(text)
    matches = concepts.find(words, result.language)
    result.concepts = list(dict.fromkeys(match.concept for match in matches))
    result.case = case_of(result.concepts, context.last_topics)
    result.about = [topic for topic, belief in beliefs.items() if belief >= BESIDE][:6]
    result.confidence = next(iter(beliefs.values()), 0.0)
    result.personal = has_personal_data(text)
    found = gazetteer.find(text)
    if found:
        result.place, result.place_name, result.zip = found.id, found.name, found.zip

    if chosen:
        return _choose(result, chosen)
    urgent = safety.screen(text)
    if urgent is None and not safety.vetoed(text):
        urgent = next((topic for topic in URGENT if beliefs.get(topic, 0.0) >= ALARM), None)
    word = keywords.find(text)
    if urgent is None and word:
        return _keyword(result, word, context)
    if urgent is None and re.fullmatch(r"\W*\d{1,2}\W*", text) and words:
        number = int(words[0])
        if 1 <= number <= len(context.choices):
            return _choose(result, context.choices[number - 1])
        if context.choices:
            result.command = "number_unknown"
            return result
    if urgent is None and context.open_question == "place":
        answer = _place_answer(text, words, beliefs, gazetteer)
        if answer is not None:
            result.command = "place"
            result.topics = ["legal_aid"]
            result.place, result.place_name, result.zip = answer
            result.case = case_of([], context.last_topics)
            return result
    if (
        urgent is None
        and context.language is None
        and vote.language in ("fr", "other")
        and vote.certain
        and vote.words > 2
    ):
        result.notice = "french" if vote.language == "fr" else "other"
        return result

    beliefs = _with_context(text, beliefs, context, words)
    ranked = [(topic, belief) for topic, belief in beliefs.items() if topic not in URGENT]
    total = sum(belief for _, belief in ranked) or 1.0
    ranked = [(topic, belief / total) for topic, belief in ranked]
    if urgent:
        result.urgent = urgent
        # A question beside the danger is not lost.
        asks = "?" in text or ASKING & set(result.concepts)
        if asks and ranked and ranked[0][1] >= 0.6 and ranked[0][0] not in SMALL | {"out_of_scope", "help_menu"}:
            result.topics = [ranked[0][0]]
        return result
    if not words:
        return result
    first, second = ranked[0], ranked[1]
    if first[1] >= SURE or first[1] - second[1] >= AHEAD:
        result.topics = [first[0]]
        if first[0] == "change_language":
            result.argument = _wanted_language(text, result, vote, keywords)
            if result.argument:
                result.language = result.argument
        return result
    if result.place and len(words) <= PLACE_WORDS:
        # "I live in Miami Gardens": somebody who says where they are looks for help there.
        result.topics = ["legal_aid"]
        return result
    result.choices = [topic for topic, belief in ranked[: MOST_CHOICES + 2] if belief >= NEAR and topic not in SMALL][
        :MOST_CHOICES
    ]
    return result


def _wanted_language(text: str, result: Understanding, vote: languages.Vote, keywords: Keywords) -> str | None:
    """The language that is asked for: the one named, but not one that the writer does not understand."""
    named = keywords.languages_in(text)
    if (
        "NOT" in result.concepts
        and {"UNDERSTAND", "SPEAK"} & set(result.concepts)
        and vote.language in languages.LANGUAGES
    ):
        named -= {code for code in named if code != vote.language}
        return named.pop() if named else vote.language
    return named.pop() if len(named) == 1 else None


def _choose(result: Understanding, chosen: str) -> Understanding:
    """What a button or a number stands for."""
    kind, _, rest = chosen.partition(":")
    if not rest and kind != "more":
        result.topics = [chosen]
        return result
    if kind == "language":
        result.topics, result.argument, result.command, result.language = ["change_language"], rest, "language", rest
    elif kind == "more":
        result.command = "more"
    else:
        result.topics = [{"passage": "policy_text", "change": "policy_changes"}[kind]]
        result.command, result.argument = kind, rest
    return result


def _keyword(result: Understanding, word: tuple[str, str], context: Context) -> Understanding:
    meaning, language = word
    result.exact = True
    if meaning == "language":
        result.topics, result.argument, result.command, result.language = (
            ["change_language"],
            language,
            "language",
            language,
        )
        return result
    if context.language is None and language in languages.LANGUAGES:
        result.language = language
    if meaning == "stop":
        result.topics = ["opt_out"]
    elif meaning in ("more", "start"):
        result.command = meaning
    elif meaning == "menu":
        result.topics = ["help_menu"]
    else:
        result.topics = [meaning]
    return result


def _place_answer(
    text: str, words: Sequence[str], beliefs: Mapping[str, float], gazetteer: Gazetteer
) -> tuple[str, str, str] | None:
    """The place that an answer to "where?" names; ("unknown", "", "") for one that we do not know; None for a new question."""
    found = gazetteer.find(text, asked=True)
    first = next(iter(beliefs.items()), ("", 0.0))
    if found and (len(words) <= 8 or first[0] == "legal_aid"):
        return found.id, found.name, found.zip
    sure_of_other = first[1] >= SURE and first[0] not in ("legal_aid", "out_of_scope", "help_menu", "greet")
    if len(words) <= 3 and not sure_of_other and first[0] not in ("thanks", "goodbye", "opt_out"):
        return "unknown", "", ""
    return None


def _with_context(
    text: str, beliefs: Mapping[str, float], context: Context, words: Sequence[str]
) -> Mapping[str, float]:
    """Beliefs, moved towards what was talked about when the message has no subject of its own."""
    before = next((topic for topic in context.last_topics if topic not in SMALL), None)
    if not before or before not in beliefs or len(words) > FOLLOW_WORDS:
        return beliefs
    plain_text = " ".join(words)
    share = FOLLOW if _FOLLOWS.match(plain_text) else FOLLOW / 3
    moved = {topic: belief * (1 - share) + (share if topic == before else 0.0) for topic, belief in beliefs.items()}
    return dict(sorted(moved.items(), key=lambda item: -item[1]))
