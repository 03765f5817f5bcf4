"""Dates, times and placeholders in three languages."""

from __future__ import annotations

import pytest

from actions.knowledge.records import placeholders
from bot.words import spoken_date, spoken_time

DATES = [
    # label, date, en, es, ht
    ("a day", "2025-01-07", "January 7, 2025", "7 de enero de 2025", "7 janvye 2025"),
    ("a first of the month", "2019-07-01", "July 1, 2019", "1 de julio de 2019", "1ye jiyè 2019"),
    ("a month", "2017-05", "May 2017", "mayo de 2017", "me 2017"),
    ("August", "2025-08-20", "August 20, 2025", "20 de agosto de 2025", "20 out 2025"),
    ("a year", "2017", "2017", "2017", "2017"),
]


@pytest.mark.parametrize(("label", "date", "en", "es", "ht"), DATES, ids=[row[0] for row in DATES])
def test_dates(label: str, date: str, en: str, es: str, ht: str) -> None:
    assert spoken_date(date, "en") == en
    assert spoken_date(date, "es") == es
    assert spoken_date(date, "ht") == ht


@pytest.mark.parametrize(
    ("time", "language", "said"),
    [
        ("08:30", "en", "8:30 a.m."),
        ("16:00", "en", "4 p.m."),
        ("16:30", "es", "4:30 p. m."),
        ("08:00", "ht", "8 a.m."),
        ("12:00", "ht", "12 p.m."),
    ],
)
def test_times(time: str, language: str, said: str) -> None:
    assert spoken_time(time, language) == said


def test_placeholders_are_found_with_arguments() -> None:
    assert placeholders("Call {911} or {phone:cvac} since {day:2019}; {phone:cvac:1}") == [
        "{911}",
        "{day:2019}",
        "{phone:cvac:1}",
        "{phone:cvac}",
    ]


def test_a_number_that_is_unverified_cannot_be_said(words: object) -> None:
    with pytest.raises(KeyError, match="may not be given"):
        words.fill("{phone:aij}", "en", {})  # type: ignore[attr-defined]
