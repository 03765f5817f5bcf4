"""Text as residents write it, brought to one plain form for matching. Nothing here is shown to anybody."""

from __future__ import annotations

import re
import unicodedata

# Letters that people stretch ("heeelp", "aaayuda"): three or more become two, so that "ll" and "ee" stay.
_STRETCHED = re.compile(r"(.)\1{2,}")
_TOKEN = re.compile(r"[a-z0-9#*$]+")
_APOSTROPHES = re.compile(r"['’‘`´]")
# Single signs that NFKD writes out as whole words, up to 18 letters (U+FDFA): 1,600 of them would be 28,800 letters to match.
_WRITTEN_OUT = re.compile("[\u321d\u321e\u327c\u3300-\u3357\ufdfa\ufdfb]")
HEAD, TAIL = 1600, 800
"""Characters that are looked at, from the beginning and from the end: danger is often the last sentence of a long story."""


def ends(text: str, head: int = HEAD, tail: int = TAIL) -> str:
    """The beginning and the end of a text that is longer than both. Of what comes out it gives the same again."""
    return text if len(text) <= head + tail + 1 else f"{text[:head]}\n{text[-tail:]}"


def plain(text: str) -> str:
    """Lower case, without accents, stretched letters shortened, apostrophes and hyphens as blanks.

    >>> plain("¡AYÚDENME!  M'ap viv")
    '¡ayudenme!  m ap viv'
    """
    text = unicodedata.normalize("NFKD", _WRITTEN_OUT.sub(" ", text.lower()))
    text = "".join(character for character in text if not unicodedata.combining(character))
    text = _APOSTROPHES.sub(" ", text).replace("-", " ")
    return _STRETCHED.sub(r"\1\1", text)


# Where a message goes on to another question: sentence ends, and words for "also" (English, Spanish, Creole).
_QUESTIONS = re.compile(
    r"[?!.;\n]+|\b(?:and )?also\b|\b(?:y )?tambi[eé]n\b|\badem[aá]s\b|\bepi tou\b|\botra cosa\b|\bl[oò]t bagay\b|\banother (?:thing|question)\b",
    re.IGNORECASE,
)


def parts(text: str, least: int = 4) -> list[str]:
    """The parts of a message that can be questions of their own: at least `least` words each.

    >>> parts("Can I report without my name? Also do they speak Creole there?")
    ['Can I report without my name', ' do they speak Creole there']
    """
    return [part for part in _QUESTIONS.split(text) if len(tokens(part)) >= least]


def tokens(text: str) -> list[str]:
    """The words of `plain(text)`; digits, #, * and $ belong to words.

    >>> tokens("Èske m'ap peye $500?")
    ['eske', 'm', 'ap', 'peye', '$500']
    """
    return _TOKEN.findall(plain(text))
