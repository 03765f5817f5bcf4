"""Places of Miami-Dade County: from words to a place id, and how far two places are apart."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from actions.knowledge.records import Place

_ZIP = re.compile(r"(?<!\d)(\d{5})(?:-\d{4})?(?!\d)")
_WORDS = re.compile(r"[a-z0-9]+")
COUNTY = "miami-dade"
OUTSIDE = "outside"


def fold(text: str) -> str:
    """Lower case, accents away, everything else than letters and digits as one blank."""
    text = unicodedata.normalize("NFKD", text.lower())
    return " ".join(_WORDS.findall("".join(c for c in text if not unicodedata.combining(c))))


@dataclass(frozen=True)
class Found:
    """A place that a text names."""

    id: str
    """A place id; "miami-dade" for the county as a whole; "outside" for a place beyond it."""
    name: str
    """Its name as written in English, "" for a bare ZIP code."""
    zip: str = ""


@dataclass
class Gazetteer:
    """All places and the ways people write them."""

    places: Mapping[str, Place]
    zips: Mapping[str, tuple[str, ...]]
    """ZIP code -> place ids, likeliest first."""
    points: Mapping[str, tuple[float, float]]
    """ZIP code -> latitude, longitude."""
    forms: Mapping[str, Found]
    """Folded form -> what it names."""
    weak: frozenset[str]
    """Forms that are ordinary words too: believed only as the whole answer to "where?"."""
    outside_zips: frozenset[str]
    longest: int

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Gazetteer:
        """From places.yml as parsed."""
        places: dict[str, Place] = {}
        forms: dict[str, Found] = {}
        county = data["county"]
        for form in (county["name"], *county["aliases"]):
            forms[fold(form)] = Found(COUNTY, county["name"])
        for item in data["outside"]:
            for form in (item["name"], *item["aliases"]):
                forms[fold(form)] = Found(OUTSIDE, item["name"])
        for item in data["places"]:
            place = Place(
                item["id"], item["name"], item["kind"], item["in"], tuple(item["zips"]), item["lat"], item["lon"]
            )
            places[place.id] = place
            for form in (place.name, *item["aliases"]):
                forms[fold(form)] = Found(place.id, place.name)
        zips = {code: tuple(item["places"]) for code, item in data["zips"].items()}
        points = {code: (item["lat"], item["lon"]) for code, item in data["zips"].items()}
        outside = {str(code) for codes in data["outside_zips"].values() for code in codes}
        longest = max(len(form.split()) for form in forms)
        return cls(places, zips, points, forms, frozenset(map(fold, data["weak"])), frozenset(outside), longest)

    def find(self, text: str, *, asked: bool = False) -> Found | None:
        """The place that a text names, the longest form first; None when it names none.

        Args:
            text: a resident's words.
            asked: the text answers "where?", so that a weak form counts when it is the whole text.

        >>> gazetteer.find("vivo cerca de la pequeña habana").id   # doctest: +SKIP
        'little-havana'
        """
        for match in _ZIP.finditer(text):
            code = match.group(1)
            if code in self.zips:
                first = self.zips[code][0]
                return Found(first, "", code)
            if code in self.outside_zips:
                return Found(OUTSIDE, code, code)
        folded = fold(text)
        if asked and folded in self.forms:
            return self.forms[folded]
        words = folded.split()
        best: Found | None = None
        for length in range(min(self.longest, len(words)), 0, -1):
            for start in range(len(words) - length + 1):
                form = " ".join(words[start : start + length])
                found = self.forms.get(form)
                if found and form not in self.weak:
                    # "Miami" and the county say little: anything more exact in the text wins.
                    if found.id not in ("miami", COUNTY):
                        return found
                    best = best or found
        return best

    def point(self, found: Found | None) -> tuple[float, float] | None:
        """Latitude and longitude of a found place, None for the county, places outside and none."""
        if found is None or found.id in (COUNTY, OUTSIDE):
            return None
        if found.zip in self.points:
            return self.points[found.zip]
        place = self.places.get(found.id)
        return (place.lat, place.lon) if place else None

    def names(self, place_id: str) -> set[str]:
        """Folded names of a place and of what it lies in."""
        names: set[str] = set()
        while place_id in self.places:
            names.add(fold(self.places[place_id].name))
            place_id = self.places[place_id].parent
        return names


def miles(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Distance of two points in miles, on a flat county (error under 1 % here)."""
    north = (a[0] - b[0]) * 69.0
    east = (a[1] - b[1]) * 69.0 * math.cos(math.radians((a[0] + b[0]) / 2))
    return math.hypot(north, east)
