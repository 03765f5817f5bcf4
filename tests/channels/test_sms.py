"""SMS and WhatsApp over real HTTP: forms as Twilio sends them, signed as it signs, against the running application."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import requests

from bot.channels.shape import gsm, segments
from bot.channels.sms import channel as sms_channel
from bot.channels.sms import client as sms_client
from bot.channels.sms import deletions as sms_deletions
from bot.channels.sms import incoming, twiml
from bot.channels.sms.channel import SmsChannel
from bot.channels.sms.client import (
    OptedOut,
    Rejected,
    RequestFailed,
    Throttled,
    TooEarly,
    TwilioClient,
    Unreachable,
)
from bot.channels.sms.deletions import AGAIN, WITHOUT_RECEIPT, Deletions
from bot.desk import Desk, Message, Result
from bot.privacy.limits import Limit, Limiter
from bot.privacy.pseudonyms import Pseudonyms
from bot.privacy.store import MemoryStore, Store
from bot.privacy.store_file import FileStore
from bot.settings import DELETE_AFTER, Settings, Twilio, settings
from tests.channels.as_twilio import (
    ACCOUNT,
    NUMBER,
    PUBLIC_URL,
    SECRET,
    STATUS,
    TOKEN,
    WEBHOOK,
    Got,
    Say,
    fault,
    mms,
    new_sid,
    post,
    rest_api,
    sms,
    status,
    whatsapp,
)
from tests.channels.held_server import HELD_AFTER, HELD_BEFORE
from tests.channels.running import serving, wait_for
from tests.conftest import ROOT, free_port, outreach

OWN = Twilio(ACCOUNT, TOKEN, NUMBER, delete_after=0)
SETTINGS = Settings(data=Path("var"), retention_hours=24)
ORGANISATION = ROOT / "deployment" / "organisation.example.yml"


@dataclass
class Served:
    """A running application."""

    address: str
    desk: Desk

    def say(self, form: dict[str, str]) -> str:
        """The text of the answer to a message; "" for silence."""
        return post(self.address, form).text

    def tell(self, form: dict[str, str]) -> Got:
        """The answer to a status callback."""
        return post(self.address, form, STATUS)


Serve = Callable[..., Served]


@pytest.fixture
def serve(assistant: Any) -> Iterator[Serve]:
    """Serve a desk of the test's own: serve(opt_out="app", store=..., limiter=..., deletions=..., own=...)."""
    with contextlib.ExitStack() as stack:

        def begin(
            opt_out: str = "twilio",
            store: Callable[[], Store] = lambda: MemoryStore(SETTINGS),
            limiter: Limiter | None = None,
            deletions: Callable[[], Deletions] | None = None,
            own: Twilio = OWN,
        ) -> Served:
            def make() -> tuple[Desk, list[SmsChannel]]:
                desk = Desk(assistant, store(), Pseudonyms(lasting=b"l" * 32), limiter)
                made = SmsChannel(desk, replace(own, opt_out=opt_out), PUBLIC_URL, deletions() if deletions else None)
                return desk, [made]

            return Served(*stack.enter_context(serving(make)))

        yield begin


@pytest.fixture
def served(serve: Serve) -> Served:
    """The usual one."""
    return serve()


@pytest.fixture
def line(words: Any) -> Callable[[str, str], str]:
    """A text as SMS shows it."""
    return lambda text_id, language="en": gsm(words.line(text_id, language))


# --- what residents send, and what comes back -------------------------------------------------------

VOICE = {"MediaContentType0": "audio/ogg", "MediaUrl0": "https://api.twilio.com/2010-04-01/Media/ME0"}
LONG = "My neighbors make noise every weekend and I do not know whom to ask about it. " * 20


@dataclass(frozen=True)
class Incoming:
    """A message as Twilio sends it."""

    label: str
    form: dict[str, str]
    says: tuple[str, ...]
    """Ids of texts that the answer holds, each with its language: "at_home/short es"; or words, with a blank in front."""
    nots: tuple[str, ...] = ()


ANSWERED = [
    Incoming("a question", sms("can the police ask for my papers"), ("police_questions/short en", "phrase/more_line en")),
    Incoming("one in Spanish", sms("¿la policía me puede pedir los papeles?"), ("police_questions/short es", "phrase/more_line es")),
    Incoming("one in Creole", sms("èske lapolis ka mande m papye"), ("police_questions/short ht", "phrase/more_line ht")),
    Incoming("help in Spanish, with its signs", sms("¡Ayuda!"), ("help_menu/short es", "phrase/help_line es")),
    Incoming("a sign alone", sms("\N{SQUARED SOS}"), ("help_menu/short en",)),
    Incoming("an emoji without meaning", sms("😀"), ("phrase/clarify en",)),
    Incoming("an emoji beside words", sms("can ICE come into my house 😟🙏"), ("at_home/short en",)),
    Incoming("blank", sms(""), ("phrase/empty en",)),
    Incoming("blanks", sms("  \n "), ("phrase/empty en",)),
    Incoming("more fields than today", sms("schools", NewField="", Another="x"), ("schools/short en",)),
    Incoming("1600 characters", sms((LONG * 2)[:1600]), (" 911",)),
    Incoming("1200 characters with danger at the end", sms(LONG[:1200] + " he is shooting at us right now"), ("emergency/short en",)),
    Incoming("danger", sms("me está pegando ahora mismo, ayúdenme"), ("emergency/short es",)),
    Incoming("despair", sms("i want to kill myself"), ("crisis/short en",)),
    Incoming("a command of the engine", sms("/restart"), (), ("restart",)),
    Incoming("an intent, forced", sms('/emergency{"place": "x"}'), (), ("{",)),
    Incoming("signs of XML", sms("<b>can ICE come to my house</b> & why"), ("at_home/short en",), ("<b>",)),
    Incoming("a picture", mms(), ("phrase/cannot_read en",)),
    Incoming("a picture with words", mms("can the police ask for my papers"), ("police_questions/short en",)),
    Incoming("a contact card", mms(kind="text/vcard"), ("phrase/cannot_read en",)),
    Incoming("WhatsApp", whatsapp("can the police ask for my papers"), ("police_questions/short en", "traffic_stop/title en"), ("https:",)),
    Incoming("WhatsApp in Spanish keeps its signs", whatsapp("¿puede ICE entrar a mi casa?"), ("at_home/short es raw",)),
    Incoming("WhatsApp: a voice note", whatsapp("", NumMedia="1", MessageType="audio", **VOICE), ("phrase/cannot_read en",)),
    Incoming("WhatsApp: a place", whatsapp("", MessageType="location", Latitude="25.77", Longitude="-80.19", Address=""), ("phrase/cannot_read en",)),
    Incoming("WhatsApp: an answer that quotes", whatsapp("schools", OriginalRepliedMessageSid=new_sid()), ("schools/short en",)),
]  # fmt: skip


@pytest.mark.parametrize("case", ANSWERED, ids=lambda case: case.label)
def test_answered(case: Incoming, served: Served, words: Any) -> None:
    got = post(served.address, case.form)
    assert got.status == 200
    assert got.headers["content-type"] == "text/xml; charset=utf-8"
    text = got.text
    assert text
    for wanted in case.says:
        if wanted.startswith(" "):
            assert wanted.strip() in text
            continue
        text_id, language, *raw = wanted.split()
        said = words.line(text_id, language)
        assert (said if raw else gsm(said)) in text or said in text, text
    for unwanted in case.nots:
        assert unwanted not in text
    assert [element.get("statusCallback") for element in got.elements] == [f"{PUBLIC_URL}{STATUS}"]


def test_danger_at_the_end_of_the_longest_message(served: Served, line: Callable[..., str]) -> None:
    assert line("emergency/short") in served.say(sms(LONG[:1560] + " he is shooting at us right now"))


def test_replies_of_a_turn_are_one_message_urgent_first(served: Served, line: Callable[..., str]) -> None:
    text = served.say(sms("a man with a gun is at my door now. and can ICE come into my house?"))
    assert text.startswith(line("emergency/short"))
    assert line("at_home/short") in text


def test_a_number_is_the_choice_of_that_number(served: Served, line: Callable[..., str]) -> None:
    menu = served.say(sms("menu"))
    titles = re.findall(r"^(\d) (.+)$", menu, re.MULTILINE)
    assert titles[1][1] == line("police_questions/title")
    assert line("police_questions/short") in served.say(sms("2"))
    assert line("phrase/number_unknown") in served.say(sms("9"))
    on_whatsapp = served.say(whatsapp("menu"))
    assert f"2 {titles[1][1]}" in on_whatsapp
    assert line("police_questions/short") in served.say(whatsapp("2"))


@pytest.mark.parametrize(
    ("question", "more", "topic"),
    [
        ("can the jail hold me for ice if i am arrested", "MORE", "arrest_detainer"),
        ("¿la cárcel me puede tener para ICE si me arrestan?", "MÁS", "arrest_detainer"),
        ("èske prizon an ka kenbe m pou ICE si yo arete m", "PLIS", "arrest_detainer"),
    ],
)
def test_the_rest_comes_for_a_word(question: str, more: str, topic: str, served: Served, known: Any) -> None:
    first = served.say(sms(question))
    rest = [served.say(sms(more)) for _ in range(2)]
    assert known.topics[topic] == "policy"
    assert all(rest)
    assert len({first, *rest}) == 3


def test_sms_and_whatsapp_are_two_conversations(served: Served) -> None:
    served.say(sms("can the jail hold me for ice if i am arrested"))
    assert "That is all" in served.say(whatsapp("more"))
    assert "That is all" not in served.say(sms("more"))


# --- a message that comes again ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_a_repeat_gets_the_same_text_and_changes_nothing(kind: str, serve: Serve, tmp_path: Path) -> None:
    served = serve(
        store=(lambda: MemoryStore(SETTINGS)) if kind == "memory" else (lambda: FileStore(tmp_path, SETTINGS))
    )
    served.say(sms("can the jail hold me for ice if i am arrested"))
    form = sms("more")
    first = post(served.address, form)
    assert post(served.address, form) == first
    assert served.say(sms("more")) != first.text
    assert post(served.address, form).body == first.body
    assert sum(served.desk.store.counts().days.values()) == 3


def test_repeats_at_the_same_time_get_one_turn(served: Served) -> None:
    form = sms("can the jail hold me for ice if i am arrested")
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        bodies = {got.body for got in pool.map(lambda _: post(served.address, form), range(4))}
    assert len(bodies) == 1
    assert sum(served.desk.store.counts().days.values()) == 1


def test_messages_out_of_order_are_each_answered_once(served: Served, line: Callable[..., str]) -> None:
    second, first = sms("can ICE come into my house"), sms("can the police ask for my papers")
    assert line("at_home/short") in served.say(second)
    assert line("police_questions/short") in served.say(first)
    assert line("at_home/short") in served.say(second)
    assert sum(served.desk.store.counts().days.values()) == 2


# --- who is not Twilio ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Request:
    """A request that is refused."""

    label: str
    form: dict[str, str] | bytes = field(default_factory=lambda: sms("can the police ask for my papers"))
    signed: bool = True
    headers: dict[str, str] = field(default_factory=dict)
    url: str = PUBLIC_URL
    token: str = TOKEN
    status: int = 403
    error: str = "WrongSignature"


def _signed_as(form: dict[str, str]) -> dict[str, str]:
    from tests.channels.as_twilio import signature as sign

    return {"X-Twilio-Signature": sign(form, PUBLIC_URL + WEBHOOK)}


SAID = sms("can the police ask for my papers")
REFUSED = [
    Request("no signature", signed=False, error="MissingSignature"),
    Request("a blank signature", headers={"X-Twilio-Signature": ""}, error="MissingSignature"),
    Request("a signature that is none", headers={"X-Twilio-Signature": "bm90IGEgc2lnbmF0dXJl"}),
    Request("letters that no signature has", headers={"X-Twilio-Signature": "\u00e9\u00e8"}),
    Request("another account's token", token="f" * 32),
    Request("signed for http", url="http://outreach.example.org"),
    Request("signed for another host", url="https://elsewhere.example.org"),
    Request("signed for the address inside", url="http://127.0.0.1:8080"),
    Request("signed for a deeper address", url=f"{PUBLIC_URL}/x"),
    Request("another body under a good signature", {**SAID, "Body": "STOP"}, headers=_signed_as(SAID)),
    Request("another sender under a good signature", {**SAID, "From": "+13055550143"}, headers=_signed_as(SAID)),
    Request("a field more under a good signature", {**SAID, "OptOutType": "STOP"}, headers=_signed_as(SAID)),
    Request("a blank field less under a good signature", {k: v for k, v in SAID.items() if k != "ToZip"}, headers=_signed_as(SAID)),
    Request("a field twice under a good signature", urllib.parse.urlencode([*SAID.items(), ("Body", "STOP")]).encode(), headers=_signed_as(SAID)),
    Request("JSON", json.dumps(SAID).encode(), headers={**_signed_as(SAID), "Content-Type": "application/json"}, status=400, error="InvalidBody"),
    Request("a form in parts", b"--x\r\n", headers={**_signed_as(SAID), "Content-Type": "multipart/form-data"}, status=400, error="InvalidBody"),
    Request("no type", urllib.parse.urlencode(SAID).encode(), headers={**_signed_as(SAID), "Content-Type": ""}, status=400, error="InvalidBody"),
    Request("101 fields", {**{f"F{n}": "" for n in range(101)}, "Body": "x"}, status=400, error="InvalidBody"),
    Request("bytes that are no text", b"Body=%ff%fe&From=%2B13055550142", headers=_signed_as(SAID), status=400, error="InvalidBody"),
    Request("raw bytes", b"\xff\xfe\x00", headers=_signed_as(SAID), status=400, error="InvalidBody"),
    Request("nothing", b"", headers=_signed_as(SAID)),
    Request("signed, without sender", {k: v for k, v in SAID.items() if k != "From"}, status=400, error="InvalidBody"),
    Request("signed, with a blank sender", {**SAID, "From": " "}, status=400, error="InvalidBody"),
    Request("signed, without id", {k: v for k, v in SAID.items() if k != "MessageSid"}, status=400, error="InvalidBody"),
    Request("signed, with an id that is a path", {**SAID, "MessageSid": "../Calls"}, status=400, error="InvalidBody"),
]  # fmt: skip


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.label)
@pytest.mark.parametrize("path", [WEBHOOK, STATUS])
def test_refused(
    case: Request, path: str, served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if path == STATUS and case.status == 400 and "sender" in case.label:
        # A status has no sender to check.
        case = replace(case, form={**SAID, "MessageStatus": ""})
    asked: list[Message] = []
    monkeypatch.setattr(served.desk, "answer", asked.append)
    monkeypatch.setattr(served.desk, "delivered", lambda *what: asked.append(what))  # type: ignore[arg-type]
    headers = {name: value.encode("latin-1", "replace").decode("latin-1") for name, value in case.headers.items()}
    got = post(served.address, case.form, path, headers, case.signed, case.url, case.token)
    assert got.status == case.status
    assert asked == [], "nothing is processed"
    assert f"a request was refused: {case.error}" in caplog.text
    assert got.body in ("refused", "bad request")


def test_signatures_hold_for_what_proxies_and_twilio_do_to_addresses(served: Served) -> None:
    form = sms("can the police ask for my papers")
    path = f"{WEBHOOK}?from=twilio%20console&x="
    assert post(served.address, form, path).status == 200, "a query that the operator wrote is part of what is signed"
    assert post(served.address, sms(), WEBHOOK + "/").status == 200, "so is a slash at the end"
    with_port = sms("can the police ask for my papers")
    assert post(served.address, with_port, url=f"{PUBLIC_URL}:443").status == 200, "Twilio signs with or without port"


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", WEBHOOK, 405),
        ("PUT", WEBHOOK, 405),
        ("GET", STATUS, 405),
        ("POST", f"{WEBHOOK}/other", 404),
        ("POST", "/webhooks/twilio/webhook", 404),
    ],
)
def test_nothing_else_answers(method: str, path: str, expected: int, served: Served) -> None:
    got = requests.request(method, served.address + path, data=SAID, timeout=10)
    assert (got.status_code, got.text in ("not found", "not allowed")) == (expected, True)


def test_a_body_over_the_limit_is_refused(served: Served) -> None:
    got = post(served.address, sms("a" * 17_000))
    assert (got.status, got.body) == (413, "too large")


def test_a_kind_of_sender_that_is_not_served_is_ignored_by_name(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    for sender in ("rcs:brand_agent", "messenger:123456789", "AMAZON"):
        assert served.say(sms("hello", sender)) == ""
    assert caplog.text.count("a kind of sender that is not served") == 3
    assert served.desk.store.counts().days == {}
    assert served.say(sms("hello", "32665")), "short codes are people's banks, but also people's tests: answered"


# --- faults on our side -----------------------------------------------------------------------------


def test_a_fault_behind_the_signature_is_still_answered(
    served: Served, monkeypatch: pytest.MonkeyPatch, line: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(message: Message) -> None:
        raise RuntimeError(message.text)

    monkeypatch.setattr(served.desk, "answer", broken)
    assert served.say(sms("¿la policía me puede pedir los papeles?")) == line("phrase/failure", "es")
    urgent = served.say(sms("he is shooting at us right now"))
    assert urgent.startswith(line("emergency/short"))
    assert line("phrase/failure") in urgent
    assert "RuntimeError while answering an SMS" in caplog.text
    monkeypatch.setattr(served.desk, "failed", None)
    assert served.say(sms("¿la policía?")) == line("phrase/failure"), "the last text needs nothing that can break"
    monkeypatch.setattr(incoming, "read", None)
    assert line("phrase/failure").startswith("If there is danger, call 911.")
    assert served.say(sms("hello")) == line("phrase/failure")


def test_a_fault_in_the_check_itself_refuses(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sms_channel, "verified", None)
    assert post(served.address, sms()).status == 403


def test_a_slow_answer_is_the_failure_text_in_time_and_kept(
    served: Served, monkeypatch: pytest.MonkeyPatch, line: Callable[..., str]
) -> None:
    answer = served.desk.answer

    async def slow(message: Message) -> Any:
        await asyncio.sleep(0.8)
        return await answer(message)

    monkeypatch.setattr(served.desk, "answer", slow)
    monkeypatch.setattr(sms_channel, "SECONDS", 0.2)
    form = sms("can the police ask for my papers")
    begun = time.monotonic()
    assert served.say(form) == line("phrase/failure")
    assert time.monotonic() - begun < 0.7
    time.sleep(1.0)
    assert sum(served.desk.store.counts().days.values()) == 1, "the turn went on without the answer"
    monkeypatch.setattr(served.desk, "answer", answer)
    assert line("police_questions/short") in served.say(form)
    assert sum(served.desk.store.counts().days.values()) == 1


# --- STOP, START, HELP ------------------------------------------------------------------------------

BY_TWILIO = sorted(incoming.carrier_words().items())


def test_the_carrier_s_words_are_those_that_twilio_documents() -> None:
    stop = {"STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT"}
    assert {word for word, meaning in BY_TWILIO if meaning == "stop"} == stop
    assert dict(BY_TWILIO) == {
        **dict.fromkeys(stop, "stop"),
        "START": "start",
        "UNSTOP": "start",
        "YES": "start_again",
        "HELP": "help",
        "INFO": "help",
    }
    assert "https://help.twilio.com/articles/223134027" in incoming.WORDS.read_text("utf-8")


@pytest.mark.parametrize(("word", "meaning"), BY_TWILIO)
@pytest.mark.parametrize("written", [str.upper, str.lower, lambda word: f" {word.title()} "], ids=["A", "a", "Aa"])
@pytest.mark.parametrize("advanced", [False, True], ids=["", "OptOutType"])
def test_what_twilio_answers_is_not_answered_again(
    word: str, meaning: str, written: Callable[[str], str], advanced: bool, served: Served
) -> None:
    kind = {"stop": "STOP", "start": "START", "start_again": "START", "help": "HELP"}[meaning]
    more = {"OptOutType": kind} if advanced else {}
    if meaning in ("start", "start_again"):
        served.say(sms("PARE"))
    assert served.say(sms(written(word), **more)) == ""
    stopped = served.say(sms("can ICE come into my house")) == ""
    assert stopped == (meaning == "stop")


@pytest.mark.parametrize(("word", "meaning"), [row for row in BY_TWILIO if row[0] != "YES"])
def test_what_twilio_leaves_to_us_is_answered_once(
    word: str, meaning: str, serve: Serve, line: Callable[..., str]
) -> None:
    served = serve(opt_out="app")
    if meaning == "start":
        served.say(sms("PARE"))
    said = served.say(sms(word))
    assert line({"stop": "opt_out/short", "start": "opt_out/resumed", "help": "help_menu/short"}[meaning]) in said
    if meaning == "help":
        assert line("phrase/help_line") in said, "HELP names the service and how to stop"
    after = served.say(sms("can ICE come into my house"))
    assert (after == "") == (meaning == "stop")
    if meaning == "stop":
        assert served.say(sms(word)) == "", "one confirmation, then silence"


@pytest.mark.parametrize("opt_out", ["twilio", "app"])
@pytest.mark.parametrize(
    ("stop", "start", "language"),
    [
        ("ALTO", "EMPEZAR", "es"),
        ("¡Pare!", "comenzar", "es"),
        ("SISPANN", "KÒMANSE", "ht"),
        ("kanpe", "komanse", "ht"),
        ("STOP.", "start!", "en"),
        ("stop all", "resume", "en"),
    ],
)
def test_our_own_words_are_answered_by_us(
    stop: str, start: str, language: str, opt_out: str, serve: Serve, line: Callable[..., str]
) -> None:
    served = serve(opt_out=opt_out)
    assert served.say(sms(stop)) == line("opt_out/short", language)
    assert served.say(sms(stop)) == ""
    assert served.say(sms("can ICE come into my house")) == ""
    assert served.say(sms(start)) == line("opt_out/resumed", language)
    assert served.say(sms("can ICE come into my house")) != ""


def test_stop_and_start_the_whole_way(served: Served, line: Callable[..., str]) -> None:
    served.say(sms("can the jail hold me for ice if i am arrested"))
    assert served.say(sms("STOP")) == ""
    assert served.say(sms("more")) == ""
    assert served.say(mms()) == ""
    assert served.say(sms("he is shooting at us right now")) == line("emergency/short"), (
        "danger is answered whatever is stopped"
    )
    assert served.say(sms("quiero morirme, me voy a matar")) == (
        f"{line('crisis/short', 'es')}\n\n{line('phrase/safety_delete', 'es')}"
    )
    assert served.say(sms("more")) == "", "and stays stopped"
    assert line("help_menu/short", "es") in served.say(sms("ayuda")), "HELP is answered to everybody"
    assert served.say(sms("START")) == ""
    assert served.say(sms("more")) == line("phrase/more_nothing", "es"), "STOP has forgotten the conversation"
    assert line("at_home/short") in served.say(sms("can ICE come into my house"))


def test_yes_brings_back_only_who_had_stopped(served: Served) -> None:
    answer = served.say(sms("yes"))
    assert answer != "", "an answer like any other"
    assert "write to us again" not in answer
    form = sms("yes")
    assert served.say(form) == served.say(form) != "", "and repeated like any other"
    served.say(sms("STOP"))
    form = sms("YES")
    assert served.say(form) == ""
    assert served.say(form) == "", "the repeat of what Twilio answered is still Twilio's"
    assert served.say(sms("can ICE come into my house")) != ""


def test_stop_on_one_leaves_the_other_open(served: Served, line: Callable[..., str]) -> None:
    assert served.say(whatsapp("STOP")) == line("opt_out/short"), "on WhatsApp nobody else answers"
    assert served.say(whatsapp("can ICE come into my house")) == ""
    assert line("at_home/short") in served.say(sms("can ICE come into my house"))
    assert served.say(sms("STOP")) == ""
    assert served.say(whatsapp("START")) == line("opt_out/resumed")
    assert line("at_home/short") in served.say(whatsapp("can ICE come into my house"))
    assert served.say(sms("can ICE come into my house")) == ""
    assert line("help_menu/short") in served.say(whatsapp("HELP"))


def test_what_twilio_took_it_for_is_believed(served: Served, serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    assert served.say(sms("NO MAS", OptOutType="STOP")) == "", "a word that the operator added at Twilio"
    assert served.say(sms("can ICE come into my house")) == ""
    assert served.say(sms("VOLVER", OptOutType="START")) == ""
    assert served.say(sms("can ICE come into my house")) != ""
    assert served.say(sms("PARE", OptOutType="HELP")) == "", "HELP is no opt-out, whatever our own words say"
    assert served.say(sms("can ICE come into my house")) != ""
    assert served.say(sms("hello", OptOutType="")) != "", "a blank field says nothing"
    assert served.say(whatsapp("STOP", OptOutType="STOP")) == "", "an Advanced Opt-Out that covers WhatsApp too"
    assert caplog.text == ""
    app = serve(opt_out="app")
    assert app.say(sms("STOP", OptOutType="STOP")) == "", (
        "Twilio has answered, though the setting says that it does not"
    )
    assert app.say(sms("HELP", OptOutType="HELP")) == ""
    assert caplog.text.count("SMS_OPT_OUT is app, but Twilio answers") == 1


def test_danger_is_answered_even_where_twilio_took_it_for_a_word(served: Served, line: Callable[..., str]) -> None:
    assert served.say(sms("help me he is shooting at us right now", OptOutType="HELP")).startswith(
        line("emergency/short")
    )


BY_CARRIER: dict[str, Any] = {"carrier_answered": True}


@pytest.mark.parametrize(
    ("label", "message", "result", "stopped"),
    [
        ("HELP by the carrier", Message("sms", "s", "HELP", "1", **BY_CARRIER, carrier_word="help"), Result.CARRIER, False),
        ("HELP by the carrier, not said as what", Message("sms", "s", "HELP", "1", **BY_CARRIER), Result.CARRIER, False),
        ("CANCEL, taken for HELP", Message("sms", "s", "CANCEL", "1", **BY_CARRIER, carrier_word="help"), Result.CARRIER, False),
        ("STOP by the carrier", Message("sms", "s", "STOP", "1", **BY_CARRIER, carrier_word="stop"), Result.CARRIER, True),
        ("STOP by us", Message("sms", "s", "STOP", "1"), Result.ANSWERED, True),
    ],
)  # fmt: skip
def test_help_is_never_an_opt_out(label: str, message: Message, result: Result, stopped: bool, assistant: Any) -> None:
    desk = Desk(assistant, MemoryStore(SETTINGS), Pseudonyms(lasting=b"l" * 32))
    answer = asyncio.run(desk.answer(message))
    name = desk.pseudonyms.opt_out("sms", "s")
    assert name
    assert answer.result == result
    assert desk.store.opted_out(name) == stopped
    topics = [cell[3] for cell in desk.store.counts().topics]
    assert topics == (["opt_out"] if stopped else [])


def test_limits_are_polite_once_then_silent_and_danger_comes_through(serve: Serve, line: Callable[..., str]) -> None:
    moment = [0.0]
    served = serve(limiter=Limiter((Limit(2, 60.0),), lambda: moment[0]))
    assert served.say(sms("can ICE come into my house"))
    assert served.say(sms("can the police ask for my papers"))
    assert served.say(sms("schools")) == line("phrase/slow_down")
    assert served.say(sms("schools")) == ""
    assert served.say(sms("schools", "+13055550143")), "another sender is not limited"
    assert served.say(sms("he is shooting at us right now")) == line("emergency/short")
    assert served.say(sms("he is shooting at us right now")) == "", "at most once a minute"
    moment[0] = 59.0
    assert served.say(sms("he is shooting at us right now")) == ""
    moment[0] = 61.0
    assert served.say(sms("he is shooting at us right now")).startswith(line("emergency/short"))


# --- long texts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "text", "expected"),
    [
        ("nothing", "", []),
        ("one fits", "a" * 1600, [1600]),
        ("cut at a paragraph", "a" * 1000 + "\n\n" + "b" * 1000, [1007, 1007]),
        ("paragraphs that fit together stay together", "\n\n".join(["a" * 700] * 3), [1409, 707]),
        ("an emoji is two", "😀" * 801, [1595, 21]),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_long_texts_are_cut_where_they_must_be(label: str, text: str, expected: list[int]) -> None:
    assert [twiml.length(part) for part in twiml.parts(text)] == expected


def test_a_long_paragraph_is_cut_at_sentences_and_nothing_is_lost() -> None:
    text = " ".join(f"This is sentence number {number}." for number in range(200))
    parts = twiml.parts(text)
    assert len(parts) > 1
    assert all(twiml.length(part) <= twiml.MOST for part in parts)
    for number, part in enumerate(parts, 1):
        body, count = part.rsplit("\n\n", 1)
        assert body.endswith(".")
        assert count == f"({number}/{len(parts)})"
    assert " ".join(part.rsplit("\n\n", 1)[0] for part in parts) == text


def test_no_sign_breaks_the_xml() -> None:
    import xml.etree.ElementTree as ET

    text = "911 & \"988\" <b>'x'</b> ]]> á 😀\n\nè"
    root = ET.fromstring(twiml.response(text, f"{PUBLIC_URL}{STATUS}"))
    assert [message.text for message in root] == [text]
    assert list(ET.fromstring(twiml.response(""))) == []


# --- what became of it ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_deliveries_are_counted_without_a_number(kind: str, serve: Serve, tmp_path: Path) -> None:
    served = serve(
        store=(lambda: MemoryStore(SETTINGS)) if kind == "memory" else (lambda: FileStore(tmp_path, SETTINGS))
    )
    told = [
        status("queued"),
        status("sent"),
        status("delivered", RawDlrDoneDate="2611221200"),
        status("delivered"),
        status("undelivered", ErrorCode="30003"),
        status("failed", ErrorCode="21610", ErrorMessage="Attempt to send to unsubscribed recipient +13055550142"),
        status("failed", ErrorCode="+13055550142"),
        status("delivered", to="whatsapp:+13055550142", ChannelPrefix="whatsapp", EventType="DELIVERED"),
        status("read", to="whatsapp:+13055550142", EventType="READ"),
        status("a word of next year"),
    ]
    for form in told:
        got = served.tell(form)
        assert (got.status, got.body) == (204, "")
    assert served.desk.store.counts().deliveries == {
        ("2026-11", "sms", "delivered", ""): 2,
        ("2026-11", "sms", "undelivered", "30003"): 1,
        ("2026-11", "sms", "failed", "21610"): 1,
        ("2026-11", "sms", "failed", ""): 1,
        ("2026-11", "whatsapp", "delivered", ""): 1,
    }
    for path in tmp_path.glob("outreach.db*"):
        assert b"5550142" not in path.read_bytes()


def test_a_status_without_status_is_refused(served: Served) -> None:
    form = status("delivered")
    del form["MessageStatus"]
    assert served.tell(form).status == 400
    assert served.desk.store.counts().deliveries == {}


def test_a_broken_store_does_not_trouble_twilio(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served.desk, "delivered", None)
    assert served.tell(status("delivered")).status == 204


# --- the REST API -----------------------------------------------------------------------------------

QUICK = (0.01, 0.01, 0.01)


def _client(address: str, waits: tuple[float, ...] = QUICK, timeout: float = 2.0) -> TwilioClient:
    return TwilioClient(replace(OWN, api=address), f"{PUBLIC_URL}{STATUS}", waits, timeout)


@dataclass(frozen=True)
class Call:
    """What Twilio's API says to our requests, and what that comes to."""

    label: str
    says: tuple[Say, ...]
    sends: bool = False
    error: type[RequestFailed] | None = None
    tries: int = 1
    least_seconds: float = 0.0


PAGE = "<html>Bad Gateway</html>"
CALLS = [
    Call("deleted", (Say(204),)),
    Call("deleted already", (fault(404, 20404),)),
    Call("still on its way", (fault(409, 20009),), error=TooEarly),
    Call("a wrong token", (fault(401, 20003),), error=Rejected),
    Call("too many at once, with a time to wait", (Say(429, {"code": 20429}, {"Retry-After": "0.5"}), Say(204)), tries=2, least_seconds=0.5),
    Call("too many at once, all the time", (fault(429, 20429),) * 9, error=Throttled, tries=4),
    Call("too many at once, for an hour", (Say(429, "", {"Retry-After": "3600"}),), error=Throttled),
    Call("too many at once, until a date", (Say(429, "", {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}), Say(204)), tries=2),
    Call("a bad day, then well", (Say(503, PAGE), Say(500, ""), Say(204)), tries=3),
    Call("a bad day", (Say(502, PAGE),) * 9, error=Unreachable, tries=4),
    Call("the connection breaks, then well", (Say(reset=True), Say(204)), tries=2),
    Call("no answer in time, then well", (Say(wait=0.6), Say(204)), tries=2),
    Call("never an answer", (Say(wait=0.6),) * 4, error=Unreachable, tries=4),
    Call("a slow answer in time", (Say(wait=0.2),)),
    Call("sent", (), sends=True),
    Call("sent, after too many at once", (fault(429, 20429),), sends=True, tries=2),
    Call("sent, after a bad day", (Say(503, PAGE),), sends=True, tries=2),
    Call("sent to who has stopped", (fault(400, 21610),), sends=True, error=OptedOut),
    Call("sent to no number", (fault(400, 21211),), sends=True, error=Rejected),
    Call("sent perhaps, no answer in time", (Say(wait=0.6),), sends=True, error=Unreachable),
    Call("sent perhaps, the connection breaks", (Say(reset=True),), sends=True, error=Unreachable),
    Call("throttled by a code alone", (fault(400, 20429), Say(204)), tries=2),
]  # fmt: skip


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.label)
def test_the_rest_api_s_moods(call: Call, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    sid = new_sid()

    async def run(client: TwilioClient) -> Any:
        if call.sends:
            return await client.send("sms", "+13055550142", "A secret text")
        return await client.delete(sid)

    with rest_api(*call.says) as api:
        client = _client(api.address, timeout=0.4)
        begun = time.monotonic()
        if call.error:
            with pytest.raises(call.error) as caught:
                asyncio.run(run(client))
            assert type(caught.value) is call.error
            assert "5550142" not in str(caught.value)
            assert caught.value.__cause__ is None
        else:
            assert asyncio.run(run(client)) == ("SM" + "f" * 32 if call.sends else None)
        assert time.monotonic() - begun >= call.least_seconds
        client.close()
    assert len(api.asked) == call.tries
    path = f"/2010-04-01/Accounts/{ACCOUNT}/Messages" + (".json" if call.sends else f"/{sid}.json")
    assert {(method, asked) for method, asked, _ in api.asked} == {("POST" if call.sends else "DELETE", path)}
    if call.sends:
        assert api.asked[0][2] == {
            "To": "+13055550142",
            "From": NUMBER,
            "Body": "A secret text",
            "StatusCallback": f"{PUBLIC_URL}{STATUS}",
        }
    for held in ("5550142", "secret text", TOKEN, "Twilio API Request"):
        assert held not in caplog.text


def test_nobody_there_is_unreachable() -> None:
    client = _client(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(Unreachable) as caught:
        asyncio.run(client.delete(new_sid()))
    assert caught.value.perhaps_done is False


def test_whatsapp_addresses_have_their_prefix() -> None:
    with rest_api() as api:
        asyncio.run(_client(api.address).send("whatsapp", "+13055550142", "x"))
    assert api.asked[0][2]["To"] == "whatsapp:+13055550142"
    assert api.asked[0][2]["From"] == f"whatsapp:{NUMBER}"


def test_the_event_loop_goes_on_meanwhile() -> None:
    async def scene(address: str) -> int:
        client, ticks = _client(address), 0
        deletion = asyncio.ensure_future(client.delete(new_sid()))
        while not deletion.done():
            await asyncio.sleep(0.01)
            ticks += 1
        await deletion
        return ticks

    with rest_api(Say(wait=0.5)) as api:
        assert asyncio.run(scene(api.address)) > 20


def test_the_waits_are_longer_in_earnest() -> None:
    assert sms_client.WAITS == (1.0, 4.0, 15.0)
    assert _client("http://127.0.0.1:1")._client.api.base_url == "http://127.0.0.1:1"
    assert Twilio(ACCOUNT, TOKEN, NUMBER).api == "https://api.twilio.com"


# --- deletion at Twilio -----------------------------------------------------------------------------


def test_messages_are_deleted_minutes_after_their_work_is_done(serve: Serve) -> None:
    moment = [0.0]
    held: list[Deletions] = []

    with rest_api() as api:

        def made() -> Deletions:
            held.append(Deletions(_client(api.address), 5, 0.05, lambda: moment[0]))
            return held[0]

        served = serve(deletions=made)
        question, refused = sms("can ICE come into my house"), sms("x")
        served.say(question)
        post(served.address, refused, signed=False)
        delivered, sent, failed, queued = (new_sid() for _ in range(4))
        for word, sid in (
            ("queued", queued),
            ("sent", sent),
            ("sent", delivered),
            ("delivered", delivered),
            ("failed", failed),
        ):
            served.tell(status(word, sid))
        _until(lambda: held[0].waiting == 4)
        moment[0] = 299.0
        time.sleep(0.3)
        assert api.asked == [], "not before its time"
        moment[0] = 301.0
        _until(lambda: len(api.asked) == 3)
        assert {path.removesuffix(".json") for path in api.paths("DELETE")} == {
            question["MessageSid"],
            delivered,
            failed,
        }
        moment[0] = 301.0 + WITHOUT_RECEIPT
        _until(lambda: len(api.asked) == 4)
        assert api.paths("DELETE")[-1] == f"{sent}.json", "carriers without receipts leave a message at sent"
        assert held[0].waiting == 0


def test_deletions_that_fail_come_again_or_end(caplog: pytest.LogCaptureFixture) -> None:
    async def scene(address: str) -> list[int]:
        moment = [0.0]
        deletions = Deletions(_client(address, ()), 1, now=lambda: moment[0])
        waiting = []
        early, refused = new_sid(), new_sid()
        deletions.add(early)
        moment[0] = 61.0
        for wait in AGAIN:
            await deletions.work()
            waiting.append(deletions.waiting)
            moment[0] += wait + 1
        await deletions.work()
        waiting.append(deletions.waiting)
        deletions.add(refused)
        moment[0] += 61.0
        await deletions.work()
        waiting.append(deletions.waiting)
        return waiting

    with rest_api(*[fault(409, 20009)] * 6, fault(401, 20003)) as api:
        assert asyncio.run(scene(api.address)) == [1, 1, 1, 1, 1, 0, 0]
    assert len(api.asked) == 7
    assert "for the last time; it stays there" in caplog.text
    assert "TWILIO_AUTH_TOKEN" in caplog.text


def test_a_stopping_server_deletes_what_still_waits(
    serve: Serve, assistant: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with rest_api() as api:

        def make() -> tuple[Desk, list[SmsChannel]]:
            desk = Desk(assistant, MemoryStore(SETTINGS), Pseudonyms(lasting=b"l" * 32))
            return desk, [SmsChannel(desk, replace(OWN, delete_after=60, api=api.address), PUBLIC_URL)]

        with serving(make) as (address, _):
            forms = [sms("can ICE come into my house"), whatsapp("STOP")]
            for form in forms:
                post(address, form)
            assert api.asked == []
    assert sorted(api.paths("DELETE")) == sorted(f"{form['MessageSid']}.json" for form in forms)
    assert "stay at Twilio" not in caplog.text


def test_who_asks_during_the_stop_is_answered_and_deleted(assistant: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Forty messages are under way when the stop comes: all are answered, nobody new is let in, and all forty go at Twilio."""
    forms = [sms("can ICE come into my house", f"+1305555{100 + number % 100:04d}") for number in range(40)]
    got: list[Got] = []
    with rest_api(*[Say(wait=0.05)] * 40) as api:

        def make() -> tuple[Desk, list[SmsChannel]]:
            desk = Desk(assistant, MemoryStore(SETTINGS), Pseudonyms(lasting=b"l" * 32), Limiter(()))
            answer = desk.answer

            async def slow(message: Message) -> Any:
                await asyncio.sleep(1)
                return await answer(message)

            desk.answer = slow  # type: ignore[method-assign]
            return desk, [SmsChannel(desk, replace(OWN, delete_after=60, api=api.address), PUBLIC_URL)]

        with serving(make) as (address, _):
            senders = [threading.Thread(target=lambda form=form: got.append(post(address, form))) for form in forms]
            for sender in senders:
                sender.start()
            time.sleep(0.7)
            assert got == [], "they are under way"
        for sender in senders:
            sender.join(20)
    assert [answer.status for answer in got] == [200] * 40
    assert all(answer.text for answer in got)
    assert sorted(api.paths("DELETE")) == sorted(f"{form['MessageSid']}.json" for form in forms)
    assert "stay at Twilio" not in caplog.text


def test_what_stays_at_twilio_after_a_stop_is_counted(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten wait: two are deleted, one is refused, one is not complete, the rest does not come to its turn."""
    monkeypatch.setattr(sms_deletions, "FAREWELL_SECONDS", 0.6)

    async def scene(address: str) -> None:
        deletions = Deletions(_client(address, ()), 60)
        for _ in range(10):
            deletions.add(new_sid())
        deletions.start()
        await deletions.stop()

    with rest_api(Say(), Say(), fault(401, 20003), fault(409, 20009), *[Say(wait=5)] * 6) as api:
        started = time.monotonic()
        asyncio.run(scene(api.address))
        assert time.monotonic() - started < 8
    assert len(api.asked) <= 6
    told = [record.getMessage() for record in caplog.records if "stay at Twilio" in record.getMessage()]
    assert told == ["8 messages that were to be deleted stay at Twilio"]
    assert not re.search("[SM]M[0-9a-f]{32}", caplog.text)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name)
def test_each_signal_to_stop_has_its_farewell(number: signal.Signals, tmp_path: Path) -> None:
    """Also a second one meanwhile: it breaks nothing off."""
    port = free_port()
    arguments = [str(Path(sys.executable).parent / "outreach"), "run", "--port", str(port)]
    with rest_api(Say(wait=0.5)) as api, _process(arguments, port, tmp_path / "var", api.address) as (address, process):
        form = sms("can ICE come into my house")
        assert post(address, form).text
        process.send_signal(number)
        time.sleep(0.2)
        process.send_signal(number)
        assert process.wait(20) == 0
    assert api.paths("DELETE") == [f"{form['MessageSid']}.json"]


def test_with_zero_nothing_is_deleted(serve: Serve) -> None:
    with rest_api() as api:
        served = serve(own=replace(OWN, api=api.address))
        served.say(sms("can ICE come into my house"))
        served.tell(status("delivered"))
    assert api.asked == []


@pytest.mark.parametrize(
    ("label", "written", "minutes", "told"),
    [
        ("nothing is set", "", DELETE_AFTER, f"deleted at Twilio {DELETE_AFTER} minutes after"),
        ("an hour", "60", 60, "deleted at Twilio 60 minutes after"),
        ("off", "0", 0, "TWILIO_DELETE_AFTER is 0: every message stays at Twilio"),
    ],
)
def test_messages_are_deleted_unless_somebody_says_otherwise(
    label: str,
    written: str,
    minutes: int,
    told: str,
    assistant: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from bot import remarks
    from bot.server import open_channels

    for name, value in {**KEYS, "TWILIO_DELETE_AFTER": written}.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    try:
        own = settings()
        assert own.twilio
        assert own.twilio.delete_after == minutes
        assert 1 <= DELETE_AFTER <= 15, "minutes, not hours"
        channels = open_channels(Desk(assistant, MemoryStore(SETTINGS)), own)
        made = [channel.deletions for channel in channels if isinstance(channel, SmsChannel)]
        assert [bool(deletions) for deletions in made] == [minutes > 0]
        said = capsys.readouterr().out + "\n".join(remarks.of_settings(own))
        assert told in said
        assert ("stays at Twilio" in said) == (minutes == 0)
    finally:
        settings.cache_clear()


def test_the_list_of_deletions_is_bounded(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(sms_deletions, "MOST_PENDING", 2)
    deletions = Deletions(_client("http://127.0.0.1:1"), 1)
    for _ in range(3):
        deletions.add(new_sid())
    assert deletions.waiting == 2
    assert "the oldest stays there" in caplog.text


def _until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


# --- nothing personal stays -------------------------------------------------------------------------


def test_no_log_and_no_file_holds_a_number_a_text_or_a_token(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secrets = ("3055550142", "Zebulon", "zebulon", TOKEN)
    with rest_api() as api:
        served = serve(
            store=lambda: FileStore(tmp_path, SETTINGS),
            deletions=lambda: Deletions(_client(api.address), 0, 0.05),
        )
        for form in (
            sms("my name is Zebulon, can ICE come into my house"),
            sms("Zebulon " * 150),
            mms("Zebulon"),
            whatsapp("/restart Zebulon", ProfileName="Zebulon"),
            sms("PARE"),
            sms("Zebulon is shooting at us right now"),
            sms("STOP", OptOutType="STOP"),
        ):
            served.say(form)
            post(served.address, form, signed=False)
        served.tell(status("failed", ErrorCode="30003", ErrorMessage="Zebulon"))
        _until(lambda: len(api.asked) > 3)
    for secret in secrets:
        assert secret not in caplog.text
    files = list(tmp_path.rglob("*"))
    assert files
    for path in files:
        if path.is_file():
            held = path.read_bytes()
            assert not any(secret.encode() in held for secret in secrets), path.name


# --- at start ---------------------------------------------------------------------------------------


def test_the_channel_is_on_with_its_keys_and_says_so_without_them(
    assistant: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from bot.server import open_channels

    desk = Desk(assistant, MemoryStore(SETTINGS))
    off = [channel.name() for channel in open_channels(desk, SETTINGS)]
    assert "sms" not in off
    assert "SMS and WhatsApp are off" in capsys.readouterr().out
    on = [channel.name() for channel in open_channels(desk, replace(SETTINGS, twilio=OWN, public_url=PUBLIC_URL))]
    assert "sms" in on
    said = capsys.readouterr().out
    assert f"SMS and WhatsApp are on: Twilio sends to {PUBLIC_URL}{WEBHOOK}\n" in said
    assert NUMBER not in said
    assert TOKEN not in said


KEYS = {
    "TWILIO_ACCOUNT_SID": ACCOUNT,
    "TWILIO_AUTH_TOKEN": TOKEN,
    "TWILIO_NUMBER": NUMBER,
    "PUBLIC_URL": PUBLIC_URL,
    "OUTREACH_SECRET": SECRET,
    "OUTREACH_ORGANISATION": str(ORGANISATION),
}


@pytest.mark.parametrize(
    ("label", "changed", "names"),
    [
        ("no token", {"TWILIO_AUTH_TOKEN": ""}, ["TWILIO_AUTH_TOKEN"]),
        ("the account alone", {name: "" for name in KEYS if name != "TWILIO_ACCOUNT_SID"}, ["TWILIO_AUTH_TOKEN", "TWILIO_NUMBER"]),
        ("no address", {"PUBLIC_URL": ""}, ["PUBLIC_URL"]),
        ("no secret", {"OUTREACH_SECRET": ""}, ["OUTREACH_SECRET"]),
        ("a number as people write it", {"TWILIO_NUMBER": "305-555-0100"}, ["TWILIO_NUMBER", "+13055550100"]),
        ("another answer about opt-outs", {"SMS_OPT_OUT": "both"}, ["SMS_OPT_OUT", "twilio or app"]),
        ("minutes in words", {"TWILIO_DELETE_AFTER": "ten"}, ["TWILIO_DELETE_AFTER", "whole number"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_half_set_keys_are_named(
    label: str, changed: dict[str, str], names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from bot.settings import SettingError, settings

    for name, value in {**KEYS, **changed}.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    try:
        with pytest.raises(SettingError) as caught:
            settings()
    finally:
        settings.cache_clear()
    assert all(name in str(caught.value) for name in names), caught.value
    assert TOKEN not in str(caught.value)


def test_a_half_set_server_does_not_start() -> None:
    done = outreach("run", "--port", str(free_port()), environment={"TWILIO_ACCOUNT_SID": ACCOUNT})
    assert done.returncode == 2
    assert "TWILIO_AUTH_TOKEN" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "variable",
    [
        "TWILIO_ACCOUNT_SID",
        "TWILIO_AUTH_TOKEN",
        "TWILIO_NUMBER",
        "SMS_OPT_OUT",
        "TWILIO_DELETE_AFTER",
        "TWILIO_API",
        "PUBLIC_URL",
        "OUTREACH_SECRET",
        "OUTREACH_KEYS",
    ],
)
def test_every_setting_of_sms_is_in_the_table(variable: str) -> None:
    assert re.search(rf"^\| {variable} \|", (ROOT / "docs" / "operators.md").read_text("utf-8"), re.MULTILINE)


def test_the_fallback_in_the_docs_is_the_failure_text(words: Any) -> None:
    docs = (ROOT / "docs" / "operators.md").read_text("utf-8")
    held = re.search(r"<Response><Message>(.*?)</Message></Response>", docs, re.DOTALL)
    assert held
    said = "\n\n".join(words.line("phrase/failure", language) for language in ("en", "es", "ht"))
    assert re.sub(r"\n {4}", "\n", held.group(1)) == said
    for word, _ in BY_TWILIO:
        assert re.search(rf"\b{word}\b", docs), word
    for text_id in ("opt_out/short", "opt_out/resumed"):
        assert words.line(text_id, "en") in docs


# --- killed ------------------------------------------------------------------------------------------


def _environment(data: Path, api: str = "http://127.0.0.1:1") -> dict[str, str]:
    return {
        **os.environ,
        "OUTREACH_DATA": str(data),
        "OUTREACH_ORGANISATION": str(ORGANISATION),
        "OUTREACH_SECRET": SECRET,
        "PUBLIC_URL": PUBLIC_URL,
        "TWILIO_ACCOUNT_SID": ACCOUNT,
        "TWILIO_AUTH_TOKEN": TOKEN,
        "TWILIO_NUMBER": NUMBER,
        "TWILIO_API": api,
    }


@contextlib.contextmanager
def _process(
    arguments: list[str], port: int, data: Path, api: str = "http://127.0.0.1:1"
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    log = data.parent / "log"
    with log.open("ab") as output:
        process = subprocess.Popen(arguments, cwd=ROOT, env=_environment(data, api), stdout=output, stderr=output)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(address)
        yield address, process
    finally:
        process.kill()
        process.wait(20)


def test_killed_between_receiving_and_answering(tmp_path: Path, line: Callable[..., str]) -> None:
    data = tmp_path / "var"
    python = Path(sys.executable)
    port = free_port()
    question = "can the jail hold me for ice if i am arrested"
    before, after = sms(question, HELD_BEFORE), sms(question, HELD_AFTER)
    stopped = "+13055550152"
    arguments = [str(python), "-m", "tests.channels.held_server", str(port), str(tmp_path)]
    with _process(arguments, port, data) as (address, process):
        assert post(address, sms("PARE", stopped)).text == line("opt_out/short", "es")
        assert post(address, sms("can ICE come into my house", stopped)).text == ""
        broken = []

        def send(form: dict[str, str]) -> None:
            try:
                post(address, form)
            except OSError as error:
                broken.append(type(error).__name__)

        senders = [threading.Thread(target=send, args=(form,)) for form in (before, after)]
        for sender in senders:
            sender.start()
        _until(lambda: (tmp_path / "before").exists() and (tmp_path / "after").exists(), 20)
        process.send_signal(signal.SIGKILL)
        process.wait(20)
        for sender in senders:
            sender.join(20)
        assert len(broken) == 2, "Twilio got no answer"
    unsent = json.loads((tmp_path / "after").read_text("utf-8"))

    port = free_port()
    with _process([str(python.parent / "outreach"), "run", "--port", str(port)], port, data) as (address, _):
        again = post(address, after)
        assert again.text == "\n\n".join(unsent), "what was kept is said"
        assert post(address, after) == again
        first = post(address, before)
        assert line("arrest_detainer/short") in first.text, "what was not kept is answered now"
        assert post(address, before) == first
        assert post(address, sms("more", HELD_AFTER)).text not in ("", again.text), "the conversation goes on"
        assert post(address, sms("can ICE come into my house", stopped)).text == "", "STOP survives"
        assert post(address, sms("START", stopped)).text == ""
        assert post(address, sms("can ICE come into my house", stopped)).text != ""
    store = FileStore(data, SETTINGS)
    # PARE, two questions, MORE, START, one more question.
    assert sum(store.counts().days.values()) == 6
    store.close()
    assert "SMS and WhatsApp are on" in (tmp_path / "log").read_text("utf-8")
    assert "5550" not in (tmp_path / "log").read_text("utf-8")


# --- as a phone shows it ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "language", "most"),
    [
        ("my husband hits me, who can help me", "en", 3),
        ("¿puedo denunciar un delito sin papeles?", "es", 5),
        ("èske mwen ka pote plent san papye", "ht", 3),
    ],
)
def test_three_messages_as_a_phone_shows_them(question: str, language: str, most: int, served: Served) -> None:
    text = served.say(sms(question))
    print(f"\n--- {language}: {segments(text)} SMS, {len(text)} signs\n{text}")
    assert segments(text) <= most
    assert "http" not in text
    assert text == gsm(text)
