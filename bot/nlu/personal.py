"""Personal data that residents write although nobody asked. Found in order to say so, kept nowhere."""

from __future__ import annotations

import re

# Phone numbers with area code; hotlines that residents may quote are left out by their first digits.
_PHONE = re.compile(r"(?<![\d$])(?:\+?1[\s.-]?)?\(?([2-9]\d{2})\)?[\s.-]{0,3}\d{3}[\s.-]{0,3}\d{4}(?!\d)")
_TOLL_FREE = {"800", "833", "844", "855", "866", "877", "888"}
_ALIEN = re.compile(
    r"\bA\s?#?[\s.-]?\d{3}[\s.-]?\d{3}[\s.-]?\d{2,3}\b|\b(?:alien|a)\s?(?:number|#|no\.?)\D{0,12}\d{7,9}\b", re.I
)
_SOCIAL = re.compile(r"(?<!\d)\d{3}[\s-]\d{2}[\s-]\d{4}(?!\d)")
# At most 64 signs before the @ (RFC 5321, 4.5.3.1.1): with no bound a long word would take the square of its length.
_MAIL = re.compile(r"[\w.+-]{1,64}@[\w-]+\.[\w.-]+")
_STREET = re.compile(
    r"\b\d{2,5}\s+(?:(?:n|s|e|w|ne|nw|se|sw|north|south|east|west)\.?\s+)?[\w.]+(?:\s+[\w.]+){0,2}\s+"
    r"(?:st|street|ave?|avenue|avenida|rd|road|ct|court|ter|terrace|ln|lane|dr|drive|blvd|boulevard|pl|place|way|apt)\b",
    re.I,
)
_NAMED = re.compile(r"\b(?:my name is|me llamo|mi nombre es|mwen rele|m rele|non mwen se)\s+\w{2,}\s+\w{2,}", re.I)
_RECEIPT = re.compile(r"\b(?:IOE|MSC|EAC|WAC|LIN|SRC|NBC)\d{8,10}\b", re.I)


def without_personal_data(text: str) -> str:
    """The text with what `has_personal_data` finds taken out: a number says nothing of what is asked."""
    for pattern in (_ALIEN, _SOCIAL, _MAIL, _STREET, _NAMED, _RECEIPT, _PHONE):
        text = pattern.sub(" ", text)
    return text


def has_personal_data(text: str) -> bool:
    """Whether the text holds a phone number, an A-number, a receipt, an address or a full name.

    >>> has_personal_data("my alien number is A098-555-731")
    True
    >>> has_personal_data("is 305-476-5423 free")   # a number asked about is a number written
    True
    """
    if any(match.group(1) not in _TOLL_FREE for match in _PHONE.finditer(text)):
        return True
    return any(pattern.search(text) for pattern in (_ALIEN, _SOCIAL, _MAIL, _STREET, _NAMED, _RECEIPT))
