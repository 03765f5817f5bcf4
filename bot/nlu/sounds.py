"""Words as they sound: "kiere", "quiere" and "kyere" become one. People write Spanish and Creole by ear.

A rough key for comparing, not a transcription; each rule is a habit of writers, per language. What it brings stands in
docs/decisions/0003-understanding.md.
"""

from __future__ import annotations

import re

from bot.nlu.text import plain

# In order; a later rule sees what an earlier one made. "x" stands for "ch" in between, so that "c" and "h" can be told apart from it.
_RULES = {
    "es": (
        (r"qu(?=[ei])", "k"), ("q", "k"), ("ch", "x"), (r"c(?=[eiy])", "s"), ("c", "k"), ("z", "s"), ("v", "b"), (r"gu(?=[ei])", "g"),
        (r"g(?=[ei])", "j"), ("ll", "y"), ("h", ""), ("w", "gu"), ("x", "ch"), (r"y\b", "i"), (r"(.)\1", r"\1"),
    ),
    # Creole that is spelled the French way: silent endings, "ou", "oi", "eau"; nasal vowels as one.
    "ht": (
        ("eau", "o"), ("au", "o"), ("qu", "k"), ("q", "k"), ("ph", "f"), ("ch", "x"), (r"c(?=[eiy])", "s"), ("c", "k"), ("ou", "u"),
        ("oi", "wa"), ("ge", "je"), ("gi", "ji"), ("th", "t"), ("h", ""), (r"(?<=[a-z])s\b", ""), (r"(?<=[a-z]{2})e\b", ""),
        (r"(?<=[a-z]{2})t\b", ""), ("z", "s"), ("y", "i"), ("ai", "e"), ("ain|in|en|an|on", "n"), ("x", "ch"), (r"(.)\1", r"\1"),
    ),
    "en": (
        (r"(.)\1", r"\1"), (r"ing\b", "in"), ("ck", "k"), ("ph", "f"), ("th", "d"), ("gh", ""), (r"(?<=[a-z]{2})e\b", ""),
        (r"c(?=[eiy])", "s"), ("c", "k"), ("z", "s"), ("y", "i"),
    ),
}  # fmt: skip
_COMPILED = {language: [(re.compile(old), new) for old, new in rules] for language, rules in _RULES.items()}


def sounds(text: str, language: str | None) -> str:
    """The text by ear; as English where the language is unknown.

    >>> sounds("me kiere aorcar", "es") == sounds("me quiere ahorcar", "es")
    True
    """
    text = plain(text)
    for old, new in _COMPILED.get(language or "en", _COMPILED["en"]):
        text = old.sub(new, text)
    return text
