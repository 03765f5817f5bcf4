"""The safety screen: who is in danger now, or near suicide. Pure functions that need neither Rasa nor a model.

Patterns are data, nlu_data/lexicon/safety.yml, by language, over text without accents; all languages are
tried on every message, because fear mixes them. The screen is the part that must work when everything
behind it fails; the classifier adds what no pattern foresees (bot/nlu/understanding.py).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bot.nlu.lexicon import FOLDER
from bot.nlu.text import ends, plain

MOST_AGAIN = 6
"""So often a pattern's `(...)*` is followed: without an end its time would grow with the square of the text (a "big bad small ..." fire)."""
_SPACES = re.compile(r"[^\w?!.,;:\n#*$]+")
_ENDLESS = re.compile(r"(?<!\\)\)([*+])")
_CLAUSES = re.compile(r"[.;!?\n]+|,\s|\b(?:but|pero|men|sino|however)\b")


class SafetyDataError(ValueError):
    """safety.yml cannot be used. The assistant does not start without it."""


@dataclass(frozen=True)
class Screen:
    """Compiled patterns."""

    idioms: re.Pattern[str]
    """Figures of speech; taken out before anything else is looked for."""
    emergency: re.Pattern[str]
    """Danger; counts unless its clause or the whole message is not about now."""
    emergency_always: re.Pattern[str]
    """Danger whatever else is said."""
    crisis: re.Pattern[str]
    crisis_always: re.Pattern[str]
    not_now: re.Pattern[str]
    """Past, news, conditions, questions about 911."""
    now: re.Pattern[str]
    """Says that it is happening now: lifts not_now."""


def _compile(groups: dict[str, Any], name: str) -> re.Pattern[str]:
    patterns = [pattern for language in ("en", "es", "ht") for pattern in (groups.get(name) or {}).get(language) or ()]
    if not patterns:
        raise SafetyDataError(f"safety.yml: {name} has no patterns; restore the file")
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise SafetyDataError(f"safety.yml: {name}: {pattern!r} is no valid pattern ({error})") from error
    return re.compile("|".join(rf"(?:\b(?:{_bounded(pattern)})(?!\w))" for pattern in patterns))


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
    whole = patterns.idioms.sub(" ", _text(text))
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


def vetoed(text: str, patterns: Screen | None = None) -> bool:
    """Whether the text speaks of the past, news, conditions or 911 as a thing, and not of now.

    The classifier's alarm is not believed for such a text.
    """
    patterns = patterns or load()
    whole = patterns.idioms.sub(" ", _text(text))
    return bool(patterns.not_now.search(whole)) and not patterns.now.search(whole)
