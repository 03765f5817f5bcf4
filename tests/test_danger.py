"""Danger first, in the language of the cry: words that name it, words that only sound like it, and conversations in another language."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bot.desk import Desk, Message, Result
from bot.nlu import safety
from bot.privacy.keys import subkey
from bot.privacy.limits import Limit, Limiter
from bot.privacy.pseudonyms import Pseudonyms
from bot.privacy.store import MemoryStore
from bot.settings import Settings

OWN = Settings(data=Path("var"), retention_hours=24)


def a_desk(assistant: Any, **more: Any) -> Desk:
    """A desk of the test's own."""
    return Desk(assistant, MemoryStore(OWN), Pseudonyms(None, subkey("s" * 40, "opt-out")), **more)


def say(desk: Desk, text: str, sender: str = "+13055550142", channel: str = "sms", **more: Any) -> Any:
    """One message."""
    return asyncio.run(desk.answer(Message(channel, sender, text, **more)))


CRIES = {
    "en": [
        "danger", "DANGER!!!", "im in danger", "I am in danger", "we are in great danger", "help we are in danger please", "emergency",
        "this is an emergency", "my life is in danger", "my son is in danger", 
        "she is in danger at home",
    ],
    "es": [
        "peligro", "¡Peligro!", "estoy en peligro", "Estamos en peligro.", "mi hija está en peligro", "mi vida corre peligro", "corro peligro",
        "hay peligro en mi casa", "emergencia", "es una emergencia", "tengo una emergencia",
    ],
    "ht": [
        "danje", "mwen an danje", "m an danje", "Nou an danje!", "pitit mwen an danje", "lavi m an danje", "lavi mwen nan danje", "ijans",
        "se yon ijans", "gen danje lakay mwen",
    ],
}  # fmt: skip


@pytest.mark.parametrize(("language", "text"), [(code, text) for code, texts in CRIES.items() for text in texts])
def test_a_cry_is_heard_and_answered_in_its_language(language: str, text: str, assistant: Any) -> None:
    reply = say(a_desk(assistant), text).replies[0]
    assert (reply.kind, reply.language) == ("emergency", language)
    assert "911" in reply.text


BARE = {
    "en": ["help", "help me", "please help me"],
    "es": ["ayuda", "ayúdenme", "auxilio"],
    "ht": ["ede m", "tanpri ede m", "sekou"],
}


@pytest.mark.parametrize(("language", "text"), [(code, text) for code, texts in BARE.items() for text in texts])
def test_a_bare_cry_for_help_reads_911_first(language: str, text: str, assistant: Any) -> None:
    """It gets the menu, or the emergency text: both begin with 911."""
    reply = say(a_desk(assistant), text, hint=language).replies[0]
    assert reply.topic in ("help_menu", "emergency")
    assert reply.language == language
    assert "911" in reply.text[:60]


NO_DANGER_NOW = [
    ("en", "am i in danger if i report a crime"),
    ("en", "im in danger of deportation"),
    ("en", "is it dangerous to call the police"),
    ("en", "my visa is in danger"),
    ("en", "do i need an emergency contact"),
    ("en", "does the emergency room ask for papers"),
    ("en", "i need an urgent lawyer"),
    ("en", "help me fill a form"),
    ("es", "corro peligro si llamo a la policía"),
    ("es", "estoy en peligro de que me deporten"),
    ("es", "es peligroso denunciar"),
    ("es", "necesito un abogado urgente"),
    ("es", "en la sala de emergencia piden papeles"),
    ("ht", "èske m an danje si m rele lapolis"),
    ("ht", "èske li danjere pou m pote plent"),
    ("ht", "mwen bezwen yon avoka ijan"),
    ("ht", "èske sal ijans lan mande papye"),
]


@pytest.mark.parametrize(("language", "text"), NO_DANGER_NOW)
def test_what_only_sounds_like_it_is_no_cry(language: str, text: str, assistant: Any) -> None:
    assert not safety.cries(text)
    assert say(a_desk(assistant), text).replies[0].kind != "emergency"


@dataclass(frozen=True)
class Switch:
    """A cry in another language than the conversation's."""

    before: str
    text: str
    kind: str
    language: str


SWITCHES = [
    Switch("hello", "me quiero matar", "crisis", "es"),
    Switch("hello", "quiero morirme ya", "crisis", "es"),
    Switch("hello", "estoy en peligro", "emergency", "es"),
    Switch("can the police ask for my papers", "ayuda me mata", "emergency", "es"),
    Switch("hello", "mwen vle mouri", "crisis", "ht"),
    Switch("hello", "m an danje", "emergency", "ht"),
    Switch("bonjou", "me quiero matar", "crisis", "es"),
    Switch("èske lapolis ka mande m papye", "i want to die", "crisis", "en"),
    Switch("bonjou", "danger", "emergency", "en"),
    Switch("hola buenos días", "he has a gun", "emergency", "en"),
    Switch("hola buenos días", "danje", "emergency", "ht"),
    Switch("hola buenos días", "911", "emergency", "es"),
]


@pytest.mark.parametrize("case", SWITCHES, ids=lambda case: f"{case.before} / {case.text}")
def test_danger_is_answered_in_the_language_of_the_cry(case: Switch, assistant: Any) -> None:
    desk = a_desk(assistant)
    say(desk, case.before)
    reply = say(desk, case.text).replies[0]
    assert (reply.kind, reply.language) == (case.kind, case.language)


@pytest.mark.parametrize("case", [case for case in SWITCHES if case.text != "911"], ids=lambda case: case.text)
def test_so_it_is_when_limited_stopped_refused_or_broken(
    case: Switch, assistant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hint = {"hint": "ht" if case.language != "ht" else "en"}
    limited = a_desk(assistant, limiter=Limiter((Limit(1, 60.0),)))
    say(limited, case.before)
    answers = [say(limited, case.text, **hint)]
    assert answers[0].result is Result.LIMITED
    stopped = a_desk(assistant)
    say(stopped, "STOP")
    answers.append(say(stopped, case.text, **hint))
    answers.append(asyncio.run(stopped.refused(Message("web", "x", case.text, **hint), 60)))

    async def broken(*_: Any) -> Any:
        raise RuntimeError

    monkeypatch.setattr(Desk, "_answer", broken)
    answers.append(say(stopped, case.text, **hint))
    assert {(answer.replies[0].kind, answer.replies[0].language) for answer in answers} == {(case.kind, case.language)}


@dataclass(frozen=True)
class Following:
    """What a message means after another one."""

    before: str
    text: str
    kinds: tuple[str, ...]
    """Of the replies, in their order: emergency, crisis, or the topic."""
    language: str


FOLLOWING = [
    Following("mi esposo me pega", "ya llegó", ("emergency",), "es"),
    Following("mi marido me revisa el teléfono y me pega", "ya viene", ("emergency",), "es"),
    Following("my husband beats me", "he's home", ("emergency",), "en"),
    Following("mari m konn bat mwen", "li rive", ("emergency",), "ht"),
    Following("my husband beats me", "ok thank you", ("thanks",), "en"),
    Following("i want to kill myself", "if i call 988 do they send immigration", ("crisis",), "en"),
    Following("me quiero morir", "si llamo al 988 mandan a la migra?", ("crisis",), "es"),
    Following("mwen vle mouri", "si m rele 988 èske y ap voye imigrasyon", ("crisis",), "ht"),
    Following("i want to kill myself", "can the police ask for my papers", ("crisis", "police_questions"), "en"),
    Following("i want to kill myself", "delete my messages", ("delete_data",), "en"),
]


@pytest.mark.parametrize("case", FOLLOWING, ids=lambda case: f"{case.before} / {case.text}")
def test_what_follows_on_danger(case: Following, assistant: Any, words: Any) -> None:
    desk = a_desk(assistant)
    say(desk, case.before)
    replies = say(desk, case.text).replies
    assert len(replies) == len(case.kinds), [(reply.kind, reply.topic) for reply in replies]
    for reply, kind in zip(replies, case.kinds, strict=True):
        assert kind in (reply.kind, reply.topic), [(reply.kind, reply.topic) for reply in replies]
        assert reply.language == case.language
    if case.kinds == ("emergency",):
        assert words.line("phrase/safety_delete", case.language)[:20] in replies[-1].text, "he may take the phone"


FEARED = [
    ("es", "tengo miedo que me mate esta noche"),
    ("ht", "m pè li touye m aswè a"),
    ("ht", "m pè li touye m"),
    ("en", "im scared he will kill me tonight"),
]


@pytest.mark.parametrize(("language", "text"), FEARED)
def test_who_fears_to_be_killed_does_not_read_of_suicide(language: str, text: str, assistant: Any) -> None:
    first = say(a_desk(assistant), text).replies[0]
    assert first.topic in ("emergency", "domestic_violence")
    assert "911" in first.text[:60]
    assert first.language == language


@pytest.mark.parametrize("text", ["m pè m touye tèt mwen", "tengo miedo de matarme", "im scared i will kill myself"])
def test_who_fears_to_do_it_does(text: str, assistant: Any) -> None:
    assert say(a_desk(assistant), text).replies[0].kind == "crisis"
