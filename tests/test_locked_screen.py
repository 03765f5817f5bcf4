"""What a locked phone shows of answers on harm and crisis, and how they end: somebody else may look at it.

Messages are taken as they leave: TwiML parsed, Telegram's as its sender gets them.
"""

from __future__ import annotations

import asyncio
import itertools
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from actions import clock
from actions.answering import SENSITIVE, Answering, Conversation
from actions.freshness import Withdrawal, Withdrawals
from bot import assistant as engine
from bot.channels.shape import SHAPES, gsm, opening, segments, shape
from bot.channels.sms import twiml
from bot.channels.telegram import send as telegram
from bot.check import NEUTRAL, NOT_NEUTRAL
from bot.desk import Desk, Message, Result
from bot.nlg import Reply, render
from bot.nlu.understanding import Understanding
from bot.privacy.keys import subkey
from bot.privacy.limits import Limit, Limiter
from bot.privacy.pseudonyms import Pseudonyms
from bot.privacy.store import MemoryStore
from bot.settings import SENSITIVE_TOPICS, Settings

LANGUAGES = ("en", "es", "ht")
PHONES = ("sms", "whatsapp", "telegram")
TOPICS = tuple(sorted(SENSITIVE_TOPICS))
OWN = Settings(data=Path("var"), retention_hours=24)
_numbers = itertools.count()


def leaving(replies: Sequence[Reply], channel: str, words: Any) -> list[str]:
    """The texts of one turn as messages that reach the phone."""
    if channel == "telegram":
        return [part.text for reply in replies for part in telegram.parts(reply, words)]
    made = twiml.response(twiml.joined(replies), opening=opening(replies, words))
    return [message.text or "" for message in ET.fromstring(made)]


def tells(text: str) -> str | None:
    """The word that a locked phone shows of abuse or police."""
    found = NOT_NEUTRAL.search(text[:NEUTRAL])
    return found.group(0) if found else None


def ends_with_deleting(text: str, language: str, words: Any) -> bool:
    """Whether its last words are how to get rid of it; a count of parts may stand under them."""
    closing = words.line("phrase/safety_delete", language)
    body = text.rsplit("\n\n(", 1)[0] if text.endswith(")") else text
    return body.endswith((closing, gsm(closing)))


def turns(topic: str, language: str, channel: str, known: Any, words: Any) -> list[list[str]]:
    """A topic's messages, turn by turn, until MORE has nothing left."""
    form = SHAPES[channel]
    answering = Answering(known, Withdrawals(), "nonprofit")
    told = {"brief": form.brief, "stop_words": form.stop_words, "introduced": False}
    urgent = topic if topic in ("crisis", "emergency") else None
    understood = Understanding(topics=[] if urgent else [topic], language=language, urgent=urgent)
    before, made = Conversation(language=language), []
    while len(made) < 20:
        turn = answering.answer({**understood.as_dict(), **told}, before, clock.today())
        made.append(leaving([shape(render(plan, words), form, words) for plan in turn.plans], channel, words))
        before = turn.conversation
        if not before.more:
            return made
        understood = Understanding(language=language, command="more")
    raise AssertionError(f"{topic} never ends")


# --- the first characters -----------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("channel", PHONES)
@pytest.mark.parametrize("topic", TOPICS)
def test_no_message_begins_with_what_it_is_about(
    topic: str, channel: str, language: str, known: Any, words: Any
) -> None:
    made = turns(topic, language, channel, known, words)
    assert len(made) == {"crisis": 1}.get(topic, 8 if channel == "sms" else 2)
    for number, message in enumerate(itertools.chain.from_iterable(made)):
        assert not tells(message), (number, tells(message), message[:NEUTRAL])
        assert number == 0 or "911" not in message[:NEUTRAL], "only the first message has the danger in front"
    if topic == "domestic_violence" and channel == "whatsapp":
        assert len(made[1]) > 2, "the rest is cut, so that the cuts are looked at"


TELLING = [
    *("the Sheriff said", "la Sheriff", "Cherif la", "police", "la policía", "lapolis", "county deputies", "law enforcement"),
    *("crime victims", "las víctimas", "viktim yo", "abuse", "abuso", "abi seksyèl", "domestic violence", "violencia"),
    *("vyolans", "a shelter", "un refugio", "un albergue", "yon abri", "your spouse", "su esposo", "su esposa", "mari ou"),
    *("suicide", "suicidio", "swisid", "touye tèt ou", "National Domestic Violence Hotline", "trafficking", "trafik moun"),
    *("la trata", "forced work", "trabajo forzado", "travay fòse", "a protection order", "orden de protección", "lòd pwoteksyon"),
    *("Coordinated Victims Assistance Center", "The Lodge", "Safespace", "VAWA", "your husband", "rape", "kadejak", "sèks"),
]  # fmt: skip


@pytest.mark.parametrize("text", TELLING)
def test_a_word_that_tells_is_seen(text: str) -> None:
    assert tells(text)
    assert not tells("." * NEUTRAL + text), "behind what a locked phone shows it may stand"


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_stands_before_the_rest_and_before_a_list_is_long_enough(language: str, words: Any) -> None:
    """Else the name of a shelter would slip into what a locked phone shows."""
    assert len(words.line("phrase/goes_on", language)) >= NEUTRAL
    first = words.line("phrase/call_first", language)
    values = {"place": "X"}
    for head in ("places_that_help", "place_near", "place_county", "place_unknown", "place_outside"):
        assert len(f"{first} {words.line(f'phrase/{head}', language, values)}") >= NEUTRAL, head


@dataclass(frozen=True)
class Talk:
    """A conversation of the kind that nobody else should guess."""

    label: str
    language: str
    said: tuple[str, ...]
    topics: frozenset[str]
    """Topics that it must come to, or the test would look at something else."""


ABUSE, WORK, CRISES = frozenset({"domestic_violence"}), frozenset({"human_trafficking"}), frozenset({"crisis"})
PLACES, OTHER = frozenset({"legal_aid"}), frozenset({"change_language"})
HIT = {
    "en": "my husband hits me at home, who can help me",
    "es": "mi esposo me pega en la casa, ¿quién me ayuda?",
    "ht": "mari m konn bat mwen lakay la, ki moun ki ka ede m",
}
UNPAID = {
    "en": "my boss took my passport and makes me work without pay, i cannot leave",
    "es": "mi patrona me quitó el pasaporte y me obliga a trabajar sin pagarme, no me deja salir",
    "ht": "patwon an pran paspò m, li fòse m travay san peye m, li pa kite m soti",
}
TALKS = [
    Talk("a husband who hits", "en", (HIT["en"], *["more"] * 7), ABUSE),
    Talk("a husband who hits", "es", (HIT["es"], *["siga"] * 7), ABUSE),
    Talk("a husband who hits", "ht", (HIT["ht"], *["plis"] * 7), ABUSE),
    Talk("no wages, no passport", "en", (UNPAID["en"], *["more"] * 7), WORK),
    Talk("no wages, no passport", "es", (UNPAID["es"], *["más"] * 7), WORK),
    Talk("no wages, no passport", "ht", (UNPAID["ht"], *["plis"] * 7), WORK),
    Talk("then a lawyer near", "en", (HIT["en"], "i need a free lawyer", "33127", "more"), ABUSE | PLACES),
    Talk("then a lawyer near", "es", (HIT["es"], "necesito un abogado gratis", "hialeah", "siga"), ABUSE | PLACES),
    Talk("then a lawyer near", "ht", (HIT["ht"], "mwen bezwen yon avoka gratis", "33142", "plis"), ABUSE | PLACES),
    Talk("another language", "en", (HIT["en"], "español", "kreyòl", "plis", "english"), ABUSE | OTHER),
    Talk("another language, forced work", "en", (UNPAID["en"], "kreyòl", "español", "english"), WORK | OTHER),
    Talk("wants to die", "en", ("i want to kill myself", "ok", "more", "español"), CRISES),
    Talk("wants to die", "es", ("me quiero matar", "ok", "siga", "kreyòl"), CRISES),
    Talk("wants to die", "ht", ("mwen vle touye tèt mwen", "wi", "plis", "english"), CRISES),
]  # fmt: skip


@pytest.mark.parametrize("channel", PHONES)
@pytest.mark.parametrize("row", TALKS, ids=lambda row: f"{row.language}: {row.label}")
def test_a_whole_conversation_tells_nothing_on_a_locked_screen(
    row: Talk, channel: str, talk: Callable[..., list[Reply]], words: Any
) -> None:
    own, met = f"locked-{next(_numbers)}", set()
    for text in row.said:
        replies = talk(text, channel, conversation=own)
        met |= {reply.topic for reply in replies}
        for message in leaving(replies, channel, words):
            assert not tells(message), (text, tells(message), message[:NEUTRAL])
    assert row.topics <= met


def test_what_asks_two_things_begins_with_the_one_that_tells_nothing(known: Any, words: Any) -> None:
    for other, topic in itertools.product(
        ("report_crime", "crime_victim_visa"), ("domestic_violence", "human_trafficking")
    ):
        understood = {**Understanding(topics=[other, topic], language="en").as_dict(), "introduced": True}
        turn = Answering(known, Withdrawals()).answer(understood, Conversation(language="en"), clock.today())
        assert [plan["topic"] for plan in turn.plans] == [topic, other]
        assert turn.plans[0]["closing"] == []
        assert turn.plans[1]["closing"], "how to delete is said once, at the end"


def test_telegram_cuts_a_long_answer_without_telling(words: Any) -> None:
    """Its messages hold 4096 signs; with sources, the longest answers come near that."""
    links = [
        {"title": f"Fla. Stat. 741.{number}, domestic violence", "url": f"https://example.org/{number}"}
        for number in range(9)
    ]
    closing = words.line("phrase/safety_delete", "es")
    for length in (3900, 4000, 4090, 9000):
        body = "Sheriff. " * (length // 9)
        text = f"{'.' * NEUTRAL} {body.strip()}\n\n{closing}"
        reply = Reply(text, "es", "answer", "domestic_violence", links=links, closing=closing, guarded=True)
        made = telegram.parts(reply, words)
        assert len(made) > (1 if length > 3900 else 0)
        for part in made:
            assert not tells(part.text), part.text[:NEUTRAL]
            assert telegram.units(part.text) <= telegram.LONGEST
            for mark in part.marks:
                shown = part.text.encode("utf-16-le")[2 * mark.offset : 2 * (mark.offset + mark.length)].decode(
                    "utf-16-le"
                )
                assert shown.startswith((words.line("phrase/page_sources", "es"), "Fla. Stat.")), shown
        assert ends_with_deleting(made[-1].text, "es", words)
        open_reply = Reply(text, "es", "answer", "schools", links=links)
        assert any(tells(part.text) for part in telegram.parts(open_reply, words)) or length < 4090, (
            "else this proves nothing"
        )


# --- the last words -----------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("channel", SHAPES)
@pytest.mark.parametrize("topic", TOPICS)
def test_first_and_last_message_end_with_how_to_delete(
    topic: str, channel: str, language: str, known: Any, words: Any
) -> None:
    made = turns(topic, language, channel, known, words) if channel in PHONES else None
    if made is None:
        form = SHAPES[channel]
        urgent = topic if topic == "crisis" else None
        understood = Understanding(topics=[] if urgent else [topic], language=language, urgent=urgent).as_dict()
        turn = Answering(known, Withdrawals()).answer(
            {**understood, "introduced": False}, Conversation(language=language), clock.today()
        )
        made = [[shape(render(plan, words), form, words).text for plan in turn.plans]]
    for turn_made in (made[0], made[-1]):
        assert ends_with_deleting(turn_made[-1], language, words), turn_made[-1][-200:]
    closing = gsm(words.line("phrase/safety_delete", language))
    assert gsm("\n".join(made[0])).count(closing) == 1, "said once"
    if topic != "crisis" and channel in PHONES:
        how = {"en": "hold your finger", "es": "mantenga el dedo", "ht": "kenbe dwèt ou"}[language]
        assert how in made[-1][-1], "the end of the rest says how it is done"


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_helps_in_a_crisis_and_how_to_delete_it_fit_into_two_text_messages(
    language: str, known: Any, words: Any
) -> None:
    [[text]] = turns("crisis", language, "sms", known, words)
    assert segments(text) == 2
    assert text.index("988") < text.index("911") < text.index(gsm(words.line("phrase/safety_delete", language)))
    assert "AYUDA" in text, "how to ask for Spanish"


CRISIS = {"en": "i want to kill myself", "es": "me quiero matar", "ht": "mwen vle touye tèt mwen"}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("channel", SHAPES)
def test_a_crisis_text_ends_so_whatever_fails_or_is_limited(
    channel: str, language: str, assistant: Any, words: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.new_event_loop()

    def last(desk: Desk, sender: str, result: Result, **more: Any) -> None:
        answer = loop.run_until_complete(
            desk.answer(Message(channel, sender, CRISIS[language], language=language, **more))
        )
        assert answer.result is result
        assert answer.replies[0].kind == "crisis"
        assert "988" in answer.replies[0].text[:NEUTRAL]
        for message in leaving(answer.replies, channel if channel in PHONES else "telegram", words):
            assert not tells(message)
        assert ends_with_deleting(answer.replies[-1].text, language, words), answer.replies[-1].text

    fresh = Desk(
        assistant, MemoryStore(OWN), Pseudonyms(None, subkey("s" * 32, "opt-out")), limiter=Limiter((Limit(2, 3600.0),))
    )
    last(fresh, "one", Result.ANSWERED, id="1")
    last(fresh, "one", Result.REPEATED, id="1")
    last(fresh, "one", Result.ANSWERED, id="2")
    last(fresh, "one", Result.LIMITED, id="3")
    refused = loop.run_until_complete(fresh.refused(Message(channel, "two", CRISIS[language], language=language), 5))
    assert ends_with_deleting(refused.replies[-1].text, language, words)
    if SHAPES[channel].stop_words:
        loop.run_until_complete(fresh.answer(Message(channel, "three", "STOP")))
        last(fresh, "three", Result.STOPPED)

    async def broken(*_: Any) -> Any:
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(assistant, "_turn", broken)
        last(Desk(assistant, MemoryStore(OWN)), "four", Result.ANSWERED)
    with monkeypatch.context() as patch:
        patch.setattr(assistant, "turn", broken)
        last(Desk(assistant, MemoryStore(OWN)), "five", Result.FAILED)
    loop.close()


@dataclass(frozen=True)
class Call:
    """A call for help."""

    label: str
    language: str
    text: str
    closes: bool
    """Whether the answer ends with how to delete it."""


CALLS = [
    Call("a husband who beats", "en", "my husband is beating me right now help", True),
    Call("he, at the door", "en", "he is beating me right now", True),
    Call("an ex with a gun", "en", "my ex is outside with a gun", True),
    Call("a husband who beats", "es", "mi marido me está pegando ahora, ayuda", True),
    Call("a partner with a knife", "es", "mi pareja tiene un cuchillo y me quiere matar", True),
    Call("a husband who beats", "ht", "mari m ap bat mwen kounye a, anmwe", True),
    Call("a fire", "en", "there is a fire in my kitchen help", False),
    Call("a robber", "es", "me están robando ahora mismo con una pistola", False),
    Call("an accident", "ht", "gen yon aksidan, yon moun ap senyen anpil", False),
]


@pytest.mark.parametrize("row", CALLS, ids=lambda row: f"{row.language}: {row.label}")
def test_an_emergency_at_home_ends_so_and_a_fire_does_not(
    row: Call, talk: Callable[..., list[Reply]], words: Any
) -> None:
    replies = talk(row.text, "sms", conversation=f"call-{next(_numbers)}")
    if replies[0].kind != "emergency":
        assert replies[0].topic == "domestic_violence", replies[0].topic
    assert "911" in replies[0].text[:NEUTRAL]
    assert ends_with_deleting(replies[-1].text, row.language, words) == row.closes, replies[-1].text[-200:]
    if replies[0].kind == "emergency" and len(replies) == 1:
        assert segments(replies[0].text) == 2


def test_where_nobody_looks_at_the_phone_nothing_of_it_is_said(talk: Callable[..., list[Reply]], words: Any) -> None:
    for text in ("can ICE come to a school", "i was robbed, can i report it", "33142", "thanks"):
        assert words.line("phrase/safety_delete", "en") not in "".join(reply.text for reply in talk(text))


def test_taken_back_an_answer_still_ends_so(known: Any, words: Any, tmp_path: Path) -> None:
    withdrawals = Withdrawals(tmp_path / "withdrawn.yml")
    withdrawals.write([Withdrawal("domestic_violence", None)])
    turn = Answering(known, withdrawals).answer(
        {**Understanding(topics=["domestic_violence"]).as_dict(), "introduced": True}, Conversation(), clock.today()
    )
    reply = shape(render(turn.plans[0], words), SHAPES["sms"], words)
    assert reply.text.startswith(words.line("phrase/withdrawn", "en"))
    assert ends_with_deleting(reply.text, "en", words)


def test_the_topics_are_the_same_everywhere() -> None:
    assert SENSITIVE == SENSITIVE_TOPICS
    assert engine.urgent("crisis", "en")["closing"]
    assert engine.urgent("emergency", "en")["closing"] == []
