"""Telegram, over real HTTP on both sides: updates as Telegram sends them, a Bot API that behaves as Telegram's does."""

from __future__ import annotations

import itertools
import json
import logging
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.channels.telegram import commands, updates
from bot.channels.telegram import send as sending
from bot.channels.telegram.updates import Do
from tests.channels import bot_api
from tests.channels.bot_api import BotApi, Fault
from tests.channels.running import Running, request
from tests.conftest import ROOT, free_port

TOKEN = "123456789:AAExampleExampleExampleExampleExample01"
SECRET = "telegram-proves-itself-with-this"
HEADER = {"X-Telegram-Bot-Api-Secret-Token": SECRET}
ROUTE = "/webhooks/telegram"
NAME = "Marisol-Telegram-Name"
"""Stands in every update, and may stand in no log."""
QUESTION = "can the police ask for my papers"
DANGER = "he is beating me right now, can the police ask for my papers?"
_chats = itertools.count(700_000_001)
_numbers = itertools.count(870_000_001)


# --- updates, as https://core.telegram.org/bots/api#update and its examples have them -------------


def person(chat: int, language: str | None = "en") -> dict[str, Any]:
    user = {"id": chat, "is_bot": False, "first_name": NAME, "last_name": "Lastname", "username": "name_of_a_resident"}
    return {**user, "language_code": language} if language else user


def private(chat: int) -> dict[str, Any]:
    return {
        "id": chat,
        "first_name": NAME,
        "last_name": "Lastname",
        "username": "name_of_a_resident",
        "type": "private",
    }


GROUP = {"id": -1001234567890, "title": "Neighbours of Little Havana", "type": "supergroup"}
SMALL_GROUP = {"id": -987654321, "title": "Family", "type": "group", "all_members_are_administrators": True}
CHANNEL = {"id": -1009876543210, "title": "News", "username": "news_channel", "type": "channel"}
BOT = {"id": 123456789, "is_bot": True, "first_name": "Outreach", "username": "outreach_bot"}
PICTURE = [
    {"file_id": "AgACAgIAAxkB", "file_unique_id": "AQADq", "file_size": 1101, "width": 90, "height": 51},
    {"file_id": "AgACAgIAAxkC", "file_unique_id": "AQADr", "file_size": 14650, "width": 320, "height": 180},
]


def message(
    chat: int | dict[str, Any], text: str | None = None, language: str | None = "en", **content: Any
) -> dict[str, Any]:
    """A message: in a private chat, or in a chat that is given."""
    where = chat if isinstance(chat, dict) else private(chat)
    sender = person(chat if isinstance(chat, int) else 700_000_000, language)
    made = {"message_id": 1365, "from": sender, "chat": where, "date": 1795348800, **content}
    if text is not None:
        made["text"] = text
        if text.startswith("/"):
            made["entities"] = [{"offset": 0, "length": len(text.split()[0]), "type": "bot_command"}]
    return made


def update(kind: str, content: Any, number: int | None = None) -> dict[str, Any]:
    return {"update_id": next(_numbers) if number is None else number, kind: content}


def says(chat: int, text: str, language: str | None = "en", number: int | None = None) -> dict[str, Any]:
    return update("message", message(chat, text, language), number)


def presses(chat: int, button: str, number: int | None = None, language: str = "en") -> dict[str, Any]:
    query = {
        "id": "4382bfdwdsb323b2d9",
        "from": person(chat, language),
        "message": {**message(chat, "What do you want to know?"), "from": BOT},
        "chat_instance": "-3820983987389327",
        "data": button,
    }
    return update("callback_query", query, number)


def member(chat: dict[str, Any], before: str, after: str, language: str = "en") -> dict[str, Any]:
    def seat(status: str) -> dict[str, Any]:
        rights = {"until_date": 0} if status == "kicked" else {}
        if status == "administrator":
            rights = dict.fromkeys(
                ("can_be_edited", "can_manage_chat", "can_change_info", "can_delete_messages", "can_invite_users",
                 "can_restrict_members", "can_promote_members", "can_manage_video_chats", "is_anonymous",
                 "can_post_stories", "can_edit_stories", "can_delete_stories"), False,
            )  # fmt: skip
        return {"user": BOT, "status": status, **rights}

    change = {
        "chat": chat,
        "from": person(700_000_000, language),
        "date": 1795348800,
        "old_chat_member": seat(before),
        "new_chat_member": seat(after),
    }
    return update("my_chat_member", change)


@dataclass(frozen=True)
class Incoming:
    """One update and what it leads to."""

    label: str
    make: Callable[[int], dict[str, Any]]
    """chat -> the update."""
    do: Do
    said: str
    """What the webhook answers: fixed words."""
    calls: tuple[str, ...] = ()
    """Calls to Telegram, "typing" aside."""
    text: str | None = None
    """Id of the text that the resident reads; None where nothing is read, or where other tests look."""
    language: str = "en"
    reads: dict[str, Any] = field(default_factory=dict)
    """Fields of the step."""


VOICE = {"duration": 7, "mime_type": "audio/ogg", "file_id": "AwACAgQ", "file_unique_id": "AgAD", "file_size": 25612}
STICKER = {
    "file_id": "CAACAgIAAxkB", "file_unique_id": "AgADOw", "type": "regular", "width": 512, "height": 512,
    "is_animated": False, "is_video": False, "emoji": "👍", "set_name": "Set", "file_size": 11244,
}  # fmt: skip
FORWARDED = {"type": "hidden_user", "sender_user_name": NAME, "date": 1795348000}
POLL = {
    "id": "5433653870", "question": "Lunch?", "options": [{"text": "yes", "voter_count": 0}], "total_voter_count": 0,
    "is_closed": False, "is_anonymous": True, "type": "regular", "allows_multiple_answers": False,
}  # fmt: skip
CANNOT_READ = {"text": "phrase/cannot_read", "calls": ("sendMessage",), "said": "answered", "do": Do.ANSWER}
IGNORED: dict[str, Any] = {"do": Do.IGNORE}

INCOMING = [
    Incoming("a message", lambda c: says(c, "hello"), Do.ANSWER, "answered", ("sendMessage",), "greet/short"),
    Incoming(
        "a message in Creole from a phone in French",
        lambda c: says(c, "bonjou", "fr"),
        Do.ANSWER,
        "answered",
        ("sendMessage",),
        "greet/short",
        "ht",
        {"hint": "ht"},
    ),
    Incoming(
        "no language code, as older clients send",
        lambda c: says(c, "hola", None),
        Do.ANSWER,
        "answered",
        ("sendMessage",),
        "greet/short",
        "es",
        {"hint": None},
    ),
    Incoming(
        "a forwarded message",
        lambda c: update("message", message(c, "hello", forward_origin=FORWARDED, forward_date=1795348000)),
        Do.ANSWER,
        "answered",
        ("sendMessage",),
        "greet/short",
    ),
    Incoming(
        "an answer to an older message",
        lambda c: update("message", message(c, "hello", reply_to_message={**message(c, "hi"), "from": BOT})),
        Do.ANSWER,
        "answered",
        ("sendMessage",),
        "greet/short",
    ),
    Incoming("blanks", lambda c: says(c, "  \n "), Do.ANSWER, "answered", ("sendMessage",), "phrase/empty"),
    Incoming(
        "an empty message",
        lambda c: update("message", message(c)),
        Do.ANSWER,
        "answered",
        ("sendMessage",),
        "phrase/empty",
        reads={"text": "", "readable": True},
    ),
    Incoming(
        "an emoji", lambda c: says(c, "👍"), Do.ANSWER, "answered", ("sendMessage",), "phrase/clarify"
    ),
    Incoming("a picture", lambda c: update("message", message(c, photo=PICTURE)), **CANNOT_READ),
    Incoming(
        "a picture with a caption",
        lambda c: update("message", message(c, photo=PICTURE, caption="hola", caption_entities=[])),
        Do.ANSWER,
        "answered",
        ("sendMessage",),
        "greet/short",
        "es",
        {"text": "hola", "readable": False},
    ),
    Incoming(
        "a picture with danger in its caption",
        lambda c: update("message", message(c, photo=PICTURE, caption="he is beating me right now")),
        Do.ANSWER,
        "answered",
        ("sendMessage",),
        "emergency/short",
    ),
    Incoming("a voice message", lambda c: update("message", message(c, voice=VOICE)), **CANNOT_READ),
    Incoming("a sticker", lambda c: update("message", message(c, sticker=STICKER)), **CANNOT_READ),
    Incoming(
        "a location",
        lambda c: update("message", message(c, location={"latitude": 25.7617, "longitude": -80.1918})),
        **CANNOT_READ,
    ),
    Incoming(
        "a contact",
        lambda c: update(
            "message", message(c, contact={"phone_number": "+13055550142", "first_name": NAME, "user_id": c})
        ),
        **CANNOT_READ,
    ),
    Incoming(
        "a file",
        lambda c: update(
            "message", message(c, document={"file_id": "BQAC", "file_unique_id": "AgAD", "file_name": "order.pdf"})
        ),
        **CANNOT_READ,
    ),
    Incoming("a poll", lambda c: update("message", message(c, poll=POLL)), **CANNOT_READ),
    Incoming("a die", lambda c: update("message", message(c, dice={"emoji": "🎲", "value": 3})), **CANNOT_READ),
    Incoming(
        "contents of a later Bot API",
        lambda c: update("message", message(c, hologram={"file_id": "x"})),
        **CANNOT_READ,
    ),
    Incoming(
        "a pinned message",
        lambda c: update("message", message(c, pinned_message=message(c, "hi"))),
        said="ignore: pinned message",
        **IGNORED,
    ),
    Incoming(
        "a timer for deletion is set",
        lambda c: update(
            "message",
            message(c, message_auto_delete_timer_changed={"message_auto_delete_time": 86400}),
        ),
        said="ignore: message auto delete timer changed",
        **IGNORED,
    ),
    Incoming(
        "an edited message",
        lambda c: update("edited_message", {**message(c, QUESTION), "edit_date": 1795348900}),
        Do.ANSWER,
        "silence: edited",
    ),
    Incoming(
        "an edited message that tells of danger now",
        lambda c: update("edited_message", {**message(c, "he is shooting at us right now"), "edit_date": 1795348900}),
        Do.ANSWER,
        "answered",
        ("sendMessage",),
        "emergency/short",
    ),
    Incoming(
        "an edited message in a group",
        lambda c: update("edited_message", {**message(GROUP, QUESTION), "edit_date": 1795348900}),
        said="ignore: edited message",
        **IGNORED,
    ),
    Incoming(
        "a message in a supergroup",
        lambda c: update("message", message(GROUP, "/help@outreach_bot", "es")),
        Do.DECLINE,
        "decline",
        ("sendMessage", "leaveChat"),
        "phrase/private_only",
        "es",
    ),
    Incoming(
        "a message in a small group",
        lambda c: update("message", message(SMALL_GROUP, QUESTION, "fr")),
        Do.DECLINE,
        "decline",
        ("sendMessage", "leaveChat"),
        "phrase/private_only",
        "ht",
    ),
    Incoming(
        "danger in a group",
        lambda c: update("message", message(GROUP, DANGER)),
        Do.DECLINE,
        "decline",
        ("sendMessage", "leaveChat"),
        "phrase/private_only",
    ),
    Incoming(
        "somebody joins a group",
        lambda c: update("message", message(GROUP, new_chat_members=[BOT], new_chat_member=BOT)),
        said="ignore: new chat members",
        **IGNORED,
    ),
    Incoming(
        "added to a group",
        lambda c: member(GROUP, "left", "member", "en"),
        Do.DECLINE,
        "decline",
        ("sendMessage", "leaveChat"),
        "phrase/private_only",
    ),
    Incoming(
        "made administrator of a group",
        lambda c: member(GROUP, "member", "administrator"),
        said="ignore: no longer or still there",
        **IGNORED,
    ),
    Incoming(
        "removed from a group",
        lambda c: member(GROUP, "member", "left"),
        said="ignore: no longer or still there",
        **IGNORED,
    ),
    Incoming(
        "added to a channel",
        lambda c: member(CHANNEL, "left", "administrator"),
        Do.LEAVE,
        "leave: added to a channel",
        ("leaveChat",),
    ),
    Incoming(
        "a channel post",
        lambda c: update("channel_post", {"message_id": 5, "chat": CHANNEL, "sender_chat": CHANNEL, "date": 1795348800, "text": DANGER}),
        said="ignore: channel post",
        **IGNORED,
    ),
    Incoming("blocked", lambda c: member(private(c), "member", "kicked"), Do.FORGET, "forget: blocked"),
    Incoming("unblocked", lambda c: member(private(c), "kicked", "member"), said="ignore: unblocked", **IGNORED),
    Incoming(
        "a button of another bot's message",
        lambda c: update("callback_query", {"id": "77", "from": person(c), "inline_message_id": "AAA", "chat_instance": "1", "data": "more"}),
        said="ignore: a button that is not ours",
        calls=("answerCallbackQuery",),
        **IGNORED,
    ),
    Incoming(
        "a button in a group",
        lambda c: update("callback_query", {"id": "77", "from": person(c), "message": message(GROUP, "x"), "chat_instance": "1", "data": "more"}),
        said="ignore: a button that is not ours",
        calls=("answerCallbackQuery",),
        **IGNORED,
    ),
    Incoming(
        "a button under a message that Telegram no longer has",
        lambda c: update(
            "callback_query",
            {"id": "78", "from": person(c), "message": {"chat": private(c), "message_id": 3, "date": 0}, "chat_instance": "1", "data": "more"},
        ),
        Do.ANSWER,
        "answered",
        ("answerCallbackQuery", "sendMessage"),
        "phrase/number_unknown",
        reads={"button": "more"},
    ),
    Incoming(
        "an inline query",
        lambda c: update("inline_query", {"id": "1", "from": person(c), "query": "police", "offset": ""}),
        said="ignore: inline query",
        **IGNORED,
    ),
    Incoming("the state of a poll", lambda c: update("poll", POLL), said="ignore: poll", **IGNORED),
    Incoming(
        "a reaction",
        lambda c: update(
            "message_reaction",
            {"chat": private(c), "message_id": 3, "user": person(c), "date": 1795348800, "old_reaction": [],
             "new_reaction": [{"type": "emoji", "emoji": "❤"}]},
        ),
        said="ignore: message reaction",
        **IGNORED,
    ),
    Incoming(
        "a kind of update that nobody knows yet",
        lambda c: update("telepathy", {"from": person(c)}),
        said="ignore: unknown update",
        **IGNORED,
    ),
    Incoming("nothing but a number", lambda c: {"update_id": next(_numbers)}, said="ignore: unknown update", **IGNORED),
    Incoming(
        "a message without a chat",
        lambda c: update("message", {"message_id": 1, "date": 1795348800, "text": "hi"}),
        said="ignore: malformed (AttributeError)",
        **IGNORED,
    ),
    Incoming(
        "a message that is a list", lambda c: update("message", ["x"]), said="ignore: malformed (TypeError)", **IGNORED
    ),
    Incoming(
        "words beside something that cannot be read",
        lambda c: update("message", {**message(c, "hola"), "date": "yesterday", "reply_to_message": ["x"]}),
        Do.ANSWER,
        "answered",
        ("sendMessage",),
        "greet/short",
        "es",
    ),
    Incoming(
        "another bot",
        lambda c: update("message", {**message(c, QUESTION), "from": {**BOT, "id": 5}}),
        said="ignore: written by a bot",
        **IGNORED,
    ),
]  # fmt: skip


# --- the application ------------------------------------------------------------------------------


@pytest.fixture
def api() -> Iterator[BotApi]:
    with BotApi() as made:
        yield made


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same retries, in less time."""
    monkeypatch.setattr(sending, "RETRIES", (0.02, 0.02, 0.02, 0.02))


@contextmanager
def running(
    assistant: Any, api: BotApi, data: Path | None = None, keys: Any = None, webhook: bool = True, wait: bool = True
) -> Iterator[Service]:
    """The application with Telegram on, as `outreach run` builds it; in memory, or with its store in a folder."""
    from bot.channels.telegram.channel import TelegramChannel
    from bot.desk import Desk
    from bot.privacy.pseudonyms import Pseudonyms
    from bot.privacy.store import MemoryStore
    from bot.privacy.store_file import FileStore
    from bot.settings import Settings, Telegram

    own = Settings(data=data or Path("var"), retention_hours=24)
    store = FileStore(data, own) if data else MemoryStore(own)
    desk = Desk(assistant, store, Pseudonyms(keys))
    telegram = Telegram(TOKEN, SECRET if webhook else "", api.address)
    channel = TelegramChannel(desk, telegram, "https://chat.example.org" if webhook else "")
    with Running(desk, [channel]) as app:
        if wait:
            api.wait_for("setMyCommands", 4)
            api.calls.clear()
        yield Service(app, channel, api)


class Service:
    """The running application, as Telegram sees it."""

    def __init__(self, app: Running, channel: Any, api: BotApi):
        self.app = app
        self.channel = channel
        self.api = api
        self.address = app.address + ROUTE

    def bring(self, made: Any, headers: dict[str, str] | None = None) -> tuple[int, str]:
        """Bring an update: status and text."""
        status, text, _ = request(self.address, made, HEADER if headers is None else headers)
        return status, text


@pytest.fixture
def service(assistant: Any, api: BotApi) -> Iterator[Service]:
    with running(assistant, api) as made:
        yield made


@pytest.fixture(scope="module")
def shared(assistant: Any) -> Iterator[Service]:
    """One application for tests that do not disturb each other: each has chats of its own."""
    with BotApi() as api, running(assistant, api) as made:
        yield made


# --- what comes in --------------------------------------------------------------------------------


@pytest.mark.parametrize("row", INCOMING, ids=lambda row: row.label)
def test_what_an_update_asks_for(row: Incoming) -> None:
    step = updates.read(row.make(next(_chats)))
    assert step is not None
    assert step.do is row.do
    assert {name: getattr(step, name) for name in row.reads} == row.reads


@pytest.mark.parametrize("row", INCOMING, ids=lambda row: row.label)
def test_what_an_update_gets(row: Incoming, shared: Service, words: Any) -> None:
    shared.api.calls.clear()
    shared.channel._declined.forget(shared.channel._chat(GROUP["id"]))
    assert shared.bring(row.make(next(_chats))) == (200, row.said)
    if "answerCallbackQuery" in row.calls:
        shared.api.wait_for("answerCallbackQuery")
    assert sorted(shared.api.methods()) == sorted(row.calls)
    if row.text:
        assert shared.api.texts()[0].startswith(words.line(row.text, row.language))
        assert NAME not in shared.api.texts()[0]


@pytest.mark.parametrize(
    ("label", "body", "headers", "method", "status"),
    [
        ("no secret token", says(1, QUESTION), {}, None, 403),
        ("an empty secret token", says(1, QUESTION), {"X-Telegram-Bot-Api-Secret-Token": ""}, None, 403),
        ("a wrong secret token", says(1, QUESTION), {"X-Telegram-Bot-Api-Secret-Token": SECRET[:-1]}, None, 403),
        ("one sign more", says(1, QUESTION), {"X-Telegram-Bot-Api-Secret-Token": SECRET + "x"}, None, 403),
        ("letters beyond ASCII", says(1, QUESTION), {"X-Telegram-Bot-Api-Secret-Token": "é" * 20}, None, 403),
        ("the token in another header", says(1, QUESTION), {"Authorization": f"Bearer {SECRET}"}, None, 403),
        ("no secret token, and no JSON either", b"{", {}, None, 403),
        ("no secret token, and far too large", b"x" * 1_000_000, {}, None, 403),
        ("no JSON", b"hello", HEADER, None, 400),
        ("half of a JSON", b'{"update_id": 1, "message"', HEADER, None, 400),
        ("nothing", b"", HEADER, None, 400),
        ("bytes that are no text", b"\xff\xfe\x00", HEADER, None, 400),
        ("a list", [1], HEADER, None, 400),
        ("no update_id", {"message": message(1, QUESTION)}, HEADER, None, 400),
        ("an update_id that is none", {**says(1, QUESTION), "update_id": "1"}, HEADER, None, 400),
        ("deep nesting", b"[" * 15_000, HEADER, None, 400),
        ("larger than a request may be", b"x" * 20_000, HEADER, None, 413),
        ("a text that Telegram cannot carry", says(1, "a" * 20_000), HEADER, None, 413),
        ("larger than any update", says(1, "a" * 200_000), HEADER, None, 413),
        ("GET", None, HEADER, "GET", 405),
        ("PUT", says(1, QUESTION), HEADER, "PUT", 405),
        ("DELETE", None, HEADER, "DELETE", 405),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_refused(
    label: str, body: Any, headers: dict[str, str], method: str | None, status: int, shared: Service
) -> None:
    shared.api.calls.clear()
    try:
        got, text, _ = request(shared.address, body, headers, method)
        assert got == status
        assert QUESTION not in text
        assert SECRET not in text
    except (ConnectionError, OSError):
        # The server need not read on to answer; a client that insists on writing is cut off.
        assert label in ("no secret token, and far too large", "larger than any update")
    assert shared.api.calls == []
    assert request(f"{shared.app.address}/health")[0] == 200


def test_nobody_is_let_in_without_a_secret_token_of_ours(assistant: Any, api: BotApi) -> None:
    with running(assistant, api, webhook=False) as polling:
        api.calls.clear()
        for headers in ({}, {"X-Telegram-Bot-Api-Secret-Token": ""}, HEADER):
            assert polling.bring(says(next(_chats), QUESTION), headers)[0] == 403
        assert api.of("sendMessage") == []


def test_the_token_is_looked_at_before_the_body(shared: Service) -> None:
    """403 comes while the body is still on its way."""
    host, port = shared.app.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        head = f"POST {ROUTE} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9000\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(200).startswith(b"HTTP/1.1 403")


def test_the_longest_message_of_telegram_gets_through(shared: Service, words: Any) -> None:
    """4096 signs beyond ASCII in answer to as many are 50 KB: refused, they would hold up this chat for a day."""
    chat = next(_chats)
    story = "Mari m ap bat mwen kounye a. " + "è" * 4000
    before = {**message(chat, "à" * 4096), "from": BOT}
    long = update("message", message(chat, story, reply_to_message=before))
    assert len(json.dumps(long)) > 48_000
    assert shared.bring(long) == (200, "answered")
    assert shared.api.texts(chat)[0].startswith(words.line("emergency/short", "ht"))


# --- what goes out --------------------------------------------------------------------------------


def test_how_an_answer_looks(shared: Service, words: Any) -> None:
    chat = next(_chats)
    assert shared.bring(says(chat, QUESTION)) == (200, "answered")
    (sent,) = shared.api.of("sendMessage", chat)
    assert sent["text"].startswith(words.line("police_questions/short", "en"))
    assert sent["link_preview_options"] == {"is_disabled": True}
    assert set(sent) == {"chat_id", "text", "entities", "reply_markup", "link_preview_options"}
    rows = sent["reply_markup"]["inline_keyboard"]
    assert all(len(row) == 1 for row in rows)
    assert rows[0][0] == {"text": words.line("phrase/more_button", "en"), "callback_data": "more"}
    assert [row[0]["callback_data"] for row in rows[1:]] == ["traffic_stop", "at_home", "report_crime"]
    fold, *links = sent["entities"]
    assert fold["type"] == "expandable_blockquote"
    folded = cut(sent["text"], fold)
    assert folded.startswith(words.line("phrase/page_sources", "en"))
    assert sent["text"].endswith(folded)
    assert [link["type"] for link in links] == ["text_link"] * len(links)
    for link in links:
        assert link["url"].startswith("https://")
        assert cut(sent["text"], link) in folded.split("\n")


def cut(text: str, mark: dict[str, Any]) -> str:
    """What a mark covers; its place is counted in UTF-16."""
    return text.encode("utf-16-le")[2 * mark["offset"] : 2 * (mark["offset"] + mark["length"])].decode("utf-16-le")


@pytest.mark.parametrize("language", ["en", "es", "ht"])
def test_danger_comes_first_and_bare(language: str, shared: Service, words: Any) -> None:
    text = {
        "en": DANGER,
        "es": "me está pegando ahora mismo, ¿la policía puede pedirme papeles?",
        "ht": "l ap bat mwen kounye a, èske lapolis ka mande m papye?",
    }[language]
    chat = next(_chats)
    shared.bring(says(chat, text))
    first = shared.api.of("sendMessage", chat)[0]
    assert first["text"] == words.line("emergency/short", language)
    assert "entities" not in first
    assert "reply_markup" not in first
    assert "911" in first["text"].split(".")[0]


def test_typing_comes_before_the_answer_and_not_after(service: Service) -> None:
    chat = next(_chats)
    service.bring(says(chat, QUESTION))
    time.sleep(0.3)
    assert [call.method for call in service.api.calls] == ["sendChatAction", "sendMessage"]
    assert service.api.of("sendChatAction") == [{"chat_id": chat, "action": "typing"}]


def test_typing_never_holds_up_an_answer(service: Service) -> None:
    service.api.faults["sendChatAction"] = [bot_api.slow(5.0)]
    started = time.monotonic()
    assert service.bring(says(next(_chats), QUESTION)) == (200, "answered")
    assert time.monotonic() - started < 3.0


def test_no_call_but_the_answers(service: Service) -> None:
    chat = next(_chats)
    for text in (QUESTION, "more", "thanks"):
        service.bring(says(chat, text))
    assert service.api.methods() == ["sendMessage"] * 3
    assert {call.token for call in service.api.calls} == {TOKEN}


def test_a_button(shared: Service, words: Any) -> None:
    chat = next(_chats)
    shared.bring(says(chat, QUESTION))
    assert shared.bring(presses(chat, "at_home")) == (200, "answered")
    assert shared.api.texts(chat)[1].startswith(words.line("at_home/short", "en"))
    shared.bring(presses(chat, "more"))
    assert shared.api.texts(chat)[2].startswith(words.line("at_home/more/1", "en"))
    assert {"callback_query_id": "4382bfdwdsb323b2d9"} in shared.api.of("answerCallbackQuery")


@pytest.mark.parametrize("button", ["legal_aid", "/start", "EXTERNAL: x", "language:xx", "x" * 64])
def test_a_button_that_is_not_open(button: str, shared: Service, words: Any) -> None:
    """Of an older message, or one that nobody offered: the desk's notice, and nothing of it reaches Rasa."""
    chat = next(_chats)
    shared.bring(says(chat, QUESTION, "es"))
    shared.bring(presses(chat, button))
    assert shared.api.texts(chat)[1] == words.line("phrase/number_unknown", "en")


def test_a_spinner_stops_at_once(service: Service) -> None:
    """Also while the answer itself cannot go out."""
    chat = next(_chats)
    service.api.chat_faults[chat] = [bot_api.too_many(2)]
    started = time.monotonic()
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(service.bring, presses(chat, "more"))
        service.api.wait_for("answerCallbackQuery")
        assert time.monotonic() - started < 1.0
        assert answer.result() == (200, "answered")


def test_a_query_too_old_for_an_answer_changes_nothing(service: Service) -> None:
    service.api.faults["answerCallbackQuery"] = [
        Fault(400, "Bad Request: query is too old and response timeout expired")
    ]
    assert service.bring(presses(next(_chats), "more")) == (200, "answered")


def test_an_album_is_answered_once(shared: Service, words: Any) -> None:
    chat = next(_chats)
    album = [
        update("message", message(chat, photo=PICTURE, media_group_id="13579", message_id=number))
        for number in (1, 2, 3)
    ]
    assert [shared.bring(picture)[1] for picture in album] == ["answered", "ignore: album", "ignore: album"]
    assert shared.api.texts(chat) == [words.line("phrase/cannot_read", "en")]
    last = update("message", message(chat, photo=PICTURE, media_group_id="13579", caption="he is beating me right now"))
    shared.bring(last)
    closing = words.line("phrase/safety_delete", "en")
    assert shared.api.texts(chat)[1] == f"{words.line('emergency/short', 'en')}\n\n{closing}"


# --- commands -------------------------------------------------------------------------------------

CONVERSATIONS = {
    "new": (None, None),
    "in English": (QUESTION, "en"),
    "in Spanish": ("puede la policia pedirme mis papeles", "es"),
    "in Creole": ("èske lapolis ka mande m papye m", "ht"),
    "after danger": ("he is shooting at us right now", "en"),
    "asked for a place": ("I need a free lawyer please help me", "en"),
}
COMMANDS = [
    (topic, language, row["command"])
    for topic, by_language in yaml.safe_load(commands.FILE.read_text(encoding="utf-8")).items()
    for language, row in by_language.items()
]


@pytest.mark.parametrize("conversation", CONVERSATIONS)
@pytest.mark.parametrize(("topic", "language", "command"), COMMANDS)
def test_a_command(topic: str, language: str, command: str, conversation: str, talk: Callable[..., list[Any]]) -> None:
    """Leads to its topic wherever a conversation stands, and changes no language."""
    before, spoken = CONVERSATIONS[conversation]
    own = f"command-{next(_chats)}"
    if before:
        talk(before, channel="telegram", conversation=own)
    step = updates.read(says(1, f"/{command}", language))
    assert step
    (reply,) = talk(step.text, channel="telegram", conversation=own, hint=step.hint)
    assert reply.topic == topic
    # An English command says nothing of a language: people of all three type /help.
    assert reply.language == (spoken or language)


@dataclass(frozen=True)
class Typed:
    """A text with a slash."""

    label: str
    text: str
    phone: str | None
    said: str
    language: str | None = None


@pytest.mark.parametrize(
    "row",
    [
        Typed("start", "/start", "en", "/start"),
        Typed("start behind a link in English", "/start en", "es", "/start", "en"),
        Typed("start behind a link in Spanish", "/start es", "en", "/start", "es"),
        Typed("start behind a link in Creole", "/start ht", "en", "/start", "ht"),
        Typed("start behind a link of somebody else", "/start flyer_12", "en", "/start"),
        Typed("start, and a cry for help", "/start he is beating me", "en", "he is beating me"),
        Typed("help on a phone in Spanish", "/help", "es-419", "opciones"),
        Typed("help on a phone in French", "/help", "fr", "meni"),
        Typed("help on a phone in Portuguese", "/help", "pt-br", "menu"),
        Typed("a Creole command on a phone in English", "/ed", "en", "meni"),
        Typed("capitals", "/HELP", "en", "menu"),
        Typed("with the bot's name", "/help@outreach_bot", "en", "menu"),
        Typed("help, and what for", "/help he has a gun", "en", "he has a gun"),
        Typed("a language with its name", "/language kreyol", "en", "kreyol"),
        Typed("no command of ours", "/restart", "en", "/restart"),
        Typed("a way to force an intent", '/legal_aid{"place":"x"}', "en", '/legal_aid{"place":"x"}'),
        Typed("no command at all", "and/or", "en", "and/or"),
    ],
    ids=lambda row: row.label,
)
def test_what_a_slash_says(row: Typed) -> None:
    step = updates.read(says(1, row.text, row.phone))
    assert step
    assert (step.text, step.language) == (row.said, row.language)


@pytest.mark.parametrize(("link", "language"), [("/start es", "es"), ("/start ht", "ht"), ("/start en", "en")])
def test_a_deep_link_sets_the_language(link: str, language: str, shared: Service, words: Any) -> None:
    chat = next(_chats)
    shared.bring(says(chat, "puede la policia pedirme mis papeles", "fr"))
    shared.bring(says(chat, link, "fr"))
    assert shared.api.texts(chat)[1].startswith(words.line("greet/short", language))
    shared.bring(says(chat, "menu", "fr"))
    assert shared.api.texts(chat)[2].startswith(words.line("help_menu/short", language))


@pytest.mark.parametrize(("phone", "language"), [("en", "en"), ("es", "es"), ("fr", "ht"), ("ht", "ht"), ("de", "en")])
def test_a_start_greets_in_the_phone_s_language(phone: str, language: str, shared: Service, words: Any) -> None:
    chat = next(_chats)
    shared.bring(says(chat, "/start", phone))
    assert shared.api.texts(chat)[0].startswith(words.line("greet/short", language))


def test_the_phone_s_language_is_a_hint_only(shared: Service, words: Any) -> None:
    chat = next(_chats)
    shared.bring(says(chat, "èske lapolis ka mande m papye m", "en"))
    assert shared.api.texts(chat)[0].startswith(words.line("police_questions/short", "ht"))


def test_every_menu_has_its_commands(words: Any) -> None:
    for language in ("en", "es", "ht"):
        menu = commands.menu(language, words)
        assert [item.command for item in menu] == [name for _, code, name in COMMANDS if code == language]
        for item in menu:
            assert re.fullmatch(r"[a-z0-9_]{1,32}", item.command)
            assert 1 <= len(item.description) <= 256
    assert len({name for _, _, name in COMMANDS}) == len(COMMANDS)


def test_operators_find_the_commands_and_what_start_says(words: Any) -> None:
    section = (ROOT / "docs" / "operators.md").read_text(encoding="utf-8").split("\n## Telegram\n")[1].split("\n## ")[0]
    for name in ("start", *(name for _, _, name in COMMANDS)):
        assert f"/{name}" in section
    for language, said in (("en", "Hello. Ask in your own words"), ("ht", "Bonjou")):
        assert said in section
        assert words.line("greet/short", language).startswith(said)
    assert words.line("emergency/short", "en").split()[:2] == ["Call", "911"]


# --- limits of Telegram ---------------------------------------------------------------------------


def test_every_button_fits(known: Any, words: Any) -> None:
    """All ids that buttons can have, over all knowledge: 1 to 64 bytes (https://core.telegram.org/bots/api#inlinekeyboardbutton)."""
    ids = {
        "more",
        *known.topics,
        *(f"language:{code}" for code in ("en", "es", "ht")),
        *(f"passage:{passage}" for passage in known.passages()),
        *(f"change:{change}" for change in known.changes()),
    }
    assert len(ids) > 60
    assert [name for name in ids if not 1 <= len(name.encode()) <= 64] == []
    code = (ROOT / "actions" / "answering.py").read_text(encoding="utf-8")
    made = set(re.findall(r'button\(f?"([a-z]+)', code)) | set(re.findall(r"button\(([a-z]+),", code))
    assert made == {"more", "passage", "change", "language", "other", "topic"}, (
        "a kind of button that is not looked at here"
    )


@given(st.text(alphabet="aAé.?! \n👍", max_size=400), st.integers(20, 60))
@settings(max_examples=200, deadline=None)
def test_a_split_text_loses_nothing_and_fits(text: str, most: int) -> None:
    made = sending.split(text, most)
    assert all(0 < sending.units(part) <= most for part in made)
    assert "".join("".join(made).split()) == "".join(text.split())


def test_a_text_is_split_between_sentences(known: Any, words: Any) -> None:
    """All answers of a language in one text: every part ends where a sentence ends."""
    for language in ("en", "es", "ht"):
        ids = [name for name in known.texts if re.fullmatch(r"\w+/(short|more/\d+)", name)]
        long = " ".join(words.line(name, language) for name in ids if "{place}" not in known.texts[name])
        made = sending.split(long)
        assert len(made) > 5
        assert " ".join(made) == long
        for part in made:
            assert sending.units(part) <= 4096
            assert re.search(r"[.?!][\"”»)]*$", part), part[-60:]


def test_a_long_answer_keeps_its_buttons_and_sources_at_its_end(words: Any) -> None:
    from bot.nlg import Reply

    links = [{"title": f"Source {number}", "url": f"https://example.org/{number}"} for number in range(9)]
    buttons = [{"id": "more", "title": "More"}]
    reply = Reply("One sentence. " * 600, "en", "answer", "schools", links=links, buttons=buttons)
    made = sending.parts(reply, words)
    assert [part.keyboard is not None for part in made] == [False] * (len(made) - 1) + [True]
    assert [bool(part.marks) for part in made] == [False] * (len(made) - 1) + [True]
    assert all(part.text.endswith(".") for part in made[:-1])
    full = Reply("a" * 4090, "en", "answer", "schools", links=links)
    assert [part.text[:7] for part in sending.parts(full, words)] == ["aaaaaaa", "Sources"]


# --- nothing lost, nothing doubled ----------------------------------------------------------------


def test_a_repeat_is_answered_once(service: Service) -> None:
    chat = next(_chats)
    made = says(chat, QUESTION)
    assert [service.bring(made) for _ in range(3)] == [(200, "answered"), (200, "repeat"), (200, "repeat")]
    assert len(service.api.texts(chat)) == 1


def test_two_deliveries_at_the_same_time_are_answered_once(service: Service) -> None:
    chat = next(_chats)
    made = says(chat, QUESTION)
    service.api.chat_faults[chat] = [bot_api.slow(0.5)]
    with ThreadPoolExecutor() as pool:
        assert {status for status, _ in pool.map(service.bring, [made] * 4)} == {200}
    assert len(service.api.texts(chat)) == 1


def test_numbers_out_of_order_are_messages_all_the_same(service: Service) -> None:
    chat = next(_chats)
    first, second = next(_numbers), next(_numbers)
    assert service.bring(says(chat, QUESTION, number=second)) == (200, "answered")
    assert service.bring(says(chat, "hello", number=first)) == (200, "answered")
    assert len(service.api.texts(chat)) == 2


def test_a_repeat_after_a_restart_is_answered_once(assistant: Any, api: BotApi, tmp_path: Path) -> None:
    from bot.privacy.keys import MemoryKeys

    chat, keys = next(_chats), MemoryKeys()
    asked = [says(chat, QUESTION), says(chat, "can ICE come to a school")]
    with running(assistant, api, tmp_path, keys) as service:
        assert [service.bring(made) for made in asked] == [(200, "answered")] * 2
        assert [service.bring(made) for made in asked] == [(200, "repeat")] * 2
    assert len(api.texts(chat)) == 2
    with running(assistant, api, tmp_path, keys) as service:
        assert [service.bring(made) for made in asked] == [(200, "repeat")] * 2
        assert api.texts(chat) == []


def test_repeats_of_a_conversation_that_is_forgotten_leave_nothing_of_it(
    assistant: Any, api: BotApi, tmp_path: Path
) -> None:
    """A deletion takes along what was known of the messages before it; Telegram brings all of them again after a restart."""
    from bot.privacy.keys import MemoryKeys

    chat, keys = next(_chats), MemoryKeys()
    made, gone = says(chat, QUESTION), says(chat, "/delete")
    with running(assistant, api, tmp_path, keys) as service:
        assert service.bring(made) == (200, "answered")
        assert service.bring(gone) == (200, "answered")
        assert [service.bring(each) for each in (made, gone)] == [(200, "repeat")] * 2, "the process itself knows"
        assert len(api.texts(chat)) == 2
        api.calls.clear()
    with sqlite3.connect(tmp_path / "outreach.db") as kept:
        assert kept.execute("SELECT count(*) FROM conversations").fetchone() == (0,)
        owners = [row[0] for row in kept.execute("SELECT conversation FROM replies")]
        assert owners == ["", ""], "the deletion and that it was delivered, which hang on nobody"
    with running(assistant, api, tmp_path, keys) as service:
        assert service.bring(made) == (200, "answered"), "nobody knows it any more"
        assert service.bring(gone) == (200, "repeat")
        assert len(api.texts(chat)) == 1, "the deletion is not told twice"
    with sqlite3.connect(tmp_path / "outreach.db") as kept:
        assert kept.execute("SELECT count(*) FROM conversations").fetchone() == (0,), "it deletes again"
        assert [row[0] for row in kept.execute("SELECT conversation FROM replies")] == ["", ""]


@dataclass(frozen=True)
class Failing:
    """How Telegram fails, and what becomes of the message."""

    label: str
    faults: list[Fault]
    first: tuple[int, str]
    """What the webhook answers at first."""
    attempts: int
    """sendMessage calls by then."""
    again: tuple[int, str] | None = None
    """... and when the update comes again; None where it does not."""
    total: int = 0
    """sendMessage calls in the end."""


FAILING = [
    Failing("429 with a short pause", [bot_api.too_many(1)], (200, "answered"), 2),
    Failing("429 with a long pause", [bot_api.too_many(30)], (503, "throttled"), 1),
    Failing("500 once", [bot_api.SERVER_ERROR], (200, "answered"), 2),
    Failing("502 three times", [bot_api.BAD_GATEWAY] * 3, (200, "answered"), 4),
    Failing("502 for long", [bot_api.BAD_GATEWAY] * 5, (503, "unreachable"), 5, (200, "repeated"), 6),
    Failing("the connection breaks off", [bot_api.RESET], (200, "answered"), 2),
    Failing("the connection keeps breaking off", [bot_api.RESET] * 5, (503, "unreachable"), 5, (200, "repeated"), 6),
    Failing("it takes its time", [bot_api.slow(1.0)], (200, "answered"), 1),
    Failing("too late", [bot_api.slow(3.0)], (200, "answered"), 2),
    Failing("an answer that breaks off", [bot_api.GARBLED], (200, "answered"), 2),
    Failing("blocked", [bot_api.BLOCKED], (200, "blocked"), 1),
    Failing("a refused button", [bot_api.BAD_BUTTON], (200, "answered"), 2),
    Failing("no such chat", [bot_api.NO_CHAT] * 2, (200, "rejected"), 2, (200, "repeat"), 2),
    Failing("a token that is none", [bot_api.NO_TOKEN], (503, "unreachable"), 1, (200, "repeated"), 2),
]


@pytest.mark.parametrize("row", FAILING, ids=lambda row: row.label)
def test_when_telegram_fails(row: Failing, service: Service, monkeypatch: pytest.MonkeyPatch, words: Any) -> None:
    chat = next(_chats)
    if row.label == "too late":
        service.channel._requests[0]._client.timeout = 1.0
    service.api.chat_faults[chat] = list(row.faults)
    made = says(chat, QUESTION)
    assert service.bring(made) == row.first
    assert len(service.api.texts(chat)) == row.attempts
    if row.again:
        assert service.bring(made) == row.again
        assert len(service.api.texts(chat)) == row.total
    assert all(text.startswith(words.line("police_questions/short", "en")) for text in service.api.texts(chat))
    topics = service.app.desk.store.counts().topics
    assert sum(topics.values()) == 1, "one message, one turn, however often it came"


def test_a_long_pause_is_obeyed_and_telegram_told_when_to_come_again(service: Service) -> None:
    chat, other = next(_chats), next(_chats)
    service.api.chat_faults[chat] = [bot_api.too_many(30)]
    made = says(chat, QUESTION)
    status, _, headers = request(service.address, made, HEADER)
    assert status == 503
    assert 28 <= int(headers["Retry-After"]) <= 30
    # Brought again too early: not a single call for this chat, not even "typing"; others are not held up.
    calls = len(service.api.calls)
    assert service.bring(made) == (503, "throttled")
    assert len(service.api.calls) == calls
    assert service.bring(says(other, QUESTION)) == (200, "answered")


def test_a_short_pause_is_kept_to_the_second(service: Service) -> None:
    chat = next(_chats)
    service.api.chat_faults[chat] = [bot_api.too_many(2)]
    assert service.bring(says(chat, QUESTION)) == (200, "answered")
    first, second = [call.moment for call in service.api.calls if call.method == "sendMessage"]
    assert 2.0 <= second - first < 3.5


def test_what_went_out_is_not_sent_again(service: Service, words: Any) -> None:
    """Two replies, the second fails: when the update comes again, only the second is sent."""
    chat = next(_chats)
    service.api.chat_faults[chat] = [bot_api.OK, *[bot_api.BAD_GATEWAY] * 5]
    made = says(chat, DANGER)
    assert service.bring(made) == (503, "unreachable")
    assert service.bring(made) == (200, "repeated")
    texts = service.api.texts(chat)
    assert [text == words.line("emergency/short", "en") for text in texts] == [True, *[False] * 6]


def test_what_waited_too_long_is_not_begun(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server would cut it off in the middle; brought again it is sent at once."""
    from bot.channels.telegram import channel

    chat = next(_chats)
    made = says(chat, QUESTION)
    with monkeypatch.context() as patch:
        patch.setattr(channel, "SECONDS", -1.0)
        assert service.bring(made) == (503, "unreachable")
    assert service.api.texts(chat) == []
    assert service.bring(made) == (200, "repeated")


def test_a_refused_button_does_not_cost_the_words(service: Service) -> None:
    chat = next(_chats)
    service.api.chat_faults[chat] = [bot_api.BAD_BUTTON]
    assert service.bring(says(chat, QUESTION)) == (200, "answered")
    marked, bare = service.api.of("sendMessage", chat)
    assert marked["text"] == bare["text"]
    assert set(bare) == {"chat_id", "text", "link_preview_options"}


def test_a_success_that_cannot_be_read_is_not_sent_again(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Should a later Bot API answer in another form, residents get each message once, not five times."""
    monkeypatch.setattr(BotApi, "_result", lambda *arguments: True)
    chat = next(_chats)
    assert service.bring(says(chat, QUESTION)) == (200, "answered")
    assert len(service.api.texts(chat)) == 1


def test_a_limit_does_not_cost_an_answer_that_is_owed(service: Service, words: Any) -> None:
    chat = next(_chats)
    service.api.chat_faults[chat] = [bot_api.BAD_GATEWAY] * 5
    owed = says(chat, QUESTION)
    assert service.bring(owed) == (503, "unreachable")
    results = [service.bring(says(chat, "hello"))[1] for _ in range(17)]
    assert results[-3:] == ["limited", "silence: limited", "silence: limited"]
    assert service.bring(owed) == (200, "repeated")
    assert service.api.texts(chat)[-1].startswith(words.line("police_questions/short", "en"))


def test_a_limited_sender_gets_one_polite_word_then_silence_but_911(service: Service, words: Any) -> None:
    chat = next(_chats)
    results = [service.bring(says(chat, "hello"))[1] for _ in range(19)]
    assert results == ["answered"] * 15 + ["limited"] + ["silence: limited"] * 3
    assert service.api.texts(chat)[-1] == words.line("phrase/slow_down", "en")
    calls = len(service.api.calls)
    service.bring(says(chat, "hello"))
    assert len(service.api.calls) == calls, 'no "typing" either for whom nothing comes'
    assert service.bring(says(chat, DANGER)) == (200, "limited")
    assert service.api.texts(chat)[-1] == words.line("emergency/short", "en")


def test_a_blocked_bot_forgets_the_conversation(service: Service) -> None:
    chat, other = next(_chats), next(_chats)
    for who in (chat, other):
        service.bring(says(who, QUESTION))
    assert len(service.app.desk.store) == 2
    service.api.chat_faults[chat] = [bot_api.BLOCKED]
    assert service.bring(says(chat, "more")) == (200, "blocked")
    assert len(service.app.desk.store) == 1
    service.bring(member(private(other), "member", "kicked"))
    assert len(service.app.desk.store) == 0


def test_order_inside_a_chat_while_others_go_on(service: Service, words: Any) -> None:
    slow, others = next(_chats), [next(_chats) for _ in range(5)]
    service.api.chat_faults[slow] = [bot_api.slow(1.5)]
    texts = [QUESTION, "more", "/ed", "can ICE come to a school"]
    done: dict[int, float] = {}
    with ThreadPoolExecutor(12) as pool:
        waiting = []
        for text in texts:
            waiting.append(pool.submit(service.bring, says(slow, text)))
            time.sleep(0.1)
        for chat in others:
            assert service.bring(says(chat, QUESTION)) == (200, "answered")
            done[chat] = time.monotonic()
        assert not any(future.done() for future in waiting), "the slow chat waits for its first message"
        assert [future.result() for future in waiting] == [(200, "answered")] * 4
    sent = service.api.texts(slow)
    starts = ("police_questions/short", "police_questions/more/1", "help_menu/short", "schools/short")
    assert [text.startswith(words.line(name, "en")) for text, name in zip(sent, starts, strict=True)] == [True] * 4


def test_a_store_that_fails_costs_no_answer(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    from bot.privacy.store import MemoryStore, StoreError

    def broken(*arguments: Any) -> Any:
        raise StoreError("the disk is gone")

    for name in ("commit", "handled", "get", "forget"):
        monkeypatch.setattr(MemoryStore, name, broken)
    chat = next(_chats)
    made = says(chat, DANGER)
    assert service.bring(made) == (200, "answered")
    assert service.bring(made) == (200, "repeat")
    assert len(service.api.texts(chat)) == 2


# --- groups ---------------------------------------------------------------------------------------


def test_a_group_hears_one_line_an_hour(service: Service, words: Any) -> None:
    for _ in range(3):
        assert service.bring(update("message", message(GROUP, QUESTION))) == (200, "decline")
    assert service.bring(member(GROUP, "left", "member")) == (200, "decline")
    assert service.api.texts(GROUP["id"]) == [words.line("phrase/private_only", "en")]
    assert len(service.api.of("leaveChat")) == 4
    service.bring(update("message", message(SMALL_GROUP, QUESTION)))
    assert len(service.api.texts(SMALL_GROUP["id"])) == 1


def test_a_group_that_cannot_be_told_is_left_all_the_same(service: Service) -> None:
    service.api.chat_faults[GROUP["id"]] = [
        Fault(400, "Bad Request: not enough rights to send text messages to the chat")
    ]
    assert service.bring(update("message", message(GROUP, QUESTION))) == (200, "decline")
    assert service.api.methods() == ["sendMessage", "leaveChat"]


def test_what_a_group_hears_names_no_subject(words: Any) -> None:
    for language in ("en", "es", "ht"):
        line = words.line("phrase/private_only", language)
        assert "911" in line
        assert not re.search(r"polic|polis|ICE\b|imm?igra|papye|papel", line, re.IGNORECASE)


# --- start and polling ----------------------------------------------------------------------------


def test_what_telegram_is_told_at_the_start(assistant: Any, api: BotApi, words: Any) -> None:
    with running(assistant, api, wait=False):
        api.wait_for("setMyCommands", 4)
        assert [call.method for call in api.calls] == ["setWebhook", *["setMyCommands"] * 4]
    (webhook,) = api.of("setWebhook")
    assert webhook == {
        "url": f"https://chat.example.org{ROUTE}",
        "secret_token": SECRET,
        "allowed_updates": ["message", "edited_message", "callback_query", "my_chat_member"],
        "max_connections": 40,
        "drop_pending_updates": False,
    }
    menus = {call.get("language_code"): call for call in api.of("setMyCommands")}
    assert set(menus) == {None, "es", "ht", "fr"}
    assert menus["fr"]["commands"] == menus["ht"]["commands"]
    assert {call["scope"]["type"] for call in menus.values()} == {"all_private_chats"}
    assert menus["es"]["commands"][0] == {"command": "ayuda", "description": words.line("help_menu/title", "es")}


def test_a_429_at_the_start_is_waited_for_beside(assistant: Any, api: BotApi) -> None:
    api.faults["setWebhook"] = [bot_api.too_many(1), bot_api.too_many(1)]
    api.faults["setMyCommands"] = [bot_api.too_many(1)]
    with running(assistant, api, wait=False) as service:
        assert request(f"{service.app.address}/ready")[0] == 200
        assert service.bring(says(next(_chats), QUESTION)) == (200, "answered")
        assert len(api.of("setWebhook")) == 1
        api.wait_for("setMyCommands", 5)
    assert len(api.of("setWebhook")) == 3


@pytest.mark.parametrize(
    ("label", "fault", "said"),
    [
        ("a token that is none", bot_api.NO_TOKEN, "copy it again from @BotFather"),
        ("an address that Telegram does not take", Fault(400, "Bad Request: bad webhook: HTTPS url must be provided"), "PUBLIC_URL"),
    ],
)  # fmt: skip
def test_what_the_operator_is_told(
    label: str, fault: Fault, said: str, assistant: Any, api: BotApi, caplog: pytest.LogCaptureFixture
) -> None:
    api.faults["setWebhook"] = [fault]
    with running(assistant, api, wait=False) as service:
        api.wait_for("setMyCommands", 4)
        assert request(f"{service.app.address}/ready")[0] == 200
    assert said in caplog.text
    assert TOKEN not in caplog.text


def test_polling_takes_the_same_path(assistant: Any, api: BotApi, words: Any) -> None:
    chat, other = next(_chats), next(_chats)
    api.chat_faults[other] = [bot_api.BAD_GATEWAY] * 5
    api.updates = [
        says(chat, QUESTION),
        update("message", ["cannot be read"]),
        says(chat, "more"),
        says(other, "hola"),
        presses(chat, "at_home"),
    ]
    with running(assistant, api, webhook=False, wait=False):
        api.wait_for("answerCallbackQuery")
        deadline = time.monotonic() + 10
        while max(call.get("offset") or 0 for call in api.wait_for("getUpdates")) <= api.updates[-1]["update_id"]:
            assert time.monotonic() < deadline, "what failed is asked for again, then all is behind us"
            time.sleep(0.05)
    assert [call.method for call in api.calls][:1] == ["deleteWebhook"]
    assert api.of("deleteWebhook") == [{"drop_pending_updates": False}]
    assert api.of("getUpdates")[0]["allowed_updates"] == [
        "message",
        "edited_message",
        "callback_query",
        "my_chat_member",
    ]
    assert "setWebhook" not in api.methods()
    starts = ("police_questions/short", "police_questions/more/1", "at_home/short")
    for text, name in zip(api.texts(chat), starts, strict=True):
        assert text.startswith(words.line(name, "en"))
    # Five attempts, then the sixth when the update came again; the other chat's messages were not sent twice.
    assert len(api.texts(other)) == 6


@pytest.mark.parametrize("fault", [bot_api.BAD_GATEWAY, bot_api.RESET, bot_api.too_many(1), bot_api.GARBLED])
def test_polling_goes_on(fault: Fault, assistant: Any, api: BotApi, monkeypatch: pytest.MonkeyPatch) -> None:
    from bot.channels.telegram import channel

    monkeypatch.setattr(channel, "BACKOFF", (0.05, 0.05))
    api.faults["deleteWebhook"] = [fault] if fault is not bot_api.GARBLED else []
    api.faults["getUpdates"] = [fault, fault]
    api.updates = [says(next(_chats), QUESTION)]
    with running(assistant, api, webhook=False, wait=False):
        api.wait_for("sendMessage")


# --- logs -----------------------------------------------------------------------------------------


def test_no_log_holds_token_name_address_or_text(
    assistant: Any, api: BotApi, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever goes wrong, with all loggers of all packages wide open."""
    caplog.set_level(logging.DEBUG)
    chat = next(_chats)
    faults = [fault for row in FAILING for fault in row.faults if not fault.parameters.get("retry_after", 0) > 1]
    api.faults["setWebhook"] = [bot_api.GARBLED, bot_api.NO_TOKEN]
    with running(assistant, api, wait=False) as service:
        api.chat_faults[chat] = faults
        for number in range(len(faults)):
            service.bring(says(chat, f"{QUESTION} {NAME}", number=next(_numbers) if number % 3 else None))
        service.bring(update("message", {**message(chat, QUESTION), "date": "x"}))
        service.bring(b"{" + QUESTION.encode())
        service.bring(presses(chat, "more"), {})
    api.faults["getUpdates"] = [bot_api.NO_TOKEN]
    with running(assistant, api, webhook=False, wait=False):
        api.wait_for("getUpdates")
    captured = capfd.readouterr()
    everything = "\n".join(
        [caplog.text, *(str(record.__dict__) for record in caplog.records), captured.out, captured.err]
    )
    assert "incident" in everything
    for secret in (TOKEN, TOKEN.split(":")[1], SECRET, NAME, str(chat), QUESTION, "name_of_a_resident"):
        assert secret not in everything


# --- killed ---------------------------------------------------------------------------------------


@contextmanager
def process(data: Path, keys: Path, api: BotApi) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`outreach run` with Telegram on, as an operator starts it."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    environment = {
        **os.environ,
        "OUTREACH_DATA": str(data),
        "OUTREACH_KEYS": str(keys),
        "OUTREACH_SECRET": "q7Lw0zXr5cV9bN2mK4jH8gF6dS1aP3oI",
        "OUTREACH_ORGANISATION": str(ROOT / "deployment" / "organisation.example.yml"),
        "PUBLIC_URL": address,
        "TELEGRAM_TOKEN": TOKEN,
        "TELEGRAM_SECRET_TOKEN": SECRET,
        "TELEGRAM_API": api.address,
    }
    command = [str(Path(sys.executable).parent / "outreach"), "run", "--port", str(port)]
    started = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT, env=environment
    )
    output: list[str] = []
    reader = threading.Thread(target=lambda: output.extend(started.stdout or ()), daemon=True)
    reader.start()
    try:
        deadline = time.monotonic() + 90
        while not any("Ready after" in line for line in output):
            assert started.poll() is None, output
            assert time.monotonic() < deadline, output
            time.sleep(0.1)
        yield started, address + ROUTE
    finally:
        started.kill()
        started.wait(20)
        reader.join(5)
        said = "".join(output)
        assert "Telegram is on" in said
        assert TOKEN not in said
        assert QUESTION not in said


@pytest.fixture
def keys() -> Iterator[Path]:
    """A folder that outlives a process, but no machine."""
    if not Path("/dev/shm").is_dir():
        pytest.skip("keys outlive a process on a tmpfs only, and this machine has none")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def test_killed_between_receiving_and_answering(api: BotApi, keys: Path, tmp_path: Path, words: Any) -> None:
    """The turn is kept, nothing is sent, the process dies: after the restart the update comes again, and is answered."""
    data, chat = tmp_path / "var", next(_chats)
    first, made = says(chat, "can ICE come to a school"), says(chat, QUESTION)
    with process(data, keys, api) as (running_process, address):
        api.wait_for("setWebhook")
        assert request(address, first, HEADER)[0] == 200
        api.chat_faults[chat] = [bot_api.slow(20)]
        with ThreadPoolExecutor() as pool:
            answer = pool.submit(request, address, made, HEADER)
            api.wait_for("sendMessage", 2)
            running_process.send_signal(signal.SIGKILL)
            with pytest.raises(OSError):  # noqa: PT011 - whatever the operating system says of a dead peer
                answer.result(20)
    api.calls.clear()
    with process(data, keys, api) as (_, address):
        assert request(address, made, HEADER)[:2] == (200, "repeated")
        assert request(address, made, HEADER)[:2] == (200, "repeat")
        assert request(address, first, HEADER)[:2] == (200, "repeat")
        assert request(address, says(chat, "more"), HEADER)[0] == 200
    texts = api.texts(chat)
    starts = ("police_questions/short", "police_questions/more/1")
    assert [text.startswith(words.line(name, "en")) for text, name in zip(texts, starts, strict=True)] == [True, True]
    with sqlite3.connect(data / "outreach.db") as kept:
        assert kept.execute("SELECT sum(n) FROM days").fetchone() == (3,), "the repeat changed nothing"
