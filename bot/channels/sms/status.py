"""What became of a message that we sent, as Twilio tells it: counted without a number, and the moment for deleting it.

https://www.twilio.com/docs/messaging/guides/outbound-message-status-in-status-callbacks
"""

from __future__ import annotations

from dataclasses import dataclass

from bot.channels.sms.incoming import channel_of, message_id
from bot.channels.sms.signature import Form, InvalidBody

FINAL = frozenset({"delivered", "undelivered", "failed"})
"""What is counted. "read" is not: whether somebody opened a message is nobody's business here."""
SENT = "sent"
"""The last word about a message where the carrier gives no receipts."""


@dataclass(frozen=True)
class Status:
    """One status callback."""

    id: str
    """MessageSid of the message that we sent."""
    channel: str
    """sms or whatsapp."""
    status: str
    """queued, sending, sent, delivered, undelivered, failed, read ..."""
    code: str
    """Twilio's error code; "" where there is none."""

    @property
    def final(self) -> bool:
        """Whether nothing more is to come."""
        return self.status in FINAL


def read(form: Form) -> Status:
    """The status in a form.

    Raises:
        InvalidBody: no id or no status.
    """
    status = form.value("MessageStatus").strip().lower()
    if not status:
        raise InvalidBody("no MessageStatus")
    code = form.value("ErrorCode").strip()
    return Status(
        id=message_id(form),
        channel=channel_of(form.value("To")),
        status=status,
        # Digits only: no text of the carrier's, which might hold a number, is ever counted.
        code=code if code.isdecimal() and len(code) <= 6 and code != "0" else "",
    )
