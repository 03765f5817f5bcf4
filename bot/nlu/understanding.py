"""From a text and what the conversation holds to one `Understanding`. Pure functions: no Rasa, no words for residents.

Order: what was chosen by button or number; exact words (MORE, STOP, a language's name); danger; the answer
to an open question; the classifier's topics; doubt.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from actions.knowledge.places import Gazetteer, fold
from bot.nlu import language as languages
from bot.nlu import safety
from bot.nlu.keywords import Keywords
from bot.nlu.lexicon import Concepts
from bot.nlu.personal import has_personal_data
from bot.nlu.text import tokens

FOLLOW_UP = "follow_up"
"""What the classifier calls a message without a subject of its own ("does that cost?"). Never a reply's topic."""
SAME, RELATED = 3.0, 1.5
"""How many times likelier a topic becomes when it was answered last, or is among what that answer leads to ..."""
BEFORE_LAST = 1.5
"""... and when it was answered before that; only for messages of at most FOLLOW_WORDS words."""
FOLLOW_PRIOR, FOLLOW_LED, LEAST_EVIDENCE = (0.6, 0.25, 0.15), 0.15, 0.002
"""What a follow-up is about before it is read: the last topic, the ones before, those that the last leads to; weighed with what the
words themselves say for each."""
SURE = 0.48
"""Belief from which one topic is answered without asking ..."""
AHEAD = 0.18
"""... or this far ahead of the next (the trade between right, offered and wrong: docs/decisions/0003-understanding.md)."""
NEAR = 0.03
"""A topic with less belief is not offered."""
BESIDE = 0.08
"""Belief from which a message touches a topic beside its own (which passage, which rule)."""
MOST_CHOICES = 4
ALARM = 0.20
"""Belief in emergency and crisis together that raises the alarm (docs/decisions/0003-understanding.md) ..."""
ALARM_PLAIN, ALARM_FOLLOWING = 0.5, 0.7
"""... of a message that names nothing dangerous: alone, and in the middle of a conversation ..."""
ALARM_VETOED = 0.7
"""... also for a text about the past, the news or 911 as a thing ..."""
TAIL_WORDS, ALARM_TAIL = 15, 0.6
"""The last words of a story of more than twice as many are judged by themselves where they have this belief, or the screen finds danger
in them."""
SCREENED = 0.05
"""... and the belief that is enough where the screen raises it."""
FOLLOW_SURE, FOLLOW_AHEAD = 0.3, 0.05
"""SURE and AHEAD for a short message in the middle of a conversation: a choice to make would break its thread."""
NO_FOLLOW = frozenset({"greet", "thanks", "goodbye", "help_menu", "human_handoff", "opt_out", "delete_data"})
"""Topics that nobody goes on about."""
FOLLOWS_TO = {"out_of_scope": "legal_aid"}
"""What a follow-up is about: out_of_scope has just named lawyers."""
FOLLOW_WORDS = 12
LEAST_LETTERS = 3
"""Fewer letters ("aaaa" is read as "aa") raise no alarm by themselves."""
SECOND = 0.7
"""Belief from which a sentence asks a second question; two answers where one was asked are half wrong."""
NO_SECOND = frozenset(
    {
        FOLLOW_UP,
        "greet",
        "thanks",
        "goodbye",
        "emergency",
        "crisis",
        "help_menu",
        "out_of_scope",
        "opt_out",
        "delete_data",
        "change_language",
    }
)
DOUBTFUL_DANGER = 0.12
"""Belief in danger from which a message that is not understood, and names something dangerous, gets the number."""
RISKY = {"opt_out": 0.75, "delete_data": 0.75}
"""What ends or erases a conversation needs this belief from a sentence; under it the resident chooses."""
SHORT_SURE = 0.5
"""One or two words must be this clear to be answered without asking."""
CLEARLY = 0.8
"""A greeting or a thanks of one word, or in French, is believed from here."""
NUMBER_ONLY = 0.2
"""Belief in a message without a subject from which a phone number in it is all that it says."""
NOT_A_PLACE = frozenset({"WHAT_Q", "HOW_Q", "WHETHER_Q", "WHO_Q", "ALLOWED", "ROB", "ACCIDENT", "POLICE", "ICE"})
"""Somebody who names a place and one of these tells or asks something else."""
PLACE_WORDS = 6
"""In doubt, a message of at most so many words that names a place asks for help there."""

ASKING = frozenset({"WHETHER_Q", "WHAT_Q", "HOW_Q", "ALLOWED", "ASK_STATUS"})
"""Concepts of a question, for a message that also tells of danger."""
URGENT = ("emergency", "crisis")
SMALL = frozenset({"greet", "thanks", "goodbye"})
AFTER_CRISIS = SMALL | {"opt_out", "delete_data", "change_language", "help_menu"}
"""Answered as they are, also after 988 was given."""


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
    more: bool = False
    """Whether an answer has a rest that was not read yet."""


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
    watched: bool = False
    """Somebody else looks into the resident's phone."""
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


WATCHERS = frozenset({"HUSBAND", "WIFE", "PARTNER", "EX", "ABUSER"})
GUARDED = frozenset({"PHONE", "MESSAGE"})


DANGER = frozenset(
    {
        "GUN", "KNIFE", "PILLS", "DRUGS_ALCOHOL", "BLOOD", "KILL", "DIE", "SUICIDE", "SADNESS", "HIT", "HURT", "RAPE", "SHOOT",
        "FIRE", "BREAK_IN", "KIDNAP", "THREATEN", "BEATEN_BY", "STALK", "ROB", "THIEF", "SICK", "ACCIDENT", "NINE_ONE_ONE",
        "HELP_URGENT", "DANGER", "DANGER_IN_PROGRESS", "ATTEMPT_MEANS", "HELP", "HIDE", "RUN", "HOSPITAL", "DOCTOR", "ABUSER",
        "HARASS_WORK", "CONTROLLED_ISOLATED", "GANG", "PICK_FIGHT", "ENTER", "DOOR", "WINDOW", "NOW", "BAD", "AFRAID", "PREGNANT",
    }
)  # fmt: skip
"""Concepts without one of which a message must be clearer to raise the alarm; most of all a follow-up ("rather not give it")."""


BARE = frozenset(
    {
        "WHY_Q", "WHAT_Q", "WHO_Q", "WHERE_Q", "WHEN_Q", "HOW_Q", "WHETHER_Q", "HOW_MUCH", "NOT", "NO_ANSWER", "YES",
        "ME", "YOU", "HE_SHE", "WE", "THEY",
    }
)  # fmt: skip
"""A message of one word that says no more than these is not understood."""


ONLY_AFRAID = frozenset({"AFRAID", "ME", "WE", "HAVE", "NOW", "MANY", "TIME_CLOCK", "THREATEN"})
"""Of a message that says only that somebody is afraid; "asustada" is in THREATEN too, "so" in TIME_CLOCK."""
AFRAID_WORDS = 4


KILLS_ME = frozenset({"mate", "maten", "matara", "mataran"})


def _afraid_of_somebody(text: str, concepts: Sequence[str]) -> bool:
    """Whether somebody else is feared to kill."""
    others = WATCHERS | {"HE_SHE", "THEY"}
    named = bool(others & set(concepts)) or bool(KILLS_ME & set(tokens(text)))
    return {"AFRAID", "KILL"} <= set(concepts) and "SUICIDE" not in concepts and named


def _only_afraid(concepts: Sequence[str], words: int) -> bool:
    """ "I'm scared", and no word of what: the menu, with 911 above it, and neither 988 nor an answer about something else."""
    return "AFRAID" in concepts and set(concepts) <= ONLY_AFRAID and words <= AFRAID_WORDS


def _danger(
    text: str, beliefs: Mapping[str, float], concepts: Sequence[str], follows: bool, tail: Mapping[str, float]
) -> str | None:
    """emergency, crisis or None: the classifier's alarm, or the screen's where the classifier does not rule it out."""
    if safety.cries(text):
        return "emergency"
    if _only_afraid(concepts, len(tokens(text))):
        return None
    belief = {topic: beliefs.get(topic, 0.0) for topic in URGENT}
    at_the_end = {topic: tail.get(topic, 0.0) for topic in URGENT}
    last_words = " ".join(text.split()[-TAIL_WORDS:])
    least_at_the_end = SCREENED if safety.screen(last_words) else ALARM_TAIL
    if sum(at_the_end.values()) >= max(least_at_the_end, sum(belief.values())):
        # A long story whose last words tell of danger: the rest of it does not outvote them.
        belief, text = at_the_end, last_words
    likelier = max(URGENT, key=belief.__getitem__)
    if likelier == "crisis" and _afraid_of_somebody(text, concepts) and safety.screen(text) != "crisis":
        # "Tengo miedo que me mate esta noche": somebody else's hand.
        likelier = "emergency"
        belief = {"emergency": sum(belief.values()), "crisis": 0.0}
    total = sum(belief.values())
    if WATCHERS & set(concepts) and "KILL" in concepts and "SUICIDE" not in concepts and not safety.screen(text):
        return None  # "my husband tried to kill me": no suicide, and not now; the abuse answer begins with 911
    least = ALARM if DANGER & set(concepts) else (ALARM_FOLLOWING if follows else ALARM_PLAIN)
    alarmed = total >= ALARM_VETOED or (total >= least and not safety.vetoed(text))
    screened = safety.screen(text)
    if alarmed and len("".join(tokens(text))) >= LEAST_LETTERS:
        # Which of the two: the screen's word, where the classifier thinks both possible ("my child is dying").
        return screened if screened and belief[screened] >= SCREENED * total else likelier
    return screened if screened and total >= SCREENED else None


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
    *arguments: Any,
    **options: Any,
) -> Understanding:
    """What the message asks, and what the conversation adds to it: as `understand_alone`, with its arguments."""
    result = understand_alone(text, beliefs, context, *arguments, **options)
    if result.urgent is None and list(context.last_topics[:1]) == ["domestic_violence"] and safety.arrives(text):
        # "He's home", after violence at home.
        result.urgent, result.topics, result.choices, result.command = "emergency", [], [], None
    elif result.urgent is None and "crisis" in context.last_topics[:2] and set(result.topics) - AFTER_CRISIS:
        # Whatever is asked after thoughts of suicide, 988 stands above the answer; a question about 988 gets nothing that deters from it.
        result.urgent = "crisis"
        if "988" in tokens(text):
            result.topics = []
    return result


def understand_alone(
    text: str,
    beliefs: Mapping[str, float],
    context: Context,
    keywords: Keywords,
    gazetteer: Gazetteer,
    concepts: Concepts,
    chosen: str | None = None,
    parts: Sequence[Mapping[str, float]] = (),
    related: Mapping[str, Sequence[str]] | None = None,
    tail: Mapping[str, float] | None = None,
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
        parts: beliefs of the message's sentences, where it has several.
        related: topic -> topics that its answer leads to.
        tail: beliefs of the last words of a long message.
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
    urgent = _danger(text, beliefs, result.concepts, bool(context.last_topics), tail or {})
    total_danger = sum(beliefs.get(topic, 0.0) for topic in URGENT)
    word = keywords.find(text)
    number = keywords.number(text, bool(context.choices))
    if (
        urgent is None
        and number is None
        and result.place is None
        and context.last_topics[:1]
        and context.last_topics[0] in URGENT
        and len(words) <= 2
        and (word is None or word[0] in ("more", "thanks", "yes", "no"))
    ):
        # "yes", "more", "ok" after 988 or 911: the same words once more, no small talk.
        result.urgent = context.last_topics[0]
        return result
    if urgent is None and word:
        return _keyword(result, word, context)
    if urgent is None and number is not None:
        if 1 <= number <= len(context.choices):
            return _choose(result, context.choices[number - 1])
        result.command = "number_unknown"
        return result
    first_belief = next(iter(beliefs.items()), ("", 0.0))
    asked = context.open_question in ("place", "place_again")
    listed = context.last_topics[:1] == ("legal_aid",)
    if urgent is None and (asked or listed):
        answer = _place_answer(text, words, beliefs, gazetteer, asked)
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
        and not (first_belief[0] in SMALL and first_belief[1] >= CLEARLY)
    ):
        result.notice = "french" if vote.language == "fr" else "other"
        return result

    lives = "LIVE_RESIDE" in result.concepts and "NOT" not in result.concepts
    looked_for_help = "legal_aid" in context.last_topics and not NOT_A_PLACE & set(result.concepts)
    if urgent is None and (lives or looked_for_help) and result.place and len(words) <= PLACE_WORDS:
        # "I live in Miami Gardens", "ok, I am in Kendall now": somebody who says where they are looks for help there.
        result.topics = ["legal_aid"]
        return result
    if found and _only_a_place(text, gazetteer):
        # "cutler bay" and nothing else: where help is looked for.
        result.topics, result.command = ["legal_aid"], "place"
        return result
    beliefs_before = beliefs
    beliefs = _with_context(beliefs, context, words, related or {})
    goes_on = context.last_topics[0] if context.last_topics[:1] and context.last_topics[0] in URGENT else None
    if urgent is None and goes_on and beliefs and next(iter(beliefs)) == goes_on:
        # "I don't want to talk to anybody", after 988: the same words once more.
        result.urgent = goes_on
        return result
    ranked = [(topic, belief) for topic, belief in beliefs.items() if topic not in URGENT]
    total = sum(belief for _, belief in ranked) or 1.0
    ranked = [(topic, belief / total) for topic, belief in ranked]
    if urgent:
        result.urgent = urgent
        result.language = languages.choose_in_danger(vote, safety.language_of(text), context.language, context.hint)
        # A question beside the danger is not lost.
        asks = "?" in text or ASKING & set(result.concepts)
        # 911 stands alone before violence at home: the emergency text is about it.
        alone = SMALL | {"out_of_scope", "help_menu"} | ({"domestic_violence"} if urgent == "emergency" else set())
        if asks and ranked and ranked[0][1] >= 0.6 and ranked[0][0] not in alone:
            result.topics = [ranked[0][0]]
        return result
    if not words:
        return result
    if _only_afraid(result.concepts, len(words)) and not context.last_topics:
        result.topics = ["help_menu"]
        return result
    if result.personal and beliefs_before.get(FOLLOW_UP, 0.0) >= NUMBER_ONLY and ranked[0][1] < CLEARLY:
        # "This is my cell: ...": a number and nothing that is asked.
        result.topics = ["privacy"]
        return result
    if GUARDED & set(result.concepts) and WATCHERS & set(result.concepts):
        result.watched = True
    first, second = ranked[0], ranked[1]
    # "le" is an hour in Creole and "him" in Spanish.
    asks_when = any(match.concept == "WHEN_Q" and words[match.start : match.end] != ["le"] for match in matches)
    if first[0] == "delete_data" and asks_when:
        # "When do you delete my messages?" is a question, not a request.
        result.topics = ["privacy"]
        return result
    if first[0] == "delete_data" and "HOW_Q" in result.concepts:
        # "How do I delete my messages?" may be either: nothing is erased for a question, and nobody has to ask twice.
        result.choices = ["delete_data", "privacy"]
        return result
    if len(words) == 1 and DANGER & set(result.concepts) and first[0] == "out_of_scope":
        # "Kill", and no more: the menu, with 911 above it.
        result.topics = ["help_menu"]
        return result
    if len(words) == 1 and set(result.concepts) <= BARE and first[1] < CLEARLY and not context.last_topics:
        return result
    if len(words) <= 2 and first[1] < SHORT_SURE and not context.last_topics:
        result.choices = [topic for topic, belief in ranked[:MOST_CHOICES] if belief >= NEAR and topic not in SMALL]
        return result
    follows = len(words) <= FOLLOW_WORDS and bool(set(context.last_topics) - NO_FOLLOW)
    if WATCHERS & set(result.concepts) and "KILL" in result.concepts and first[0] != "domestic_violence":
        # A threat to kill by husband, wife or ex is answered first, whatever else is asked.
        others = [first[0]] if first[1] >= SURE and first[0] not in SMALL | {"out_of_scope", "help_menu"} else []
        result.topics = ["domestic_violence", *others]
        return result
    # Thanks, a greeting, a farewell are never offered as choices: nothing is lost if one is answered by mistake.
    sure, ahead = (FOLLOW_SURE, FOLLOW_AHEAD) if follows or first[0] in SMALL else (SURE, AHEAD)
    if (first[1] >= sure or first[1] - second[1] >= ahead) and first[1] >= RISKY.get(first[0], 0.0):
        result.topics = [first[0]]
        second_question = _second_question(first[0], parts)
        if second_question:
            result.topics.append(second_question)
        if first[0] == "change_language":
            result.argument = _wanted_language(text, result, vote, keywords)
            if result.argument:
                result.language = result.argument
        return result
    if DANGER & set(result.concepts) and total_danger >= DOUBTFUL_DANGER and not safety.vetoed(text):
        # Not understood, and perhaps in danger: the number comes first, the choices with it.
        result.urgent = "emergency"
        result.language = languages.choose_in_danger(vote, safety.language_of(text), context.language, context.hint)
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


def _second_question(first: str, parts: Sequence[Mapping[str, float]]) -> str | None:
    """Another topic that a sentence of the message clearly asks, beside one that clearly asks the first."""
    leaders = [next(iter(part.items())) for part in parts]
    clear = [topic for topic, belief in leaders if belief >= SECOND and topic not in NO_SECOND]
    return next((topic for topic in clear if topic != first), None) if first in clear else None


def _choose(result: Understanding, chosen: str) -> Understanding:
    """What a button or a number stands for."""
    kind, _, rest = chosen.partition(":")
    result.exact = True
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
    elif meaning == "yes" and context.more and context.open_question is None:
        result.command = "more"
    elif meaning in ("yes", "no"):
        result.topics = ["thanks"]
    elif meaning == "menu":
        result.topics = ["help_menu"]
    else:
        result.topics = [meaning]
    return result


def _only_a_place(text: str, gazetteer: Gazetteer) -> bool:
    """Whether the text is the name of a place or a ZIP code, with at most a word like "in" before it."""
    words = fold(text).split()
    if len(words) == 1 and words[0] in gazetteer.zips:
        return True
    forms = [" ".join(words[skip:]) for skip in (0, 1) if len(words) > skip]
    return any(form in gazetteer.forms and form not in gazetteer.weak for form in forms[: 1 + (len(words) <= 4)])


def _place_answer(
    text: str, words: Sequence[str], beliefs: Mapping[str, float], gazetteer: Gazetteer, asked: bool
) -> tuple[str, str, str] | None:
    """The place that an answer to "where?" names; ("unknown", "", "") for one that we do not know; None for a new question."""
    found = gazetteer.find(text, asked=True)
    first = next(iter(beliefs.items()), ("", 0.0))
    if found and (len(words) <= 8 or first[0] == "legal_aid"):
        return found.id, found.name, found.zip
    if not asked:
        return None
    sure_of_other = first[1] >= SURE and first[0] not in ("legal_aid", "out_of_scope", "help_menu", "greet")
    if 1 <= len(words) <= 3 and not sure_of_other and first[0] not in ("thanks", "goodbye", "opt_out", "greet"):
        return "unknown", "", ""
    return None


def _with_context(
    beliefs: Mapping[str, float], context: Context, words: Sequence[str], related: Mapping[str, Sequence[str]]
) -> dict[str, float]:
    """Beliefs in topics, with what was talked about: the share of the follow-up goes to the last topics, and they are likelier a priori.

    Without a conversation the follow-up's share is left out, so that the rest is as doubtful as it should be.
    """
    follow = beliefs.get(FOLLOW_UP, 0.0)
    own = {topic: belief for topic, belief in beliefs.items() if topic != FOLLOW_UP}
    before = [FOLLOWS_TO.get(topic, topic) for topic in context.last_topics if topic not in NO_FOLLOW]
    before = [topic for topic in dict.fromkeys(before) if topic in own]
    if before and len(words) <= FOLLOW_WORDS:
        leads_to = [topic for topic in related.get(before[0], ()) if topic in own and topic not in before]
        priors = {**dict.fromkeys(leads_to, FOLLOW_LED), **dict(zip(before, FOLLOW_PRIOR, strict=False))}
        weights = {topic: prior * (own[topic] + LEAST_EVIDENCE) for topic, prior in priors.items()}
        for topic, weight in weights.items():
            own[topic] += follow * weight / sum(weights.values())
        for topic in leads_to:
            own[topic] *= RELATED
        if before[0] not in URGENT:
            own[before[0]] *= SAME
        for topic in before[1:2]:
            own[topic] *= BEFORE_LAST
        total = sum(own.values()) or 1.0
        own = {topic: belief / total for topic, belief in own.items()}
    return dict(sorted(own.items(), key=lambda item: -item[1]))
