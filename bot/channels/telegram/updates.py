"""From an update of Telegram to what is to be done about it. Pure: no call, no store, no exception.

https://core.telegram.org/bots/api#update
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from telegram import CallbackQuery, ChatMember, ChatMemberUpdated, Message, Update
from telegram.constants import ChatType, MessageType

from bot.channels.telegram import commands

HANDLED = ("message", "edited_message", "callback_query", "my_chat_member")
"""What Telegram is asked to send (allowed_updates); anything else is ignored by its name should it come all the same."""
LANGUAGES = {"en": "en", "es": "es", "ht": "ht", "fr": "ht"}
"""Language of a phone -> what it hints at. Telegram has no Creole: Haitian phones are often set to French."""
GROUPS = (ChatType.GROUP, ChatType.SUPERGROUP)
INSIDE = (ChatMember.MEMBER, ChatMember.ADMINISTRATOR, ChatMember.RESTRICTED)
UNREAD = ("checklist", "giveaway")
"""Contents that python-telegram-bot does not count as attachments, and that are no service messages either."""

MALFORMED = "malformed"


class Do(Enum):
    """What is to be done."""

    ANSWER = "answer"
    """Hand the message to the desk and send what it says."""
    DECLINE = "decline"
    """Say once that this works in private only, and leave the group."""
    LEAVE = "leave"
    """Leave a channel without a word: everything there is public."""
    FORGET = "forget"
    """The resident has blocked the bot: the conversation is over."""
    IGNORE = "ignore"


@dataclass(frozen=True)
class Step:
    """One update, as the channel deals with it."""

    do: Do
    update: int
    """update_id."""
    reason: str = ""
    """Why it is ignored: fixed words, nothing of what was sent."""
    chat: int = 0
    text: str = ""
    button: str | None = None
    """Id of a pressed button; what `reply.buttons` gave it."""
    query: str | None = None
    """Id of the press, for Telegram to stop its spinner."""
    album: str | None = None
    """Pictures sent together come as a message each, under one id."""
    readable: bool = True
    """False for pictures, voice, stickers, places."""
    edited: bool = False
    """Written before, and changed now."""
    language: str | None = None
    """Chosen by a deep link."""
    hint: str | None = None
    """What the phone is set to."""


def read(data: Any) -> Step | None:
    """What to do about an update as it comes over the wire; None for what is no update.

    Args:
        data: parsed JSON.
    """
    if not isinstance(data, Mapping) or type(data.get("update_id")) is not int:
        return None
    try:
        update = Update.de_json(dict(data), None)
        return step(update) if update else None
    except Exception as error:
        # Sent again it would be no clearer; and what is refused holds up this chat's next messages at Telegram.
        return _words(data) or Step(Do.IGNORE, data["update_id"], f"{MALFORMED} ({type(error).__name__})")


def _words(data: Mapping[str, Any]) -> Step | None:
    """What can be read without the library, should it stumble over a part that is of no matter here: somebody's words."""
    message = data.get("message")
    chat = message.get("chat") if isinstance(message, Mapping) else None
    if not isinstance(message, Mapping) or not isinstance(chat, Mapping) or chat.get("type") != ChatType.PRIVATE:
        return None
    text, address = message.get("text"), chat.get("id")
    if not isinstance(text, str) or type(address) is not int:
        return None
    said = commands.read(text)
    return Step(Do.ANSWER, data["update_id"], chat=address, text=said.text, language=said.language)


def step(update: Update) -> Step:
    """What to do about an update."""
    if update.message:
        return _message(update.update_id, update.message)
    if update.edited_message:
        made = _message(update.update_id, update.edited_message)
        # In a group there is nothing to decline: the message itself was.
        return replace(made, edited=True) if made.do is Do.ANSWER else Step(Do.IGNORE, made.update, "edited message")
    if update.callback_query:
        return _press(update.update_id, update.callback_query)
    if update.my_chat_member:
        return _member(update.update_id, update.my_chat_member)
    kind = next((name for name in Update.ALL_TYPES if getattr(update, name, None)), "unknown update")
    return Step(Do.IGNORE, update.update_id, str(kind).replace("_", " "))


def hint(code: str | None) -> str | None:
    """What the language of a phone hints at.

    >>> hint("es-419"), hint("fr"), hint("pt-br"), hint(None)
    ('es', 'ht', None, None)
    """
    return LANGUAGES.get((code or "").lower().split("-")[0])


def _message(number: int, message: Message) -> Step:
    kind, user = message.chat.type, message.from_user
    guess = hint(user.language_code) if user else None
    attached = bool(message.effective_attachment) or any(getattr(message, name, None) for name in UNREAD)
    service = _service(message) if not attached else ""
    if kind in GROUPS:
        if service:
            return Step(Do.IGNORE, number, service)
        return Step(Do.DECLINE, number, chat=message.chat.id, hint=guess)
    if kind != ChatType.PRIVATE:
        return Step(Do.IGNORE, number, "not a private chat")
    if user and user.is_bot:
        return Step(Do.IGNORE, number, "written by a bot")
    if message.text is None and service:
        return Step(Do.IGNORE, number, service)
    said = commands.read(message.text, guess) if message.text else commands.Said(message.caption or "")
    return Step(
        Do.ANSWER,
        number,
        chat=message.chat.id,
        text=said.text,
        album=message.media_group_id,
        # Contents of a later Bot API are in api_kwargs: there is something, but no words.
        readable=not attached and not (message.text is None and message.api_kwargs),
        language=said.language,
        hint=guess,
    )


def _service(message: Message) -> str:
    """What Telegram itself says in a chat: somebody joined, something was pinned. Empty for what people say."""
    for name in MessageType:
        if name in (MessageType.TEXT, MessageType.EFFECT_ID, MessageType.BUSINESS_CONNECTION_ID):
            continue
        if name in (MessageType.REPLY_TO_STORY, MessageType.SENDER_BOOST_COUNT, MessageType.SUGGESTED_POST_INFO):
            continue
        if getattr(message, name, None):
            return str(name.value).replace("_", " ")
    return ""


def _press(number: int, query: CallbackQuery) -> Step:
    message = query.message
    if message is None or message.chat.type != ChatType.PRIVATE or not query.data:
        return Step(Do.IGNORE, number, "a button that is not ours", query=query.id)
    return Step(
        Do.ANSWER,
        number,
        chat=message.chat.id,
        button=query.data,
        query=query.id,
        hint=hint(query.from_user.language_code),
    )


def _member(number: int, change: ChatMemberUpdated) -> Step:
    kind, status = change.chat.type, change.new_chat_member.status
    if kind == ChatType.PRIVATE:
        if status == ChatMember.BANNED:
            return Step(Do.FORGET, number, "blocked", chat=change.chat.id)
        return Step(Do.IGNORE, number, "unblocked")
    if status not in INSIDE or change.old_chat_member.status in INSIDE:
        return Step(Do.IGNORE, number, "no longer or still there")
    if kind in GROUPS:
        return Step(Do.DECLINE, number, chat=change.chat.id, hint=hint(change.from_user.language_code))
    return Step(Do.LEAVE, number, "added to a channel", chat=change.chat.id)
