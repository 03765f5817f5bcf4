"""Whether Twilio sent a request: its signature over the public address and the whole form, before anything in it is looked at.

Blank fields belong to what is signed, and real messages have them (FromCity=&...). A framework's own parser drops them,
so the body is parsed here (https://www.twilio.com/docs/usage/webhooks/webhooks-security).
"""

from __future__ import annotations

from urllib.parse import parse_qsl

from twilio.request_validator import RequestValidator

HEADER = "X-Twilio-Signature"
CONTENT_TYPE = "application/x-www-form-urlencoded"
MOST_FIELDS = 100
"""Twilio sends about 30, and adds new ones without notice (https://www.twilio.com/docs/messaging/guides/webhook-request)."""


class Refused(ValueError):
    """Not shown to be from Twilio; answered with 403, nothing of it is used."""


class MissingSignature(Refused):
    """No signature at all: somebody else's request, or a proxy that drops headers."""


class WrongSignature(Refused):
    """Signed for another address, with another token or over another body, or not by Twilio."""


class InvalidBody(ValueError):
    """A body that cannot be a message from Twilio; answered with 400, nothing of it is used."""


class Form(dict[str, list[str]]):
    """Fields by name, in the form in which the validator takes several values of one name."""

    def getlist(self, name: str) -> list[str]:
        """All values of a field."""
        return self.get(name, [])

    def value(self, name: str) -> str:
        """A field's value; "" when it is blank or missing.

        Raises:
            InvalidBody: when it is there more than once: which one would be meant?
        """
        values = self.getlist(name)
        if len(values) > 1:
            raise InvalidBody(f"{name} more than once")
        return values[0] if values else ""


def parse(content_type: str, body: bytes) -> Form:
    """The form as it was sent, blank fields kept.

    Raises:
        InvalidBody: another type, too many fields, bytes that are no text.
    """
    if content_type.split(";")[0].strip().lower() != CONTENT_TYPE:
        raise InvalidBody("not a form")
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, max_num_fields=MOST_FIELDS, encoding="utf-8", errors="strict"
        )
    except ValueError:
        raise InvalidBody("no form that can be read") from None
    form = Form()
    for name, value in pairs:
        form.setdefault(name, []).append(value)
    return form


def verified(validator: RequestValidator, url: str, signature: str | None, content_type: str, body: bytes) -> Form:
    """The form of a request that Twilio signed.

    Args:
        validator: holds the auth token; compares in constant time.
        url: the address as Twilio knows it: PUBLIC_URL and path, without the fragment (#rc=3...), which is not sent.
        signature: the header's value.
        content_type: the header's value.
        body: as received.

    Raises:
        MissingSignature, WrongSignature: not from Twilio.
        InvalidBody: nothing that could be signed.
    """
    if not signature:
        raise MissingSignature
    form = parse(content_type, body)
    if not validator.validate(url, form, signature):
        raise WrongSignature
    return form
