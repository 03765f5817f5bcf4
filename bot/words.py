"""gettext catalogues to sentences: the only place where ids become words.

English stands in the knowledge files; locales/<language>/LC_MESSAGES/residents.po hold the translations,
msgctxt being the text id and msgid the English. `outreach words` extracts, merges and compiles them
(bot/catalogues.py); only current translations are compiled, so what is missing here is missing or stale.
"""

from __future__ import annotations

import datetime as dt
import functools
import gettext
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from babel.dates import format_date, format_time

from actions.knowledge.load import Knowledge
from actions.knowledge.records import PLACEHOLDER
from actions.organisation import Organisation

LOCALES = Path(__file__).resolve().parents[1] / "locales"
LANGUAGES = ("en", "es", "ht")
DOMAIN = "residents"
NUMBERS = {"911", "988"}

# Babel 2.18 has no Creole month names; these are the project's own (findings of the language guide).
CREOLE_MONTHS = [
    "janvye",
    "fevriye",
    "mas",
    "avril",
    "me",
    "jen",
    "jiyè",
    "out",
    "septanm",
    "oktòb",
    "novanm",
    "desanm",
]


class MissingWords(LookupError):
    """A text that has no current translation. The caller serves English and says so."""


class _Nothing(gettext.NullTranslations):
    """The end of a lookup: gettext would give back the English, we want to know."""

    def pgettext(self, context: str, message: str) -> str:
        raise MissingWords(context)


def spoken_date(date: str, language: str) -> str:
    """An ISO date as long as it is precise, in a language.

    >>> spoken_date("2017-05", "es")
    'mayo de 2017'
    >>> spoken_date("2025-01-07", "ht")
    '7 janvye 2025'
    """
    parts = [int(part) for part in date.split("-")]
    if len(parts) == 1:
        return str(parts[0])
    if language == "ht":
        month = CREOLE_MONTHS[parts[1] - 1]
        day = "" if len(parts) == 2 else ("1ye " if parts[2] == 1 else f"{parts[2]} ")
        return f"{day}{month} {parts[0]}"
    moment = dt.date(parts[0], parts[1], parts[2] if len(parts) == 3 else 1)
    pattern = {
        ("en", 2): "MMMM y",
        ("en", 3): "MMMM d, y",
        ("es", 2): "MMMM 'de' y",
        ("es", 3): "d 'de' MMMM 'de' y",
    }[(language, len(parts))]
    return format_date(moment, pattern, locale=language)


def spoken_phone(number: str) -> str:
    """A phone number as it can be read in every language: "ext. 2229 / 2251"."""
    return number.replace(" or ", " / ")


def spoken_time(time: str, language: str) -> str:
    """HH:MM as people say it: 8:30 a.m., 8:30 a. m."""
    hour, minute = (int(part) for part in time.split(":"))
    if language == "ht":
        return f"{hour % 12 or 12}{f':{minute:02}' if minute else ''} {'a.m.' if hour < 12 else 'p.m.'}"
    text = format_time(dt.time(hour, minute), "h:mm a" if minute else "h a", locale=language)
    for typed, plain in (("\u202f", " "), ("\xa0", " "), ("AM", "a.m."), ("PM", "p.m.")):
        text = text.replace(typed, plain)
    return text


class Words:
    """Renders lines in a language."""

    def __init__(self, knowledge: Knowledge, organisation: Organisation, locales: Path = LOCALES, hours: int = 24):
        """Load the compiled catalogues.

        Args:
            knowledge: texts, facts and directory that placeholders are filled from.
            organisation: who runs the service.
            locales: folder of the catalogues.
            hours: the retention that residents are told.

        Raises:
            FileNotFoundError: when a catalogue is not compiled; run `make setup`.
        """
        self.knowledge = knowledge
        self.organisation = organisation
        self.hours = hours
        self._catalogues: dict[str, gettext.NullTranslations] = {}
        for language in LANGUAGES[1:]:
            try:
                found = gettext.translation(DOMAIN, str(locales), languages=[language])
            except FileNotFoundError as error:
                raise FileNotFoundError(
                    f"{locales}/{language}/LC_MESSAGES/{DOMAIN}.mo is missing; run `make setup` (or outreach words)"
                ) from error
            found.add_fallback(_Nothing())
            self._catalogues[language] = found

    def template(self, text_id: str, language: str) -> str:
        """The text with its placeholders, in a language.

        Raises:
            MissingWords: when there is no current translation.
            KeyError: when no text has this id.
        """
        english = self.knowledge.texts[text_id]
        if language == "en":
            return english
        return self._catalogues[language].pgettext(text_id, english)

    def has(self, text_ids: Sequence[str], language: str) -> bool:
        """Whether all these texts are current in a language."""
        try:
            for text_id in text_ids:
                self.template(text_id, language)
        except MissingWords:
            return False
        return True

    def line(self, text_id: str, language: str, values: Mapping[str, Any] | None = None) -> str:
        """A text, filled."""
        return self.fill(self.template(text_id, language), language, values or {})

    def fill(self, template: str, language: str, values: Mapping[str, Any]) -> str:
        """Put data into the placeholders of a template.

        Raises:
            KeyError: for a placeholder that nothing fills.
        """
        return PLACEHOLDER.sub(
            lambda match: self._value(match.group(1), match.group(2), match.group(3), language, values), template
        )

    def _value(
        self, kind: str, argument: str | None, more: str | None, language: str, values: Mapping[str, Any]
    ) -> str:
        if argument is None:
            if kind in NUMBERS:
                return kind
            if kind in values:
                return self._given(values[kind], language)
            if kind == "org":
                return self.organisation.name or self.line("phrase/org_unset", language)
            if kind == "org_contact":
                return self.organisation.contact
            if kind == "org_privacy":
                return self.organisation.privacy_contact
            if kind == "org_hours":
                return self.organisation.hours.get(language, "")
            if kind == "retention":
                return str(self.hours)
            if kind == "menu":
                return self.line("phrase/menu_word", language)
            raise KeyError(f"nothing fills {{{kind}}}")
        if kind == "day":
            return spoken_date(argument, language)
        if kind in ("phone", "name", "web"):
            entry = self.knowledge.directory[argument]
            if kind == "web":
                if not entry.website:
                    raise KeyError(f"the website of {argument} is unverified or missing")
                return entry.site
            if kind == "name":
                return entry.name
            number = entry.first_phones[int(more or 0)]
            if number is None:
                raise KeyError(f"the number of {argument} is unverified and may not be given")
            return spoken_phone(number)
        fact = self.knowledge.facts[argument]
        if kind == "quote":
            return fact.quote
        date = {"date": fact.effective_from, "until": fact.effective_to, "said": fact.source_date}[kind]
        if date.date is None:
            raise KeyError(f"fact {argument} has no such date")
        return spoken_date(date.date, language)

    def _given(self, value: Any, language: str) -> str:
        """A value of a line: a string, a date, or another line."""
        if isinstance(value, dict) and "id" in value:
            return self.line(value["id"], language, value.get("values"))
        if isinstance(value, dict) and "date" in value:
            return spoken_date(value["date"], language)
        if isinstance(value, dict) and "time" in value:
            return spoken_time(value["time"], language)
        return str(value)


@functools.lru_cache(maxsize=1)
def loaded() -> Words:
    """The project's own words, read once."""
    from actions.knowledge.load import knowledge
    from bot.settings import settings

    return Words(knowledge(), settings().organisation, hours=settings().retention_hours)
