"""The safety screen: who is in danger now, or near suicide. Pure functions that need neither Rasa nor a model.

Patterns are data, nlu_data/lexicon/safety.yml, by language, over text without accents; all languages are
tried on every message, because fear mixes them. The screen is the part that must work when everything
behind it fails; the classifier adds what no pattern foresees (bot/nlu/understanding.py).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import re2
import yaml

from bot.nlu.lexicon import FOLDER
from bot.nlu.text import ends, plain, tokens

MOST_AGAIN = 6
"""So often a pattern's `(...)*` is followed: without an end its time would grow with the square of the text (a "big bad small ..." fire)."""
MOST_MEMORY = 16 << 20
"""Bytes that RE2 may take for the patterns of a kind and a language, to keep what it has worked out. 21,000 messages fill 85 MB in all, and no
more comes after; all languages in one pass took twice the time and, at 128 MB each, 194 MB."""
_FOREIGN = re.compile(r"[^\W\x00-\x7f]")
_PIECES = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]])*\]|.", re.DOTALL)
"""An escape, a class of signs or one sign of a pattern."""
_LOOKAROUND = re.compile(r"\(\?<?[=!]")
_SPACES = re.compile(r"[^\w?!.,;:\n#*$]+")
_ENDLESS = re.compile(r"(?<!\\)\)([*+])")
_CLAUSES = re.compile(r"[.;!?\n]+|,\s|\b(?:but|pero|men|sino|however)\b")


class SafetyDataError(ValueError):
    """safety.yml cannot be used. The assistant does not start without it."""


class Patterns:
    """Patterns of one kind. RE2 says in one pass which of them a text may hold, however many and whatever it says; `re` then looks for these.

    Trying all of them with `re` took 64 ms for the slowest SMS; RE2 takes 1 (https://github.com/google/re2). It knows no lookarounds:
    they are left out for it, so that it finds too much rather than too little.
    """

    def __init__(self, groups: Mapping[str, Sequence[str]], name: str):
        """
        Args:
            groups: language -> patterns.
            name: of the kind, for what is told.

        Raises:
            SafetyDataError: when a pattern cannot be compiled.
        """
        self._groups: list[tuple[str, re2.Set, list[re.Pattern[str]]]] = []
        options = re2.Options()
        options.max_mem = MOST_MEMORY
        options.log_errors = False
        for language, group in groups.items():
            possible, exact = re2.Set.SearchSet(options), []
            for pattern in map(_bounded, group):
                try:
                    exact.append(re.compile(rf"\b(?:{pattern})(?!\w)"))
                    possible.Add(rf"\b(?:{_without_lookarounds(pattern)})(?:\W|$)")
                except (re.error, re2.error) as error:
                    raise SafetyDataError(f"safety.yml: {name}: {pattern!r} is no valid pattern ({error})") from error
            try:
                possible.Compile()
            except re2.error as error:
                raise SafetyDataError(
                    f"safety.yml: {name} has too many patterns for MOST_MEMORY in bot/nlu/safety.py"
                ) from error
            self._groups.append((language, possible, exact))

    def _candidates(self, text: str) -> list[tuple[str, re.Pattern[str]]]:
        """(language, pattern)"""
        if not text.isascii():
            # For RE2 only a-z are letters and 0-9 digits; no pattern names others, so that one stands for all.
            text = _FOREIGN.sub(lambda sign: "0" if sign.group().isdecimal() else "x", text)
        return [
            (language, exact[index])
            for language, possible, exact in self._groups
            for index in sorted(possible.Match(text) or ())
        ]

    def search(self, text: str) -> bool:
        """Whether one of them is in a text as `_text` makes it."""
        return any(pattern.search(text) for _, pattern in self._candidates(text))

    def languages(self, text: str) -> set[str]:
        """Languages of those that are in it."""
        return {language for language, pattern in self._candidates(text) if pattern.search(text)}

    def taken_out(self, text: str) -> str:
        """The text with a space for each of them; where several begin, the first of the list says how much goes."""
        candidates, kept, at = [pattern for _, pattern in self._candidates(text)], [], 0
        while candidates:
            found = [match for match in (pattern.search(text, at) for pattern in candidates) if match]
            if not found:
                break
            first = min(found, key=re.Match.start)
            kept += [text[at : first.start()], " "]
            at = first.end()
        return "".join(kept) + text[at:]


@dataclass(frozen=True)
class Screen:
    """Compiled patterns."""

    idioms: Patterns
    """Figures of speech; taken out before anything else is looked for."""
    cry: Patterns
    """Messages that say nothing but danger, over their words alone."""
    arrival: Patterns
    """Messages that say nothing but that somebody is coming, over their words alone."""
    emergency: Patterns
    """Danger; counts unless its clause or the whole message is not about now."""
    emergency_always: Patterns
    """Danger whatever else is said."""
    crisis: Patterns
    crisis_always: Patterns
    not_now: Patterns
    """Past, news, conditions, questions about 911."""
    now: Patterns
    """Says that it is happening now: lifts not_now."""


def _compile(groups: dict[str, Any], name: str) -> Patterns:
    by_language = groups.get(name) or {}
    written = {language: by_language[language] for language in ("en", "es", "ht") if by_language.get(language)}
    if not written:
        raise SafetyDataError(f"safety.yml: {name} has no patterns; restore the file")
    return Patterns(written, name)


def _without_lookarounds(pattern: str) -> str:
    """The pattern without its (?=...), (?!...), (?<=...) and (?<!...).

    >>> _without_lookarounds("(?<!shots )fired(?! (?:up|[)] now)) at")
    'fired at'
    """
    kept, depth, at = [], 0, 0
    for piece in _PIECES.finditer(pattern):
        sign = piece.group()
        if depth:
            depth += sign.startswith("(") - (sign == ")")
        elif _LOOKAROUND.match(pattern, piece.start()):
            depth = 1
        else:
            kept.append(sign)
        at = piece.end()
    return "".join(kept) + pattern[at:]


def _bounded(pattern: str) -> str:
    """The pattern with an end to its repeated groups.

    >>> _bounded("(?:big |bad )*fire")
    '(?:big |bad ){0,6}fire'
    """
    return _ENDLESS.sub(lambda match: f"){{{int(match.group(1) == '+')},{MOST_AGAIN}}}", pattern)


@functools.lru_cache(maxsize=4)
def load(path: Path = FOLDER / "safety.yml") -> Screen:
    """Read and compile the patterns.

    Raises:
        SafetyDataError: when the file is missing or has a pattern that cannot be compiled.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise SafetyDataError(f"{path}: cannot be read; restore the file") from error
    names = list(Screen.__dataclass_fields__)
    return Screen(**{name: _compile(data, name) for name in names})


def _text(text: str) -> str:
    # Ends of the plain text too: some signs are several letters there.
    return ends(_SPACES.sub(" ", plain(ends(text))).strip())


def _about_now(screen: Screen, clauses: Sequence[str], index: int) -> bool:
    """Whether the clause is about now: no past, news or condition beside it, or a word for now in it."""
    clause = clauses[index]
    if screen.now.search(clause):
        return True
    if screen.not_now.search(clause):
        return False
    # "It was last night. He is beating her": a clause of its own is believed; a neighbour that says
    # "yesterday" speaks for the rest of a short message.
    around = " ".join(clauses)
    return not (screen.not_now.search(around) and not screen.now.search(around))


def screen(text: str, patterns: Screen | None = None) -> str | None:
    """ "emergency", "crisis" or None.

    >>> screen("my boss is killing me with hours") is None
    True
    """
    patterns = patterns or load()
    if cries(text, patterns):
        return "emergency"
    whole = patterns.idioms.taken_out(_text(text))
    if patterns.crisis_always.search(whole):
        return "crisis"
    if patterns.emergency_always.search(whole):
        return "emergency"
    clauses = [clause for clause in _CLAUSES.split(whole) if clause and clause.strip()]
    for index, clause in enumerate(clauses):
        if patterns.crisis.search(clause) and _about_now(patterns, clauses, index):
            return "crisis"
    for index, clause in enumerate(clauses):
        if patterns.emergency.search(clause) and _about_now(patterns, clauses, index):
            return "emergency"
    return None


def cries(text: str, patterns: Screen | None = None) -> bool:
    """Whether the text says nothing but that there is danger.

    >>> cries("Estoy en peligro!!"), cries("am i in danger if i report")
    (True, False)
    """
    return (patterns or load()).cry.search(" ".join(tokens(ends(text))))


def arrives(text: str, patterns: Screen | None = None) -> bool:
    """Whether the text says nothing but that he or she is here or coming: danger, where violence at home was spoken of.

    >>> arrives("ya llegó"), arrives("he's home"), arrives("my mother is home with the kids")
    (True, True, False)
    """
    return (patterns or load()).arrival.search(" ".join(tokens(ends(text))))


def language_of(text: str, patterns: Screen | None = None) -> str | None:
    """The language that the danger is told in: en, es or ht, None where no pattern, or those of several languages, know it."""
    patterns = patterns or load()
    whole = patterns.idioms.taken_out(_text(text))
    told = patterns.cry.languages(" ".join(tokens(ends(text))))
    for kind in (patterns.crisis_always, patterns.emergency_always, patterns.crisis, patterns.emergency):
        told |= kind.languages(whole)
    return told.pop() if len(told) == 1 else None


def vetoed(text: str, patterns: Screen | None = None) -> bool:
    """Whether the text speaks of the past, news, conditions or 911 as a thing, and not of now.

    The classifier's alarm is not believed for such a text.
    """
    patterns = patterns or load()
    whole = patterns.idioms.taken_out(_text(text))
    return patterns.not_now.search(whole) and not patterns.now.search(whole)
