"""Where residents say they are, and which places help there."""

from __future__ import annotations

from typing import Any

import pytest

from actions import finder
from actions.knowledge.places import Found

NAMED = [
    # label, text, asked?, place id (None: none)
    ("a ZIP code", "33142", False, None),
    ("a ZIP with four more", "im in 33030-1234", False, None),
    ("a city in a sentence", "vivo en hialeah con mis hijos", False, "hialeah"),
    ("a neighbourhood, not its city", "lawyer near little haiti miami", False, "little-haiti"),
    ("in Creole", "mwen rete ti ayiti", False, "little-haiti"),
    ("in Spanish without accents", "cerca de la pequena habana", False, "little-havana"),
    ("the longest form wins", "north miami beach please", False, "north-miami-beach"),
    ("misspelled", "homsted", True, "homestead"),
    ("an ordinary word inside a sentence is no place", "we watched the sunset", False, None),
    ("the same word as the answer to where", "sunset", True, "sunset"),
    ("the county", "miami dade county", True, "miami-dade"),
    ("outside", "fort lauderdale", True, "outside"),
    ("nowhere", "xyzzy", True, None),
    ("nothing", "", True, None),
]


@pytest.mark.parametrize(("label", "text", "asked", "place"), NAMED, ids=[row[0] for row in NAMED])
def test_places_in_words(label: str, text: str, asked: bool, place: str | None, known: Any) -> None:
    found = known.gazetteer.find(text, asked=asked)
    if "ZIP" in label:
        assert found is not None
        assert found.zip in text
    else:
        assert (found.id if found else None) == place


def test_every_zip_and_every_place_is_found_by_its_name(known: Any) -> None:
    gazetteer = known.gazetteer
    for zip_code, places in gazetteer.zips.items():
        found = gazetteer.find(zip_code)
        assert found
        assert found.zip == zip_code
        assert places
        assert all(place in gazetteer.places for place in places)
    for place in gazetteer.places.values():
        assert gazetteer.find(place.name, asked=True).id == place.id, place.name


def test_a_zip_of_another_county_is_outside(known: Any) -> None:
    assert known.gazetteer.find("33301").id == "outside"


FITS = [
    # label, case, language, place, must be among them, must not
    ("workers in the south", "workplace", "es", "homestead", {"dol-whd"}, {"broward-legal-aid"}),
    ("workers in the north", "workplace", "en", "aventura", set(), {"wecount", "mujer"}),
    ("abuse", "domestic_violence", "en", "hialeah", {"cvac"}, {"women-in-distress"}),
    ("anything", None, "en", None, {"casa"}, {"florida-bar-lrs", "fiu-clinic"}),
]


@pytest.mark.parametrize(("label", "case", "language", "place", "among", "never"), FITS, ids=[row[0] for row in FITS])
def test_the_places_that_help(
    label: str, case: str | None, language: str, place: str | None, among: set[str], never: set[str], known: Any
) -> None:
    found = known.gazetteer.find(place, asked=True) if place else None
    ids = finder.legal_ids(known, case)
    best = {entry.id for entry in finder.find(known, ids, language, case, found)}
    assert 1 <= len(best) <= 3
    assert among <= best
    if label == "workers in the south":
        assert "wecount" in {entry.id for entry in finder.find(known, ids, language, case, found, most=99)}
    every = {entry.id for entry in finder.find(known, ids, language, case, found, most=99)}
    assert not never & every
    assert "raise-flic" not in every, "the hotline is named after the list"


def test_a_place_outside_gets_no_county_only_places(known: Any) -> None:
    outside = Found("outside", "Orlando")
    for entry in finder.find(known, finder.legal_ids(known, None), "en", None, outside, most=99):
        assert entry.area["kind"] != "county", entry.id


def test_nothing_without_a_way_to_reach_it(known: Any) -> None:
    for case in (None, "immigration", "workplace", "domestic_violence", "trafficking"):
        for entry in finder.find(known, list(known.directory), "ht", case, None, most=99):
            assert entry.phones or entry.website
            assert entry.serve
