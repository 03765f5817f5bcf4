"""Commands: what "/help" and its likes mean, and the menu of them that Telegram shows. Data: commands.yml beside this file."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from telegram import BotCommand

from bot.words import LANGUAGES, MissingWords, Words

FILE = Path(__file__).with_name("commands.yml")
START = "start"
"""Telegram's own first command, also behind https://t.me/<bot>?start=<payload>. The assistant itself knows "/start"."""
MENUS: Mapping[str | None, str] = {None: "en", "es": "es", "ht": "ht", "fr": "ht"}
"""Language of a phone -> language of its menu; None is every other phone. Telegram has no Creole: Haitian phones are often set to French."""

_COMMAND = re.compile(r"/([a-z0-9_]{1,32})(?:@\w+)?(?:\s+(.*))?", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Said:
    """What a text comes to."""

    text: str
    """For the assistant."""
    language: str | None = None
    """Chosen by a deep link."""


@dataclass(frozen=True)
class Commands:
    """The table."""

    meanings: Mapping[str, tuple[str, str | None]]
    """command -> (topic, its language); None for the English ones, which people of all languages type."""
    shown: Mapping[str, Mapping[str, str]]
    """language -> topic -> command."""
    words: Mapping[str, Mapping[str, str]]
    """topic -> language -> what the assistant reads."""


@functools.lru_cache(maxsize=1)
def load(path: Path = FILE) -> Commands:
    """Read commands.yml."""
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    meanings: dict[str, tuple[str, str | None]] = {}
    for topic, by_language in data.items():
        for language, row in by_language.items():
            meanings[row["command"]] = (topic, None if language == "en" else language)
    return Commands(
        meanings,
        {code: {topic: by_language[code]["command"] for topic, by_language in data.items()} for code in LANGUAGES},
        {topic: {code: row["words"] for code, row in by_language.items()} for topic, by_language in data.items()},
    )


def read(text: str, hint: str | None = None) -> Said:
    """What the resident says, with a command exchanged for its words.

    Args:
        text: as written.
        hint: the phone's language, for a command that shows none.

    >>> read("/start ht"), read("/ayuda").text, read("/help", "ht").text, read("/help he has a gun").text
    (Said(text='/start', language='ht'), 'opciones', 'meni', 'he has a gun')
    """
    match = _COMMAND.fullmatch(text.strip())
    if not match:
        return Said(text)
    name, rest = match.group(1).lower(), (match.group(2) or "").strip()
    if name == START:
        if rest.lower() in LANGUAGES:
            return Said("/start", rest.lower())
        # One word is a link's payload, which we do not know; several were written by somebody who wants to say something.
        return Said(rest if len(rest.split()) > 1 else "/start")
    if name not in load().meanings:
        return Said(text)
    topic, language = load().meanings[name]
    return Said(rest or load().words[topic][language or hint or "en"])


def menu(language: str, words: Words) -> list[BotCommand]:
    """The commands that a phone lists, in a language, with their topics' titles."""
    made = []
    for topic, command in load().shown[language].items():
        try:
            title = words.line(f"{topic}/title", language)
        except MissingWords:
            title = words.line(f"{topic}/title", "en")
        made.append(BotCommand(command, title))
    return made
