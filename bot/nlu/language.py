"""Which language a message is written in. Pure functions; nothing here knows of Rasa.

py3langid 0.4.0 over English, Spanish, Haitian Creole and French (without French among the candidates,
French goes to Creole half of the time), helped on short texts by the share of words that a language's
own list knows. Figures: docs/decisions/0004-language.md.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from dataclasses import dataclass

from bot.nlu.lexicon import FOLDER, Gloss
from bot.nlu.text import tokens

LANGUAGES = ("en", "es", "ht")
"""The languages that the assistant speaks."""

CERTAIN = 0.6
"""Below this share of belief the conversation's language stays (98.3 % of messages pass, at 99.8 % right)."""

CLEAR_WORDS = 4
"""A conversation changes its language by itself only for a text of at least this many words."""

CLEAR = 0.9
"""... and at least this belief."""

_LETTERS = re.compile(r"[^\W\d_]")
# An address begins where a word begins: tried at every letter, a long word would take the square of its length.
_NOT_TEXT = re.compile(r"https?://\S+|(?<!\S)\S+@\S+|[#@]\w+")


@dataclass(frozen=True)
class Vote:
    """What a text says about its language."""

    language: str | None
    """en, es, ht; fr (French); other; None where the text says nothing (a number, "ok", an emoji)."""
    belief: float
    """0 to 1."""
    words: int
    """How many words it rests on."""

    @property
    def certain(self) -> bool:
        """Enough to answer in this language when nothing else is known."""
        return self.language is not None and self.belief >= CERTAIN

    @property
    def clear(self) -> bool:
        """Enough to change the language of a conversation that has one."""
        return self.language is not None and self.belief >= CLEAR and self.words >= CLEAR_WORDS


NOTHING = Vote(None, 0.0, 0)


@functools.lru_cache(maxsize=1)
def _identifier():  # type: ignore[no-untyped-def]
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages([*LANGUAGES, "fr", "pt"])
    return identifier


@functools.lru_cache(maxsize=1)
def _wordlists() -> dict[str, frozenset[str]]:
    """Per language: words that it has and the others do not (from nlu_data/lexicon/language_words.tsv)."""
    lists: dict[str, set[str]] = {code: set() for code in (*LANGUAGES, "fr", "none")}
    for line in (FOLDER / "language_words.tsv").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            code, _, words = line.partition("\t")
            lists[code].update(words.split())
    return {code: frozenset(words) for code, words in lists.items()}


@functools.lru_cache(maxsize=1)
def _glosses() -> dict[str, Gloss]:
    return {code: Gloss.load(code) for code in ("es", "ht")}


def _foreign_script(text: str) -> bool:
    """More than half of the letters are not Latin."""
    letters = _LETTERS.findall(text)
    latin = sum("LATIN" in unicodedata.name(letter, "") for letter in letters)
    return bool(letters) and latin * 2 < len(letters)


def identify(text: str) -> Vote:
    """The language of a text, by itself.

    >>> identify("me robaron ayer en la parada").language
    'es'
    >>> identify("ok").language is None
    True
    """
    if _foreign_script(text):
        # Scripts without blanks: about two signs a word.
        return Vote("other", 1.0, max(len(text.split()), len(_LETTERS.findall(text)) // 2))
    text = _NOT_TEXT.sub(" ", text)
    words = [word for word in tokens(text) if not word[0].isdigit()]
    lists = _wordlists()
    telling = [word for word in words if word not in lists["none"]]
    if not telling:
        return NOTHING
    scores = dict(_identifier().rank(text.lower()))
    own = {code: sum(word in lists[code] for word in telling) for code in (*LANGUAGES, "fr")}
    # Each word that only one language has counts like a tenfold likelihood; more says no more.
    for code, count in own.items():
        scores[code] = scores.get(code, 0.0) * 10.0 ** min(count, 4) + (0.001 if count else 0.0)
    glosses = _glosses()
    if max(scores, key=scores.__getitem__) in ("fr", "pt"):
        # Creole spelled the French way, and Spanish that looks Portuguese: their own lists know the words.
        for code, rival in (("ht", "fr"), ("es", "pt")):
            covered = glosses[code].apply(words)[1]
            if covered >= 0.75 and own["fr"] <= own[code]:
                scores[code] = scores.get(code, 0.0) + scores[rival] * covered
                scores[rival] *= 1 - covered
    total = sum(scores.values()) or 1.0
    best = max(scores, key=scores.__getitem__)
    return Vote("other" if best == "pt" else best, scores[best] / total, len(words))


def choose(vote: Vote, before: str | None, hint: str | None = None) -> str:
    """The language to answer in: sticky, changed only by a clear and long enough text.

    Args:
        vote: what the text says.
        before: the conversation's language, None in its first message.
        hint: what the channel guesses (the page's language), for a text that says nothing.
    """
    if before in LANGUAGES:
        return vote.language if vote.clear and vote.language in LANGUAGES else before  # type: ignore[return-value]
    if vote.language in LANGUAGES:
        return vote.language  # type: ignore[return-value]
    if hint in LANGUAGES and vote.language is None:
        return hint  # type: ignore[return-value]
    return "ht" if vote.language == "fr" else "en"


def choose_in_danger(vote: Vote, told: str | None, before: str | None, hint: str | None = None) -> str:
    """The language of the number to call: that of the cry itself, however short, before that of the conversation.

    Args:
        told: the language whose words for danger are in the text (bot/nlu/safety.py).
    """
    if vote.certain and vote.language in LANGUAGES:
        return vote.language  # type: ignore[return-value]
    return told or choose(vote, before, hint)
