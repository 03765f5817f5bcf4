"""Every text that residents can read, in every language, filled and shaped: lengths, quotes, and what must never be said."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import pytest

from actions import clock
from actions.answering import Answering, Conversation
from actions.freshness import Withdrawals
from bot.channels.shape import GSM, GSM_DOUBLE, SHAPES, gsm, shape
from bot.check import AS_LONG_AS_THEY_ARE, PLACES, SEGMENTS, URGENT_SEGMENTS, Sms, check_segments, first_sms
from bot.nlg import Reply, render
from bot.nlu.understanding import Understanding
from tests.conftest import NOW, table

LANGUAGES = ("en", "es", "ht")
CHANNELS = tuple(SHAPES)
FILLED = re.compile(r"\{[a-z0-9_:.-]+\}")
NUMBER = re.compile(r"(?<![\d-])(?:1-)?\d{3}-\d{3}-\d{4}(?!\d)")
NEUTRAL = 60


def _understood(topic: str, language: str, **more: Any) -> dict[str, Any]:
    made = Understanding(topics=[] if topic in ("emergency", "crisis") else [topic], language=language).as_dict()
    if topic in ("emergency", "crisis"):
        made["urgent"] = topic
    return {**made, "brief": False, "stop_words": False, "introduced": True, **more}


def _conversation(topic: str, language: str, channel: str, known: Any, words: Any) -> list[Reply]:
    """A topic's first replies, and everything behind MORE, as the channel shows them."""
    form = SHAPES[channel]
    answering = Answering(known, Withdrawals(), "nonprofit")
    told = {"brief": form.brief, "stop_words": form.stop_words}
    replies: list[Reply] = []
    before = Conversation(language=language, introduced=True)
    understood = _understood(topic, language, **told)
    if topic == "legal_aid":
        understood["place"], understood["place_name"] = "hialeah", "Hialeah"
    for _ in range(20):
        turn = answering.answer(understood, before, clock.today())
        replies += [shape(render(plan, words), form, words) for plan in turn.plans]
        before = turn.conversation
        if not before.more:
            return replies
        understood = _understood(topic, language, command="more", topics=[], **told)
        understood["topics"] = []
    raise AssertionError(f"{topic} never ends")


def everything(language: str, known: Any, words: Any) -> list[tuple[str, str]]:
    """(where, text) of all that can be shown in a language."""
    shown = [
        (f"{channel}/{topic}", reply.text)
        for channel in CHANNELS
        for topic in known.topics
        for reply in _conversation(topic, language, channel, known, words)
    ]
    values = dict.fromkeys(
        [
            "month",
            "date",
            "citation",
            "phone",
            "website",
            "hours",
            "cost",
            "place",
            "helps_with",
            "days",
            "from",
            "to",
            "first",
            "last",
            "n",
        ],
        "5",
    )
    values["name"] = "X"
    shown += [(text_id, words.line(text_id, language, values)) for text_id in known.texts]
    return shown


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("channel", CHANNELS)
def test_every_topic_is_rendered_whole(language: str, channel: str, known: Any, words: Any) -> None:
    for topic in known.topics:
        replies = _conversation(topic, language, channel, known, words)
        assert replies, topic
        for reply in replies:
            assert reply.text.strip(), topic
            assert not reply.fallback, topic
            assert reply.language == language, topic
            assert not FILLED.search(reply.text), (topic, reply.text)
            assert all(len(button["title"]) <= 20 for button in reply.buttons), (topic, reply.buttons)
            assert all(len(button["id"].encode()) <= 64 for button in reply.buttons)
        if known.topics[topic] == "policy" and topic != "policy_text":
            assert len(replies) >= 2, f"{topic} has a rest behind MORE"


def test_first_answers_fit_into_their_text_messages(known: Any, words: Any) -> None:
    assert [str(problem) for problem in check_segments(words)] == []
    rows = list(first_sms(words))
    assert len(rows) == 3 * (len(known.topics) + 1)
    assert {row.name for row in rows if row.most is None} == set(AS_LONG_AS_THEY_ARE)
    limits = {row.language: row.most for row in rows if row.name == "emergency"}
    assert limits == URGENT_SEGMENTS == {"en": 2, "es": 2, "ht": 2}
    assert {row.language: row.most for row in rows if row.name == "at_home"} == SEGMENTS == {"en": 3, "es": 5, "ht": 3}


def test_an_answer_over_its_text_messages_is_found(known: Any, words: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SEGMENTS, "es", 4)
    found = [str(problem) for problem in check_segments(words)]
    assert any("locales/es" in problem and "takes 5 parts, at most 4" in problem for problem in found)
    assert not any("locales/en" in problem or PLACES in problem for problem in found)
    assert Sms("x", "en", "a" * 161, 1).number == 2


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    "name", ["first_contact", "more_line", "checked", "some_undated", "overdue", "help_line", "withdrawn"]
)
def test_what_stands_beside_other_texts_does_not_double_their_price(language: str, name: str, words: Any) -> None:
    text = gsm(words.line(f"phrase/{name}", language, {"month": "2026-11"}))
    assert not [sign for sign in text if sign not in GSM and sign not in GSM_DOUBLE], text


@pytest.mark.parametrize("row", table("never_said"), ids=lambda row: f"{row['language']}: {row['label']}")
def test_must_never_be_said(row: dict[str, Any], known: Any, words: Any) -> None:
    pattern = re.compile(row["pattern"], re.IGNORECASE)
    for where, text in everything(row["language"], known, words):
        quoted = re.sub(r'"[^"]*"', "", text) if row.get("outside_quotes") else text
        found = pattern.search(quoted)
        assert not found, f"{where}: {row['label']}: ...{quoted[max(0, found.start() - 60) : found.end() + 60]}..."


@pytest.mark.parametrize("row", table("never_said"), ids=lambda row: f"{row['language']}: {row['label']}")
def test_the_list_of_what_is_never_said_can_fail(row: dict[str, Any]) -> None:
    assert re.search(row["pattern"], row["example"], re.IGNORECASE)


@pytest.mark.parametrize("language", LANGUAGES)
def test_only_verified_phones_are_shown(language: str, known: Any, words: Any) -> None:
    allowed = {number for entry in known.directory.values() for number in entry.first_phones if number}
    allowed = {match for number in allowed for match in NUMBER.findall(number)}
    blocked = {str(p["number"]) for e in known.directory.values() for p in e.raw["phones"]} - {
        number for e in known.directory.values() for number in e.first_phones if number
    }
    assert blocked, "the test would be empty"
    for where, text in everything(language, known, words):
        for number in NUMBER.findall(text):
            assert number in allowed, f"{where} shows {number}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_quotes_are_to_the_letter(language: str, known: Any, words: Any) -> None:
    answering = Answering(known, Withdrawals())
    for passage in known.passages().values():
        understood = _understood("policy_text", language, command="passage", argument=passage.id)
        turn = answering.answer(understood, Conversation(language=language, introduced=True), clock.today())
        reply = render(turn.plans[0], words)
        fact = known.facts[passage.fact]
        assert fact.quote.strip('"') in reply.text, passage.id
        assert fact.citation in reply.text, passage.id
        assert words.line(f"phrase/status_{fact.status}", language) in reply.text
        if language != "en":
            assert words.line("phrase/unofficial", language) in reply.text


def test_the_2017_sentence_keeps_its_exception_in_every_language(known: Any, words: Any) -> None:
    for language, exception in (
        ("en", "unless"),
        ("es", "salvo|a menos que|excepto"),
        ("ht", "sof si|amwenske|eksepte"),
    ):
        text = words.line("passage/police-2017/quote", language)
        assert re.search(exception, text, re.IGNORECASE), (language, text)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("topic", ["domestic_violence", "human_trafficking", "crisis"])
def test_the_screen_of_a_locked_phone_tells_nothing(topic: str, language: str, known: Any, words: Any) -> None:
    from bot.check import NOT_NEUTRAL

    shown = _conversation(topic, language, "sms", known, words)[0].text[:NEUTRAL]
    assert not NOT_NEUTRAL.search(shown), shown


@pytest.mark.parametrize("language", LANGUAGES)
def test_danger_comes_first_and_alone(language: str, known: Any, words: Any) -> None:
    for topic, number in (("emergency", "911"), ("crisis", "988")):
        for channel in CHANNELS:
            before = Conversation()
            form = SHAPES[channel]
            turn = Answering(known, Withdrawals()).answer(
                _understood(topic, language, introduced=False, brief=form.brief), before, clock.today()
            )
            text = shape(render(turn.plans[0], words), form, words).text
            first_sentence = re.split(r"(?<=[.!?])\s", text)[0]
            assert number in first_sentence, text
            assert words.line("phrase/first_contact", language) not in text


@pytest.mark.parametrize("language", LANGUAGES)
def test_past_its_day_an_answer_says_so(language: str, known: Any, words: Any) -> None:
    late = NOW + dt.timedelta(days=200)
    with clock.fixed(late):
        first = _conversation("report_crime", language, "sms", known, words)[0]
    assert words.line("phrase/overdue", language) in first.text
    now = _conversation("report_crime", language, "sms", known, words)[0]
    assert words.line("phrase/overdue", language) not in now.text


def test_dates_are_shown_as_they_are_known(known: Any, words: Any) -> None:
    text = _conversation("report_crime", "en", "web", known, words)[0].text
    assert "Checked: November 2026." in text
    old = _conversation("workplace", "en", "web", known, words)[0].text
    assert "Checked:" not in old, "a fact that nobody checked again shows its source's date"
    assert "Oldest source:" in old
