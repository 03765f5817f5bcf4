"""What the project knows, as records. Data is in the YAML files beside this module; nothing here knows of Rasa."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

STATUSES = ("in_force", "historical", "blocked", "disputed", "unknown")
PRECISIONS = ("day", "month", "year", "open", "unknown")
CASES = (
    "immigration",
    "crime_victim",
    "domestic_violence",
    "sexual_assault",
    "trafficking",
    "workplace",
    "detention",
    "criminal_defense",
    "civil_rights",
    "police_complaint",
    "immigration_fraud",
    "schools",
    "family",
    "housing",
    "general_referral",
    "crisis",
    "emergency",
    "report_crime",
    "tips",
    "health",
)
"""Kinds of case."""


@dataclass(frozen=True)
class PartialDate:
    """A date as well as a source tells it."""

    date: str | None
    """ISO, as long as it is precise: 2017, 2017-05 or 2017-05-18; None when none is known."""
    precision: str
    """day, month, year; open (no end was found); unknown."""
    note: str = ""
    """What the source says besides."""

    @property
    def sortable(self) -> str:
        """The latest day that the date can mean; "" when there is none."""
        return "" if self.date is None else (self.date + "-99-99")[:10]


@dataclass(frozen=True)
class Fact:
    """One thing that a source says."""

    id: str
    topic: str
    topics: tuple[str, ...]
    jurisdiction: str
    title: str
    quote: str
    """To the letter, "" when none was seen."""
    quote_language: str | None
    summary: str
    citation: str
    effective_from: PartialDate
    effective_to: PartialDate
    source_url: str
    source_date: PartialDate
    checked_on: dt.date | None
    """Day of the second look at the record; None when there was none."""
    review_by: dt.date
    status: str
    kind: str
    confidence: str
    serve_quote: bool
    serve_summary: str
    """full, seen (only `seen`) or none."""
    seen: str
    reviewed: Mapping[str, Any] | None
    raw: Mapping[str, Any] = field(repr=False, compare=False, default_factory=dict)
    """The whole record as it stands in its file."""

    @property
    def served(self) -> bool:
        """Whether an answer may rest on it."""
        return self.confidence != "unverified" and (self.serve_quote or self.serve_summary != "none")

    @property
    def hash(self) -> str:
        """Of the fields that a review rests on."""
        parts = (self.quote, self.summary, self.seen, self.citation, self.status, self.effective_from, self.source_url)
        return fingerprint(map(str, parts))


@dataclass(frozen=True)
class Passage:
    """Words of a policy or law that can be shown."""

    id: str
    title: str
    fact: str
    topics: tuple[str, ...]
    """Topics after which "where does it say that?" means this passage."""
    standing: str
    """What it is and how it stands."""
    about: tuple[str, ...] = ()
    """English words that people use for it."""


@dataclass(frozen=True)
class Change:
    """One rule that changed."""

    id: str
    title: str
    topics: tuple[str, ...]
    about: tuple[str, ...]
    """English words that people use for it."""
    facts: tuple[str, ...]
    status: str
    text: str


@dataclass(frozen=True)
class Answer:
    """What the assistant says on one topic, in English; translations are in the catalogues."""

    topic: str
    title: str
    short: str
    more: tuple[str, ...]
    facts: tuple[str, ...]
    more_facts: tuple[str, ...]
    directory: tuple[str, ...]
    next: tuple[str, ...]
    variants: Mapping[str, str]
    """Further sentences of this topic, by name."""
    passages: tuple[Passage, ...] = ()
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True)
class Entry:
    """A place that helps."""

    id: str
    name: str
    phones: tuple[tuple[str, str], ...]
    """(label, number) of the phones that may be given."""
    first_phones: tuple[str | None, ...]
    """All numbers in the record's order, None where one may not be given."""
    website: str
    address: str
    languages: frozenset[str]
    """Codes that a source confirms."""
    hours: Mapping[str, Any] | None
    """None when not known or not confirmed."""
    cost: str
    cases: tuple[str, ...]
    area: Mapping[str, Any]
    at: str
    legal: bool
    helps_with: str
    topics: tuple[str, ...]
    source_url: str
    checked_on: dt.date | None
    review_by: dt.date
    serve: bool
    reviewed: Mapping[str, Any] | None
    raw: Mapping[str, Any] = field(repr=False, compare=False, default_factory=dict)

    @property
    def site(self) -> str:
        """The website as people type it."""
        return self.website.removeprefix("https://").removeprefix("http://").removeprefix("www.").rstrip("/")

    @property
    def hash(self) -> str:
        """Of the fields that a review rests on."""
        return fingerprint([self.name, self.helps_with, self.phones, self.hours, self.cost, self.area, self.languages])


@dataclass(frozen=True)
class Place:
    """A city, community or neighbourhood."""

    id: str
    name: str
    kind: str
    parent: str
    zips: tuple[str, ...]
    lat: float
    lon: float


def fingerprint(parts: Iterable[Any]) -> str:
    """Twelve hex digits that change with the parts; sets in sorted order, so that it is the same in every process."""
    text = "\x1f".join(str(sorted(part) if isinstance(part, (set, frozenset)) else part) for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


# --- placeholders -------------------------------------------------------------------------------

PLACEHOLDER = re.compile(r"\{([a-z_0-9]+)(?::([^{}:]+))?(?::([^{}:]+))?\}")
"""{911}, {phone:cvac}, {phone:cvac:1}, {date:fact-id}, {value}."""


def placeholders(text: str) -> list[str]:
    """The placeholders of a text, sorted: what a translation must have too."""
    return sorted(match.group(0) for match in PLACEHOLDER.finditer(text))
