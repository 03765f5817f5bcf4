"""Replies as TwiML, the XML in which Twilio takes the answer to a message (https://www.twilio.com/docs/messaging/twiml)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from twilio.twiml.messaging_response import MessagingResponse

from bot.nlg import Reply

CONTENT_TYPE = "text/xml; charset=utf-8"
MOST = 1600
"""UTF-16 units of one message; a longer one is not sent at all (https://www.twilio.com/docs/api/errors/21617)."""
ROOM_FOR_COUNT = 12
"""What "(1/3)" under a part may take."""
_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
"""Signs that XML 1.0 has no way to write (https://www.w3.org/TR/xml/#charsets): one of them, and Twilio refuses the whole answer."""
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n")
_WORD = re.compile(r"\s+")


def length(text: str) -> int:
    """UTF-16 units: an emoji is two.

    >>> length("à"), length("😀")
    (1, 2)
    """
    return len(text.encode("utf-16-le")) // 2


def joined(replies: Sequence[Reply]) -> str:
    """All replies of a turn as one text, in their order: Twilio does not keep the order of several messages."""
    return "\n\n".join(reply.text for reply in replies if reply.text)


def parts(text: str, most: int = MOST, opening: str = "") -> list[str]:
    """A text as messages that Twilio sends: one wherever it fits, else cut at paragraphs, sentences or words, and counted.

    Args:
        text: all of it.
        most: units of one message.
        opening: what each message after the first begins with.

    >>> parts("First line.\\n\\nSecond line.", 24)
    ['First line.\\n\\n(1/2)', 'Second line.\\n\\n(2/2)']
    """
    if not text:
        return []
    if length(text) <= most:
        return [text]
    head = f"{opening}\n\n" if opening else ""
    found = list(_filled(text, most - ROOM_FOR_COUNT - length(head)))
    return [f"{head if number > 1 else ''}{part}\n\n({number}/{len(found)})" for number, part in enumerate(found, 1)]


def _filled(text: str, room: int) -> Iterator[str]:
    """Pieces joined again as long as they fit."""
    held = ""
    for glue, piece in _pieces(text, room):
        longer = f"{held}{glue}{piece}" if held else piece
        if length(longer) <= room:
            held = longer
            continue
        yield held
        held = piece
    yield held


def _pieces(text: str, room: int) -> Iterator[tuple[str, str]]:
    """(what stood before it, piece): paragraphs; of those too long sentences, then words, then signs."""
    for paragraph in text.split("\n\n"):
        if length(paragraph) <= room:
            yield "\n\n", paragraph
            continue
        glue = "\n\n"
        for sentence in _SENTENCE.split(paragraph):
            if length(sentence) <= room:
                yield glue, sentence
                glue = " "
                continue
            for word in _WORD.split(sentence):
                for at in range(0, len(word), max(1, room // 2)):
                    yield glue if at == 0 else "", word[at : at + max(1, room // 2)]
                    glue = " "


def response(text: str, status_address: str = "", opening: str = "") -> str:
    """The TwiML of an answer; of none when there is no text.

    Args:
        text: all that is to be said.
        status_address: where Twilio is to tell what became of it.
        opening: what each message after the first begins with (bot/channels/shape.py).
    """
    made = MessagingResponse()
    for part in parts(_NO_XML.sub("", text), opening=opening):
        made.message(part, status_callback=status_address or None)
    return made.to_xml()
