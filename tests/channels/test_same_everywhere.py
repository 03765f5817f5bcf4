"""One conversation of each kind through every channel, over real HTTP: the same topics and facts everywhere."""

from __future__ import annotations

import itertools
import json
import secrets
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

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

CONVERSATIONS = [
    (
        "a robbery and papers",
        ["me robaron anoche, puedo denunciar si no tengo papeles?", "y me pueden pedir los papeles?", "gracias"],
    ),
    ("police and ICE, then the words", ["èske lapolis travay ak ICE?", "ki kote sa ekri?", "mèsi"]),
    ("a lawyer near", ["i need a free lawyer", "33030", "thanks"]),
    ("danger now", ["he is beating me right now", "more"]),
    ("near suicide", ["me quiero matar", "ok"]),
    ("abuse", ["mari m konn bat mwen, mwen pa gen papye", "èske gen yon kote pou m dòmi?"]),
    ("another language asked for", ["can police ask my papers", "en español por favor"]),
    ("nothing understood", ["asdkjh qwe zzz", "2"]),
    ("erased", ["do police work with ice", "delete my messages", "more"]),
]
_senders = itertools.count(1)


class Spy:
    """A desk that remembers what it answered, by channel; texts are the channels' own business."""

    def __init__(self, desk: Any):
        self._desk = desk
        self.said: list[tuple[str, list[tuple[str, str | None, tuple[str, ...]]]]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._desk, name)

    async def answer(self, message: Any) -> Any:
        answer = await self._desk.answer(message)
        self.said.append((message.channel, [(reply.kind, reply.topic, tuple(reply.facts)) for reply in answer.replies]))
        return answer


@pytest.fixture(scope="module")
def everywhere(assistant: Any) -> Iterator[tuple[str, Spy]]:
    """All channels on one desk: the address, and what the desk said."""
    from bot.channels.sms.channel import SmsChannel
    from bot.channels.telegram.channel import TelegramChannel
    from bot.channels.web.channel import WebChannel
    from bot.desk import Desk
    from tests.conftest import DATA

    store = MemoryStore(Settings(data=DATA, retention_hours=24))
    desk = Spy(Desk(assistant, store, Pseudonyms(MemoryKeys(), subkey(as_twilio.SECRET, "opt-out"))))
    with BotApi() as api:
        channels = [
            SmsChannel(
                desk, Twilio(as_twilio.ACCOUNT, as_twilio.TOKEN, as_twilio.NUMBER, delete_after=0), as_twilio.PUBLIC_URL
            ),  # type: ignore[arg-type]
            TelegramChannel(desk, Telegram(TELEGRAM_TOKEN, TELEGRAM_SECRET, api.address), "https://chat.example.org"),  # type: ignore[arg-type]
            WebChannel(desk),  # type: ignore[arg-type]
        ]
        with Running(desk, channels) as running:
            yield running.address, desk


def say(address: str, channel: str, sender: int, text: str, session: str | None) -> str | None:
    """Send one message by a channel, as its provider does; the web's session for the next one."""
    if channel in ("sms", "whatsapp"):
        number = f"+1305555{sender:04}"
        form = as_twilio.sms(text, number) if channel == "sms" else as_twilio.whatsapp(text, number)
        assert as_twilio.post(address, form).status == 200
        return None
    if channel == "telegram":
        path = f"{address}/webhooks/telegram"
        assert (
            request(path, says(900_000 + sender, text), {"X-Telegram-Bot-Api-Secret-Token": TELEGRAM_SECRET})[0] == 200
        )
        return None
    body = {
        "v": 1,
        "session": session,
        "id": secrets.token_hex(4),
        "lang": None,
        "hint": "en",
        "text": text,
        "button": None,
    }
    sent = urllib.request.Request(
        f"{address}/chat/v1/messages", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(sent, timeout=20) as answer:
        return json.loads(answer.read())["session"]


@pytest.mark.parametrize(("label", "texts"), CONVERSATIONS, ids=[row[0] for row in CONVERSATIONS])
def test_every_channel_says_the_same(label: str, texts: list[str], everywhere: tuple[str, Spy]) -> None:
    address, desk = everywhere
    heard: dict[str, list[Any]] = {}
    for channel in ("sms", "whatsapp", "telegram", "web"):
        sender, session = next(_senders), None
        start = len(desk.said)
        for text in texts:
            session = say(address, channel, sender, text, session)
        assert {name for name, _ in desk.said[start:]} == {channel}
        heard[channel] = [replies for _, replies in desk.said[start:]]
    assert all(heard["sms"]), "every message got an answer"
    for channel, replies in heard.items():
        # Long answers come in parts on SMS only: there MORE's facts are those of the rest.
        assert replies == heard["sms"], channel
