"""Replies as a channel can show them: numbers for buttons, MORE as a word, plain signs for SMS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bot.nlg import Reply
from bot.words import MissingWords, Words


@dataclass(frozen=True)
class Shape:
    """What a channel can do."""

    name: str
    brief: bool
    """Long answers come in parts, by MORE."""
    numbers: bool
    """Choices are numbered lines, not buttons."""
    stop_words: bool
    """The carrier knows STOP."""
    links: bool
    introduced: bool
    """The channel itself says who is speaking, before the first message."""
    gsm: bool
    """Signs that cost double on SMS are exchanged."""


SHAPES = {
    "sms": Shape("sms", True, True, True, False, False, True),
    "whatsapp": Shape("whatsapp", False, True, True, True, False, False),
    "telegram": Shape("telegram", False, False, False, True, False, False),
    "web": Shape("web", False, False, False, True, True, False),
}

# Signs outside GSM-7 that have a plain twin; capital E, A, O with grave alone would force UCS-2 in Creole
# (https://www.twilio.com/docs/glossary/what-is-gsm-7-character-encoding). Spanish accents are kept.
_PLAIN = str.maketrans(
    {
        "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": "-", "\u2026": "...",
        "\u00a0": " ", "\u202f": " ", "\u2009": " ", "\u2022": "-", "\u00ab": '"', "\u00bb": '"', "\u00a7": "Sec. ",
        "\u00c8": "E", "\u00c0": "A", "\u00d2": "O",
    }
)  # fmt: skip

GSM = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
GSM_DOUBLE = frozenset("^{}\\[~]|€")


def gsm(text: str) -> str:
    """The text with plain twins for signs that would double its price."""
    return text.translate(_PLAIN)


def segments(text: str) -> int:
    """How many SMS a text takes, as carriers count.

    >>> segments("a" * 160), segments("a" * 161), segments("á" * 70), segments("á" * 71)
    (1, 2, 1, 2)
    """
    if all(sign in GSM or sign in GSM_DOUBLE for sign in text):
        length = sum(2 if sign in GSM_DOUBLE else 1 for sign in text)
        return 1 if length <= 160 else -(-length // 153)
    length = len(text.encode("utf-16-be")) // 2
    return 1 if length <= 70 else -(-length // 67)


def shape(reply: Reply, form: Shape, words: Words) -> Reply:
    """The reply as this channel shows it."""
    paragraphs = [reply.text] if reply.text else []
    buttons = reply.buttons
    links = reply.links if form.links else []
    if form.numbers and buttons:
        numbered = [item for item in buttons if item["id"] != "more"]
        if reply.more:
            paragraphs.append(_said("phrase/more_line", reply.language, words))
        if numbered:
            paragraphs.append("\n".join(f"{number} {item['title']}" for number, item in enumerate(numbered, 1)))
        buttons = numbered
    closing = [reply.closing] if reply.closing else []
    text = "\n\n".join([*paragraphs, *closing])
    if form.gsm:
        text = gsm(text)
    return replace(reply, text=text, buttons=buttons, links=links)


def opening(replies: Sequence[Reply], words: Words) -> str:
    """What every further message begins with where a long answer is cut into several and must not tell, on a locked
    phone, what it is about; empty where it may.

    It is longer than what such a phone shows first: actions/knowledge/phrases.yml, `goes_on`.
    """
    language = next((reply.language for reply in replies if reply.guarded), None)
    return _said("phrase/goes_on", language, words) if language else ""


def _said(text_id: str, language: str, words: Words) -> str:
    try:
        return words.line(text_id, language)
    except MissingWords:
        return words.line(text_id, "en")
