"""Words that, alone, are a command: MORE, MENU, STOP, a language's own name. Data: nlu_data/lexicon/keywords.yml."""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from bot.nlu.lexicon import FOLDER
from bot.nlu.text import tokens

SOS = "\N{SQUARED SOS}"
"""A cry for help without a word: the menu, with 911 on top."""


@dataclass(frozen=True)
class Keywords:
    """Exact messages and what they mean."""

    exact: Mapping[str, tuple[str, str]]
    """words of the whole message -> (meaning, language); meaning is more, menu, stop, start, language or a topic."""
    names: Mapping[str, str]
    """A language's name in any language -> its code."""
    numbers: Mapping[str, int]
    """A number's word -> the number."""
    counters: frozenset[str]
    """Words beside a number: option, nimewo, el."""

    def find(self, text: str) -> tuple[str, str] | None:
        """(meaning, language) when the whole message is a keyword.

        >>> load().find("¡MÁS!")
        ('more', 'es')
        """
        words = " ".join(tokens(text))
        if not words and SOS in text:
            return "help_menu", "en"
        return self.exact.get(words)

    def number(self, text: str, listed: bool = True) -> int | None:
        """The number that the whole message is: "2", "#2", "el 2", "two", "nimewo 2"; None for anything else.

        Args:
            text: as written.
            listed: whether a list is open; without one a word is no number ("onè" is a greeting, "un" is many things).
        """
        words = [word.strip("#*") for word in tokens(unicodedata.normalize("NFKC", text))]
        words = [word for word in words if word and word not in self.counters]
        if len(words) != 1:
            return None
        if words[0].isdecimal() and len(words[0]) <= 2:
            return int(words[0])
        return self.numbers.get(words[0]) if listed else None

    def languages_in(self, text: str) -> set[str]:
        """The languages that a text names."""
        return {self.names[word] for word in tokens(text) if word in self.names}


@functools.lru_cache(maxsize=1)
def load(path: Path = FOLDER / "keywords.yml") -> Keywords:
    """Read keywords.yml."""
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    exact: dict[str, tuple[str, str]] = {}
    names: dict[str, str] = {}
    numbers = {word: number for number, written in data.pop("numbers").items() for word in written}
    counters = frozenset(data.pop("counters"))
    for meaning, by_language in data.items():
        for language, written in by_language.items():
            for form in written:
                form = " ".join(tokens(str(form)))
                if not form:
                    raise ValueError(
                        f"{path}: {meaning}, {language}: an entry without letters would match every emoji; take it out"
                    )
                if meaning == "language_names":
                    names[form] = language
                    exact.setdefault(form, ("language", language))
                else:
                    exact[form] = (meaning, language)
    return Keywords(exact, names, numbers, counters)
