""" "Delete my messages", as people say it, by every way of every channel: it says so, and it is gone at once.

That nothing is left in the bytes of a disk or in Redis: tests/test_no_trace.py.
"""

from __future__ import annotations

import itertools
import json
import secrets
import urllib.request
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from bot.channels.shape import SHAPES, gsm
from bot.privacy.keys import MemoryKeys, subkey
from bot.privacy.pseudonyms import Pseudonyms
from bot.privacy.store import MemoryStore
from bot.settings import Settings, Telegram, Twilio
from tests.channels import as_twilio
from tests.channels.bot_api import BotApi
from tests.channels.running import Running, request
from tests.channels.test_telegram import SECRET as TELEGRAM_SECRET
from tests.channels.test_telegram import TOKEN as TELEGRAM_TOKEN
from tests.channels.test_telegram import says
from tests.conftest import DATA, ROOT

LANGUAGES = ("en", "es", "ht")
_senders = itertools.count(1)
QUESTION = {
    "en": "can ICE come to a school",
    "es": "¿puede ICE entrar en una escuela?",
    "ht": "èske ICE ka antre nan yon lekòl",
}
COMMANDS = yaml.safe_load((ROOT / "bot/channels/telegram/commands.yml").read_text(encoding="utf-8"))["delete_data"]
SAID = {
    "en": [
        *("delete my messages", "delete everything i told you", "please erase this conversation", "wipe my chat"),
        *("can you delete my texts", "erase it all", "clear my history", "delete this", "erase everything now he is coming"),
    ],
    "es": [
        *("borre mis mensajes", "elimine esta conversación", "borra el chat", "quiero que borren mis mensajes"),
        *("bórrelo todo por favor", "elimina mis datos", "que no quede nada de lo que escribí", "me puede borrar los textos"),
    ],
    "ht": [
        *("efase mesaj mwen yo", "efase tout sa m di ou", "efase konvèsasyon an", "siprime mesaj mwen yo"),
        *("tanpri efase sa m te ekri a", "efase tout bagay", "mwen vle ou efase mesaj yo", "efase done mwen yo"),
    ],
}  # fmt: skip


@dataclass(frozen=True)
class Way:
    """One way of asking for it."""

    channel: str
    how: str
    """text, command, button or page (the one without scripts)."""
    language: str
    text: str = ""


WAYS = [
    *(Way(channel, "text", language, text) for channel in SHAPES for language in LANGUAGES for text in SAID[language]),
    *(Way("telegram", "command", language, f"/{COMMANDS[language]['command']}") for language in LANGUAGES),
    *(Way("web", how, language) for how in ("button", "page") for language in LANGUAGES),
]  # fmt: skip


@dataclass
class Service:
    """All channels on one desk, over real HTTP."""

    address: str
    desk: Any
    api: BotApi

    def page(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        """What the chat page sends."""
        sent = urllib.request.Request(
            f"{self.address}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(sent, timeout=20) as answer:
            told = answer.read()
            return answer.status, json.loads(told) if told else None


@pytest.fixture(scope="module")
def service(assistant: Any) -> Iterator[Service]:
    from bot.channels.sms.channel import SmsChannel
    from bot.channels.telegram.channel import TelegramChannel
    from bot.channels.web.channel import WebChannel
    from bot.desk import Desk
    from bot.privacy.limits import Limiter

    store = MemoryStore(Settings(data=DATA, retention_hours=24))
    desk = Desk(assistant, store, Pseudonyms(MemoryKeys(), subkey(as_twilio.SECRET, "opt-out")))
    with BotApi() as api:
        channels = [
            SmsChannel(desk, Twilio(as_twilio.ACCOUNT, as_twilio.TOKEN, as_twilio.NUMBER), as_twilio.PUBLIC_URL),
            TelegramChannel(desk, Telegram(TELEGRAM_TOKEN, TELEGRAM_SECRET, api.address), "https://chat.example.org"),
            WebChannel(desk, limiter=Limiter(())),
        ]
        with Running(desk, channels) as running:
            yield Service(running.address, desk, api)


def _by_phone(service: Service, way: Way) -> tuple[str, Callable[[str], str]]:
    """(sender, say) of SMS and WhatsApp."""
    sender = f"+130555501{next(_senders) % 100:02}"
    make = as_twilio.sms if way.channel == "sms" else as_twilio.whatsapp

    def say(text: str) -> str:
        return "".join(m.text or "" for m in ET.fromstring(as_twilio.post(service.address, make(text, sender)).body))

    return sender, say


def _by_telegram(service: Service, way: Way) -> tuple[str, Callable[[str], str]]:
    chat = 700_000 + next(_senders)

    def say(text: str) -> str:
        header = {"X-Telegram-Bot-Api-Secret-Token": TELEGRAM_SECRET}
        assert request(f"{service.address}/webhooks/telegram", says(chat, text, way.language), header)[0] == 200
        return service.api.texts(chat)[-1]

    return str(chat), say


@pytest.mark.parametrize("way", WAYS, ids=lambda way: f"{way.channel}, {way.how}, {way.language}: {way.text}")
def test_it_is_said_and_done(way: Way, service: Service, words: Any) -> None:
    store = service.desk.store
    before = set(store._records), set(store._replies)
    done = words.line("delete_data/short", way.language)
    if way.channel == "web":
        session: str | None = None

        def send(text: str) -> str:
            nonlocal session
            body = {"v": 1, "session": session, "id": secrets.token_hex(4), "hint": way.language, "text": text}
            got = service.page("/chat/v1/messages", {**body, "lang": None, "button": None})[1]
            session = got["session"]
            return got["messages"][-1]["text"]

        say = send
    else:
        _, say = (_by_telegram if way.channel == "telegram" else _by_phone)(service, way)
    assert say(QUESTION[way.language])
    assert say("MORE")
    assert len(set(store._records) - before[0]) == 1, "there is something to remove"
    assert len(set(store._replies) - before[1]) >= 2
    if way.how == "button":
        assert service.page("/chat/v1/end", {"session": session, "id": secrets.token_hex(4)}) == (204, None)
    elif way.how == "page":
        form = f"session={session}&restart=1&text=&language={way.language}".encode()
        with urllib.request.urlopen(f"{service.address}/chat/basic", form, timeout=20) as answer:
            assert answer.status == 200
    else:
        told = say(way.text)
        assert told.startswith((done, gsm(done))), told
    assert set(store._records) == before[0], "the conversation is gone"
    left = set(store._replies) - before[1]
    topics = [plan["topic"] for name in left for plan in store._replies[name][2]]
    assert set(topics) <= {"delete_data"}, "what is left answers a repeat of the deletion"
    if way.how in ("text", "command"):
        assert done not in say("MORE"), "and there is nothing to go on from"


NOT_CLEAR = [
    ("en", "forget what i said"),
    ("en", "get rid of what i wrote, delete it"),
    ("en", "my husband reads my phone, delete this"),
    ("es", "borre todo lo que le dije"),
    ("es", "mi marido me revisa el celular, borre esto"),
    ("ht", "mari m ap gade telefòn mwen, efase sa"),
]


@pytest.mark.parametrize(("language", "text"), NOT_CLEAR)
def test_where_it_is_not_clear_the_way_to_it_is_shown(
    language: str, text: str, talk: Callable[..., list[Any]], words: Any
) -> None:
    """It is done, or it is the first choice, or the answer says what to write."""
    talk(QUESTION[language], conversation=text)
    replies = talk(text, conversation=text)
    shown = "\n".join(reply.text for reply in replies)
    offered = any(reply.choices[:1] == ["delete_data"] for reply in replies)
    done = any(reply.topic == "delete_data" for reply in replies)
    assert done or offered or gsm(words.line("privacy/more/1", language)) in shown, shown
    if offered:
        assert [reply.topic for reply in talk("1", conversation=text)] == ["delete_data"]


def test_what_was_on_its_way_when_the_page_erased_is_not_kept(service: Service, words: Any) -> None:
    body = {"v": 1, "session": None, "id": "one", "lang": None, "hint": "en", "text": QUESTION["en"], "button": None}
    session = service.page("/chat/v1/messages", body)[1]["session"]
    assert service.page("/chat/v1/end", {"session": session, "id": "two"})[0] == 204
    kept = set(service.desk.store._records)
    got = service.page("/chat/v1/messages", {**body, "session": session, "id": "three", "text": "more"})[1]
    assert got["messages"][-1]["text"].startswith(words.line("phrase/more_nothing", "en"))
    assert set(service.desk.store._records) == kept
