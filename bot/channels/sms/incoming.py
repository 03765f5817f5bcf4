"""A signed form as a message: the channel, the sender, the words, and whether Twilio has answered already."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path

import yaml

from bot.channels.sms.signature import Form, InvalidBody
from bot.desk import Message

WORDS = Path(__file__).with_name("carrier.yml")
OPT_OUT_TYPES = {"STOP": "stop", "START": "start", "HELP": "help"}
"""OptOutType, set where Advanced Opt-Out has matched a word of its own list and answered
(https://www.twilio.com/docs/messaging/tutorials/advanced-opt-out)."""
_SID = re.compile(r"^[A-Z]{2}[0-9a-fA-F]{32}$")
_PHONE = re.compile(r"^\+?\d{3,15}$")


class OtherSender(ValueError):
    """A sender of a kind that this service does not serve (rcs:, messenger:, a name); answered with silence."""


@functools.lru_cache(maxsize=1)
def carrier_words(path: Path = WORDS) -> Mapping[str, str]:
    """Twilio's own words -> stop, start, start_again or help."""
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {word: meaning for meaning, words in data.items() for word in words}


def channel_of(address: str) -> str:
    """sms or whatsapp, by the prefix of an address.

    >>> channel_of("whatsapp:+13055550101"), channel_of("+13055550101")
    ('whatsapp', 'sms')
    """
    return "whatsapp" if address.startswith("whatsapp:") else "sms"


def message_id(form: Form) -> str:
    """MessageSid: the same in every repeat.

    Raises:
        InvalidBody: when it is missing or not one.
    """
    sid = form.value("MessageSid")
    if not _SID.match(sid):
        raise InvalidBody("no MessageSid")
    return sid


def _carrier_word(form: Form, channel: str, opt_out: str) -> str | None:
    """What Twilio has answered itself; None where it has not."""
    told = OPT_OUT_TYPES.get(form.value("OptOutType").strip().upper())
    if told:
        return told
    if opt_out != "twilio" or channel != "sms":
        return None
    return carrier_words().get(form.value("Body").strip().upper())


def read(form: Form, opt_out: str) -> Message:
    """The message in a form.

    Args:
        form: verified.
        opt_out: SMS_OPT_OUT: whether Twilio answers its own words ("twilio") or has been told not to ("app").

    Raises:
        InvalidBody: no sender or no id.
        OtherSender: a kind of sender that is not served.
    """
    sid = message_id(form)
    address = form.value("From").strip()
    if not address:
        raise InvalidBody("no From")
    channel = channel_of(address)
    sender = address.removeprefix("whatsapp:")
    if not _PHONE.match(sender):
        raise OtherSender
    text = form.value("Body")
    carrier = _carrier_word(form, channel, opt_out)
    return Message(
        channel=channel,
        sender=sender,
        text=text,
        id=sid,
        readable=bool(text.strip()) or not _wordless(form),
        carrier_answered=carrier is not None,
        carrier_word=carrier,
    )


def _wordless(form: Form) -> bool:
    """Whether there is something that is not words: a picture, a voice note, on WhatsApp also a place."""
    media = form.value("NumMedia")
    return (media.isdigit() and int(media) > 0) or bool(form.value("Latitude"))
