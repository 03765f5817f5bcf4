"""Which places help: by kind of case, where the resident is, and language."""

from __future__ import annotations

from collections.abc import Sequence

from actions.knowledge.load import Knowledge
from actions.knowledge.places import COUNTY, OUTSIDE, Found, fold, miles
from actions.knowledge.records import Entry

MOST = 3
HOTLINE = "raise-flic"
"""Named after every list, so it is not on it."""
SOUTH = 25.68
"""Latitude south of which "South Dade" and "Homestead" serve (Kendall Drive)."""
_WHOLE = {"miami-dade", "south florida", "florida"}
NEAREST = 12.0
"""Miles over which nearness counts."""


def serves(entry: Entry, found: Found | None, knowledge: Knowledge) -> bool:
    """Whether an entry serves people at a place (None: anywhere in the county)."""
    kind = entry.area["kind"]
    named = {fold(str(name)).replace("miami dade", "miami-dade") for name in entry.area.get("places") or ()}
    if kind in ("state", "national"):
        return True
    if found is not None and found.id == OUTSIDE:
        return kind == "region" and bool(named - {"south dade", "homestead"})
    if kind == "county" or named & _WHOLE:
        return True
    if found is None or found.id == COUNTY:
        return False
    if named & {"south dade", "homestead"}:
        point = knowledge.gazetteer.point(found)
        return point is not None and point[0] < SOUTH
    # Cities. A ZIP code touches several places; its likeliest one decides.
    return bool(named & set(knowledge.gazetteer.names(found.id)))


def _score(
    entry: Entry, case: str | None, found: Found | None, language: str, knowledge: Knowledge, order: int
) -> float:
    score = 0.0
    if case and case in entry.cases:
        score += 6
    elif case is None and "immigration" in entry.cases:
        score += 3 if entry.cases[0] == "immigration" else 1
    elif "immigration" in entry.cases or "general_referral" in entry.cases:
        score += 1
    score += 4 if entry.phones else 0
    score += 2 if language in entry.languages else 0
    here = knowledge.gazetteer.point(found)
    if here and entry.at:
        at = knowledge.gazetteer.find(entry.at, asked=True)
        there = knowledge.gazetteer.point(at)
        if there:
            score += max(0.0, 1 - miles(here, there) / NEAREST) * 1.5
    if entry.area["kind"] in ("city", "county"):
        score += 0.5
    return score - order * 0.01


def find(
    knowledge: Knowledge,
    ids: Sequence[str],
    language: str,
    case: str | None = None,
    found: Found | None = None,
    most: int = MOST,
) -> list[Entry]:
    """Up to `most` entries that fit, best first.

    Args:
        knowledge: the directory and the places.
        ids: the entries to choose from, in the topic's own order (it decides between equals).
        language: en, es or ht: entries where a source confirms it come first.
        case: a kind of case (records.CASES), None for any.
        found: where the resident is, None when not known.
    """
    candidates = []
    for order, entry_id in enumerate(ids):
        entry = knowledge.directory[entry_id]
        if not entry.serve or entry.id in ("911", "988", HOTLINE) or not (entry.phones or entry.website):
            continue
        if not serves(entry, found, knowledge):
            continue
        candidates.append((_score(entry, case, found, language, knowledge, order), entry))
    candidates.sort(key=lambda pair: -pair[0])
    return [entry for _, entry in candidates[:most]]


def legal_ids(knowledge: Knowledge, case: str | None) -> list[str]:
    """Entries for a legal-aid question: the topic's own list, and what gives legal help for the case."""
    own = list(knowledge.answers["legal_aid"].directory)
    extra = [
        entry.id
        for entry in knowledge.directory.values()
        if entry.id not in own
        and case
        and case in entry.cases
        and (entry.legal or case in ("workplace", "immigration_fraud"))
    ]
    return own + extra
