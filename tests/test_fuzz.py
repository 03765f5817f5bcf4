"""Texts and bodies that nobody would think of, against everything that parses what outsiders send (Hypothesis).

Short with the other tests; long with `make fuzz`, or OUTREACH_FUZZ=20000 .venv/bin/pytest tests/test_fuzz.py (examples for each test).
Time is this thread's own processor time: how busy the machine is does not count.
"""

from __future__ import annotations

import asyncio
import html.parser
import json
import os
import re
import sre_parse
import time
import unicodedata
import urllib.parse
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from actions.knowledge.load import knowledge
from bot.channels.shape import SHAPES, gsm, segments
from bot.channels.sms import incoming, status, twiml
from bot.channels.sms.channel import SmsChannel
from bot.channels.sms.signature import InvalidBody, parse
from bot.channels.telegram import commands, updates
from bot.channels.web import build
from bot.channels.web.channel import WebChannel, accepts, wanted_language
from bot.channels.web.network import network
from bot.check import training_messages
from bot.desk import Message, Result
from bot.nlu import keywords, language, personal, safety
from bot.nlu import text as texts
from bot.nlu.lexicon import FOLDER
from bot.privacy.records import Record
from bot.privacy.store import MemoryStore
from bot.settings import Settings, Twilio
from tests.channels import as_twilio
from tests.channels.running import request, serving

EXAMPLES = int(os.environ.get("OUTREACH_FUZZ") or 0)
PURE = settings(
    max_examples=EXAMPLES or 60, deadline=None, database=None, suppress_health_check=list(HealthCheck), derandomize=not EXAMPLES
)  # fmt: skip
WHOLE = settings(PURE, max_examples=max(25, EXAMPLES // 20))
"""For what goes through the model or over HTTP."""
MOST_MS = 100.0
SMS = 1600
"""Characters of the longest SMS that Twilio takes."""
LONGEST = texts.HEAD + texts.TAIL + 1

# Pieces that parsers stumble over: signs that grow or turn around, commands, markup, numbers, half of a letter.
PIECES = [
    "a", "he ", "police ", "lapolis ", "A-", "911", "12345 ", "305-555-0142 ", "A098-555-731", "me llamo ", "1 2 ", "@", "#", ". ",
    "?", "\n", "\x00", "\u202e", "\u200d", "\ufdfa", "\u0301", "İ", "ß", "漢", "😀", "\U0001f469\u200d\U0001f469", "<b>", "]]>", "&amp;",
    "\"'", "</p><script>", "{911}", "{quote:x}", "/restart", "/intent{\"a\":1}", "STOP", "MÁS", "http://", "a@b.", "%", "\ud7ff", "\u2028",
    "\ufeff", "\x85", "\x1b[31m", "-" * 9, "     ", "١٢", "²", "Ⅷ", "ﬃ", "\U000e0041",
]  # fmt: skip
odd = st.lists(st.sampled_from(PIECES) | st.text(max_size=6), max_size=40).map("".join)
long = st.builds(
    lambda piece, more, many: (piece * many + more)[:8000], st.sampled_from(PIECES), odd, st.integers(1, 4000)
)
anything = odd | long | st.text(max_size=300)


def timed(call: Callable[..., Any], *arguments: Any) -> Any:
    """What a call gives; it must not take long."""
    best = float("inf")
    for _ in range(3):
        started = time.thread_time()
        made = call(*arguments)
        best = min(best, 1000 * (time.thread_time() - started))
        if best < MOST_MS:
            return made
    raise AssertionError(f"{call} took {best:.0f} ms for {str(arguments)[:80]!r}")


# --- pure functions ---------------------------------------------------------------------------------

gazetteer = knowledge().gazetteer
PARSERS: dict[str, Callable[[str], Any]] = {
    "plain": texts.plain,
    "tokens": texts.tokens,
    "parts": texts.parts,
    "language": language.identify,
    "screen": safety.screen,
    "veto": safety.vetoed,
    "keyword": keywords.load().find,
    "number": keywords.load().number,
    "personal data": personal.has_personal_data,
    "without it": personal.without_personal_data,
    "place": gazetteer.find,
    "place, asked for": lambda text: gazetteer.find(text, asked=True),
    "command": commands.read,
    "GSM": gsm,
    "segments": segments,
}


@pytest.mark.parametrize("name", PARSERS)
@PURE
@given(text=anything)
def test_no_text_breaks_a_parser_or_takes_long(name: str, text: str) -> None:
    # What stands behind the desk sees both ends of a text at most.
    timed(PARSERS[name], texts.ends(text))


@PURE
@given(text=anything)
def test_plain_text_is_plain(text: str) -> None:
    plain = texts.plain(text)
    assert len(plain) <= 4 * len(text)
    assert not any(unicodedata.combining(sign) for sign in plain)
    assert all(re.fullmatch(r"[a-z0-9#*$]+", word) for word in texts.tokens(text))
    vote = language.identify(texts.ends(text))
    assert 0 <= vote.belief <= 1
    assert language.choose(vote, None) in language.LANGUAGES


@PURE
@given(text=anything, head=st.integers(1, 50), tail=st.integers(1, 50))
def test_ends_are_ends(text: str, head: int, tail: int) -> None:
    short = texts.ends(text, head, tail)
    assert len(short) <= head + tail + 1
    assert texts.ends(short, head, tail) == short
    assert text.startswith(short[:head])
    assert text.endswith(short[-tail:])


@PURE
@given(before=anything, after=anything)
def test_danger_is_heard_among_anything(before: str, after: str) -> None:
    cry = ". he has a gun and is shooting at us right now. "
    assert safety.screen(before[:600] + cry) or safety.vetoed(before[:600] + cry)
    assert safety.screen(cry) == "emergency"
    timed(safety.screen, texts.ends(before + cry + after))


# --- the safety screen's patterns -------------------------------------------------------------------


def _patterns() -> list[tuple[str, str]]:
    data = yaml.safe_load((FOLDER / "safety.yml").read_text("utf-8"))
    return [
        (name, pattern) for name, groups in data.items() for patterns in groups.values() for pattern in patterns or ()
    ]


def _repeats(tree: Any, inside: bool = False) -> Iterator[str]:
    """Endless repeats inside of endless repeats: a text of a hundred letters can take such a pattern a year."""
    for operation, value in tree:
        name = str(operation)
        if name in ("MAX_REPEAT", "MIN_REPEAT"):
            endless = value[1] is sre_parse.MAXREPEAT  # type: ignore[attr-defined]
            if endless and inside:
                yield name
            yield from _repeats(value[2], inside or endless)
        elif name == "SUBPATTERN":
            yield from _repeats(value[-1], inside)
        elif name == "BRANCH":
            for way in value[1]:
                yield from _repeats(way, inside)
        elif name in ("ASSERT", "ASSERT_NOT"):
            yield from _repeats(value[1], inside)


def test_no_pattern_of_the_screen_can_explode() -> None:
    for name, pattern in _patterns():
        tree = sre_parse.parse(safety._bounded(pattern))
        assert not list(_repeats(tree)), f"safety.yml, {name}: {pattern!r} repeats without end inside of a repeat"


def _words() -> list[str]:
    return sorted({word for _, pattern in _patterns() for word in re.findall(r"[a-z]{1,14}", pattern)})


def test_the_screen_s_own_words_over_and_over() -> None:
    """The slowest texts are made of what the patterns begin with."""
    words = _words()
    for word in words if EXAMPLES else words[:: len(words) // 250]:
        timed(safety.screen, (f"{word} " * SMS)[:SMS])


@PURE
@given(
    chosen=st.lists(st.sampled_from(_words()), min_size=1, max_size=8),
    glue=st.sampled_from([" ", ", ", ". ", "  ", "-"]),
)
def test_the_screen_s_own_words_mixed(chosen: list[str], glue: str) -> None:
    timed(safety.screen, ((glue.join(chosen) + glue) * SMS)[:SMS])


@settings(WHOLE, max_examples=EXAMPLES or 15)
@given(data=st.data())
def test_no_pattern_of_the_screen_is_overlooked(data: st.DataObject) -> None:
    """RE2 says which patterns a text may hold: never one too few."""
    name, pattern = data.draw(st.sampled_from(_patterns()))
    pattern = safety._bounded(pattern)
    said = data.draw(st.from_regex(pattern.replace(r"\b", ""), fullmatch=True) | odd)
    text = safety._text(f"{data.draw(odd)} {said}")[:400]
    if re.search(rf"\b(?:{pattern})(?!\w)", text):
        assert getattr(safety.load(), name).search(text), (pattern, text)


def test_letters_and_digits_of_other_scripts_are_letters_and_digits() -> None:
    assert safety.load().emergency.search("girl alone on \u07c0\u07c1")
    assert not safety.load().emergency.search("girl alone on \u6f22\u6f22 day")


def test_idioms_are_taken_out_as_one_pattern_would() -> None:
    idioms = "|".join(
        rf"(?:\b(?:{safety._bounded(pattern)})(?!\w))" for name, pattern in _patterns() if name == "idioms"
    )
    whole, changed = re.compile(idioms), 0
    for *_, said in list(training_messages())[:: 1 if EXAMPLES else 29]:
        text = safety._text(said)
        expected = whole.sub(" ", text)
        assert safety.load().idioms.taken_out(text) == expected
        changed += expected != text
    assert changed > 5


# --- what Twilio sends ------------------------------------------------------------------------------

fields = st.dictionaries(
    st.sampled_from(["Body", "From", "To", "MessageSid", "NumMedia", "OptOutType", "Latitude", "MessageStatus", "ErrorCode"]) | odd,
    odd | st.just("+13055550142") | st.just("SM" + "0" * 32) | st.just("whatsapp:+13055550142"),
    max_size=12,
)  # fmt: skip


def encoded(form: dict[str, str]) -> bytes:
    """As it goes over the wire; half letters as Twilio would never send them."""
    return urllib.parse.urlencode(form, errors="replace").encode()


@PURE
@given(body=st.binary(max_size=400) | fields.map(encoded), kind=st.just("application/x-www-form-urlencoded") | odd)
@example(body=b"&" * 16_000, kind="application/x-www-form-urlencoded")
@example(body=b"a=%" * 5_000, kind="application/x-www-form-urlencoded")
def test_a_form_is_read_or_refused(body: bytes, kind: str) -> None:
    try:
        form = timed(parse, kind, body)
    except InvalidBody:
        return
    for read in (lambda: incoming.read(form, "twilio"), lambda: incoming.read(form, "app")):
        try:
            message = timed(read)
        except (InvalidBody, incoming.OtherSender):
            continue
        assert re.fullmatch(r"\+?\d{3,15}", message.sender)
        assert message.channel in ("sms", "whatsapp")
    try:
        told = timed(status.read, form)
    except InvalidBody:
        return
    assert re.fullmatch(r"\d{0,6}", told.code), "nothing else may be counted"


@PURE
@given(text=anything)
def test_twiml_says_what_was_to_be_said_and_nothing_else(text: str) -> None:
    # Replies are the catalogues'; a resident's words never come back. Even if they did:
    made = timed(twiml.response, texts.ends(text))
    root = ET.fromstring(made)
    assert {element.tag for element in root.iter()} <= {"Response", "Message"}
    assert all(twiml.length(message.text or "") <= twiml.MOST for message in root)


# --- what Telegram sends ----------------------------------------------------------------------------

numbers = st.integers(-(2**63), 2**63) | st.just(700_100_001)
users = st.fixed_dictionaries(
    {"id": numbers, "is_bot": st.booleans(), "first_name": odd}, optional={"language_code": odd}
)
chats = st.fixed_dictionaries(
    {"id": numbers, "type": st.sampled_from(["private", "group", "supergroup", "channel", ""]) | odd}
)
said = st.fixed_dictionaries(
    {"message_id": numbers, "date": numbers, "chat": chats},
    optional={"from": users, "text": odd, "caption": odd, "photo": st.lists(st.dictionaries(odd, numbers), max_size=2), "voice": st.none()},
)  # fmt: skip
leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | odd
trees = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(odd, inner, max_size=4), max_leaves=12
)
an_update = st.fixed_dictionaries(
    {"update_id": numbers | leaves},
    optional={
        "message": said | trees,
        "edited_message": said,
        "callback_query": st.fixed_dictionaries({"id": odd, "from": users, "chat_instance": odd}, optional={"data": odd, "message": said}) | trees,
        "my_chat_member": trees,
    },
)  # fmt: skip


@PURE
@given(data=an_update | trees)
def test_an_update_becomes_a_step_or_nothing(data: Any) -> None:
    step = timed(updates.read, data)
    assert step is None or isinstance(step.do, updates.Do)
    if step is not None:
        assert type(step.update) is int
        assert not (set(re.findall(r"\w+", step.reason)) & {"+13055550142"})


# --- what browsers send -----------------------------------------------------------------------------


class Seen(html.parser.HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, page: str):
        super().__init__()
        self.tags: list[str] = []
        self.events: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Note it."""
        self.tags.append(tag)
        self.events += [name for name, _ in attributes if name.startswith("on")]


@PURE
@given(session=odd, language=st.sampled_from(["en", "es", "ht"]))
def test_the_page_without_scripts_holds_no_foreign_markup(session: str, language: str, words: Any) -> None:
    plain = Seen(timed(build.basic_document, words, language, "", "x" * 32 if session else "").body)
    page = timed(build.basic_document, words, language, "", session)
    seen = Seen(page.body)
    assert seen.tags == plain.tags
    assert seen.events == []


@PURE
@given(asked=anything, accepted=anything)
def test_headers_are_read_quickly(asked: str, accepted: str) -> None:
    assert timed(wanted_language, asked, accepted) in ("en", "es", "ht")
    assert timed(accepts, accepted, "br") in (True, False)
    assert isinstance(timed(network, asked[:100], [accepted], ()), str)


# --- the whole way ----------------------------------------------------------------------------------


@dataclass
class Whole:
    """All channels served, and a desk beside."""

    address: str
    desk: Any


@pytest.fixture(scope="module")
def whole(assistant: Any) -> Iterator[Whole]:
    """A served desk without limits, for many messages of few senders."""
    from bot.desk import Desk
    from bot.privacy.limits import Limiter

    own = Twilio(as_twilio.ACCOUNT, as_twilio.TOKEN, as_twilio.NUMBER, delete_after=0)

    def make() -> tuple[Any, Any]:
        desk = Desk(assistant, MemoryStore(Settings(data=Path("var"), retention_hours=24)), limiter=Limiter(()))
        return desk, [WebChannel(desk, limiter=Limiter(())), SmsChannel(desk, own, as_twilio.PUBLIC_URL)]

    with serving(make) as (address, desk):
        yield Whole(address, desk)


@WHOLE
@given(text=anything, channel=st.sampled_from(sorted(SHAPES)), button=st.none() | odd)
def test_any_message_gets_a_reply_of_ours(text: str, channel: str, button: str | None, assistant: Any) -> None:
    from bot.desk import Desk

    desk = Desk(assistant, MemoryStore(Settings(data=Path("var"), retention_hours=24)), counting=False, repeats=False)
    started = time.thread_time()
    answer = asyncio.run(desk.answer(Message(channel, "+13055550142", text, button=button)))
    assert time.thread_time() - started < 1.0
    assert answer.result in (Result.ANSWERED, Result.STOPPED), "no failure"
    assert answer.replies
    said = "\n".join(reply.text for reply in answer.replies)
    assert all(reply.language in ("en", "es", "ht") for reply in answer.replies)
    for sign in ("\x00", "\u202e", "<script>", "\x1b"):
        assert sign not in said, "a resident's words never come back"


@WHOLE
@given(button=odd, offered=st.lists(st.sampled_from(["schools", "more", "language:ht"]), max_size=2))
def test_a_button_is_one_that_was_offered(button: str, offered: list[str]) -> None:
    from bot.assistant import _chosen

    record = Record(choices=offered)
    chosen = _chosen(button, record)
    assert chosen is None or chosen in offered
    assert _chosen(button, None) is None


REFUSALS = (400, 403, 404, 405, 408, 413, 415, 429)


@WHOLE
@given(
    body=trees
    | st.fixed_dictionaries(
        {"v": st.just(1), "id": odd | st.just("a-1"), "session": st.none() | odd, "text": anything | leaves, "button": st.none() | odd},
        optional={"lang": leaves, "hint": leaves},
    ),
    path=st.sampled_from(["/chat/v1/messages", "/chat/v1/end"]),
)  # fmt: skip
def test_any_json_over_http(body: Any, path: str, whole: Whole) -> None:
    data = json.dumps(body).encode()
    code, text, headers = request(whole.address + path, data)
    assert code in (200, 204, *REFUSALS), text
    assert "Traceback" not in text
    if code == 200:
        assert all(reply["kind"] != "notice" or reply["text"] for reply in json.loads(text)["messages"])
        kind = {name.lower(): value for name, value in headers.items()}["content-type"]
        assert kind.startswith("application/json")


@WHOLE
@given(form=fields, raw=st.none() | st.binary(max_size=300))
def test_any_form_over_http(form: dict[str, str], raw: bytes | None, whole: Whole) -> None:
    form = {
        name.encode("utf-8", "replace").decode(): value.encode("utf-8", "replace").decode()
        for name, value in form.items()
    }
    got = as_twilio.post(whole.address, raw if raw is not None else form)
    assert got.status in (200, *REFUSALS), got
    if got.status == 200:
        assert {element.tag for element in got.elements} <= {"Message"}


@WHOLE
@given(text=anything, other=odd, language=st.sampled_from(["en", "es", "ht"]) | odd)
def test_any_form_of_the_page_without_scripts(text: str, other: str, language: str, whole: Whole) -> None:
    data = urllib.parse.urlencode(
        {"text": text[:2000], "session": other, "button": other, "l": language, other: other}, errors="replace"
    ).encode()
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    code, page, _ = request(f"{whole.address}/chat/basic", data, kind)
    assert code in (200, *REFUSALS), page
    seen = Seen(page)
    assert "script" not in seen.tags
    assert not {"b", "iframe", "img", "object", "embed", "base"} & set(seen.tags)
    assert seen.events == []
