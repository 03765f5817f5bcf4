"""The lexicons: language-free concepts with their forms, and word-by-word glosses into English.

Both are data under nlu_data/lexicon/, for understanding only and never shown to residents.
What they bring: docs/decisions/0003-understanding.md.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bot.nlu.text import tokens

FOLDER = Path(__file__).resolve().parents[2] / "nlu_data" / "lexicon"
LANGUAGES = ("en", "es", "ht")
LONGEST = 7
"""Words in the longest glossed expression."""


@dataclass(frozen=True)
class Match:
    """One concept found in a message."""

    concept: str
    """Its name in concepts.json, for example POLICE."""
    start: int
    """Index of its first token."""
    end: int
    """Index behind its last token."""


@dataclass
class Concepts:
    """Finds concepts by their forms; a form that ends in * is a prefix."""

    exact: dict[str, dict[tuple[str, ...], set[str]]]
    """language -> words of a form -> concepts."""
    prefixes: dict[str, dict[str, dict[str, set[str]]]]
    """language -> first four letters -> prefix -> concepts (single words only)."""
    friends: dict[str, dict[str, list[str]]]
    """Words that mean different things in different languages: word -> language -> concepts."""
    longest: int = 1
    _cache: dict[tuple[str, str | None], tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path = FOLDER) -> Concepts:
        """Read concepts.json and false_friends.json.

        Raises:
            OSError, ValueError: when a file is missing or no JSON.
        """
        forms = json.loads((folder / "concepts.json").read_text(encoding="utf-8"))
        friends = json.loads((folder / "false_friends.json").read_text(encoding="utf-8"))
        exact: dict[str, dict[tuple[str, ...], set[str]]] = {language: {} for language in LANGUAGES}
        prefixes: dict[str, dict[str, dict[str, set[str]]]] = {language: {} for language in LANGUAGES}
        longest = 1
        for concept, by_language in forms.items():
            for language, written in by_language.items():
                for form in written:
                    words = tuple(tokens(form.rstrip("*")))
                    if not words:
                        continue
                    longest = max(longest, len(words))
                    if form.endswith("*") and len(words) == 1:
                        head = words[0][:4]
                        prefixes[language].setdefault(head, {}).setdefault(words[0], set()).add(concept)
                    else:
                        exact[language].setdefault(words, set()).add(concept)
        return cls(exact, prefixes, friends, longest)

    def _word(self, word: str, language: str | None) -> set[str]:
        """Concepts of a single word, in one language or in all."""
        found: set[str] = set()
        for code in (language,) if language else LANGUAGES:
            found |= self.exact[code].get((word,), set())
            for length in range(2, min(4, len(word)) + 1):
                for prefix, concepts in self.prefixes[code].get(word[:length], {}).items():
                    if (len(prefix) >= 4 or len(prefix) == length) and word.startswith(prefix):
                        found |= concepts
        return found

    def _known(self, word: str, language: str | None) -> tuple[str, ...]:
        key = (word, language if word in self.friends else None)
        if key in self._cache:
            return self._cache[key]
        found = self._word(word, None)
        if word in self.friends:
            other = {c for code, cs in self.friends[word].items() for c in cs}
            own = set(self.friends[word].get(language or "", other))
            found = (found - other) | own
        known = tuple(sorted(found))
        # Words of the lexicon only: names and numbers of residents must not stay in memory.
        if any((word,) in forms for forms in self.exact.values()):
            self._cache[key] = known
        return known

    def find(self, words: Sequence[str], language: str | None = None) -> list[Match]:
        """All concepts in `words`, in the order of their first word.

        Forms of all three languages count, since residents mix them (measured: .742 against .704 for the
        language's own forms alone); `language` only decides between false friends.
        """
        found: list[Match] = []
        for start, word in enumerate(words):
            found += [Match(concept, start, start + 1) for concept in self._known(word, language)]
            for length in range(2, min(self.longest, len(words) - start) + 1):
                key = tuple(words[start : start + length])
                for code in LANGUAGES:
                    for concept in sorted(self.exact[code].get(key, ())):
                        match = Match(concept, start, start + length)
                        if match not in found:
                            found.append(match)
        return found


@dataclass
class Gloss:
    """A word-by-word gloss into English, longest expression first."""

    forms: dict[tuple[str, ...], str]
    longest: int

    @classmethod
    def load(cls, language: str, folder: Path = FOLDER) -> Gloss:
        """Read <language>_en.tsv: form, tab, English gloss."""
        forms: dict[tuple[str, ...], str] = {}
        for line in (folder / f"{language}_en.tsv").read_text(encoding="utf-8").splitlines():
            form, _, gloss = line.partition("\t")
            words = tuple(form.split())
            if words and gloss:
                forms[words] = gloss.strip()
        return cls(forms, min(LONGEST, max(map(len, forms), default=1)))

    def apply(self, words: Sequence[str]) -> tuple[str, float]:
        """The gloss, and the share of words that it covers (0 to 1)."""
        out: list[str] = []
        covered = 0
        at = 0
        while at < len(words):
            for length in range(min(self.longest, len(words) - at), 0, -1):
                gloss = self.forms.get(tuple(words[at : at + length]))
                if gloss is not None:
                    out.append(gloss)
                    covered += length
                    at += length
                    break
            else:
                out.append(words[at])
                at += 1
        return " ".join(out), covered / len(words) if words else 0.0
