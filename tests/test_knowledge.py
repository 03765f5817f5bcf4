"""The knowledge files as they are, and the check against broken ones."""

from __future__ import annotations

import copy
import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from actions.knowledge.load import FOLDER, KnowledgeError, load
from bot.check import check_domain, check_knowledge, check_training, near_duplicates


def test_everything_is_there(known: Any) -> None:
    kinds = list(known.topics.values())
    assert len(known.facts) == 128
    assert len(known.directory) == 64
    assert (kinds.count("policy"), kinds.count("urgent"), kinds.count("service")) == (21, 2, 11)
    assert set(known.answers) == set(known.topics)
    assert len(known.gazetteer.zips) == 127
    assert sum(place.kind == "city" for place in known.gazetteer.places.values()) == 34


def test_the_project_s_own_knowledge_is_in_order(known: Any) -> None:
    assert [str(problem) for problem in (*check_knowledge(known), *check_domain(known), *check_training(known))] == []


def test_nothing_unverified_is_rested_on(known: Any) -> None:
    for topic, answer in known.answers.items():
        for fact_id in (*answer.facts, *answer.more_facts):
            fact = known.facts[fact_id]
            assert fact.confidence != "unverified", (topic, fact_id)
            assert fact.serve_quote or fact.serve_summary != "none", (topic, fact_id)
            if fact.confidence == "seen_partial":
                assert fact.serve_summary != "full", (topic, fact_id)


def test_the_civilian_panels_and_the_ice_line_are_in_no_directory(known: Any) -> None:
    for entry in known.directory.values():
        assert "civilian" not in entry.name.lower()
        assert "347-2423" not in str(entry.first_phones)


def test_dates_are_as_precise_as_they_say(known: Any) -> None:
    for fact in known.facts.values():
        for date in (fact.effective_from, fact.effective_to, fact.source_date):
            if date.date:
                dt.date.fromisoformat((date.date + "-01-01")[:10])
                assert len(date.date) == {"day": 10, "month": 7, "year": 4}[date.precision], fact.id


@dataclass(frozen=True)
class Broken:
    """A change to a copy of the knowledge, and what the check says of it."""

    label: str
    file: str
    change: Callable[[Any], Any]
    says: str


def _set(record: Any, **fields: Any) -> Any:
    record.update(fields)
    return record


BROKEN = [
    Broken(
        "an unknown fact", "answers/schools.yml", lambda a: _set(a, facts={"short": ["moon-law"]}), "no fact 'moon-law'"
    ),
    Broken(
        "an unknown place that helps",
        "answers/schools.yml",
        lambda a: _set(a, directory=["nobody"]),
        "no directory entry",
    ),
    Broken(
        "an unverified phone",
        "answers/schools.yml",
        lambda a: _set(a, short="Call {phone:aij}."),
        "unverified or missing",
    ),
    Broken(
        "a typed phone", "answers/schools.yml", lambda a: _set(a, short="Call 305-995-1000."), "types a phone number"
    ),
    Broken("a typed 911", "answers/schools.yml", lambda a: _set(a, short="Call 911."), "types a phone number"),
    Broken(
        "a date that nobody knows",
        "answers/schools.yml",
        lambda a: _set(a, short="Since {date:crime-stoppers}."),
        "has no such date",
    ),
    Broken("another topic's file", "answers/schools.yml", lambda a: _set(a, topic="at_home"), "one stem"),
    Broken("no rest", "answers/schools.yml", lambda a: _set(a, more=[]), "needs `more`"),
    Broken(
        "an unknown status", "facts/schools.yml", lambda f: [_set(f[0], status="maybe"), *f[1:]], "status is 'maybe'"
    ),
    Broken(
        "a date of another precision",
        "facts/schools.yml",
        lambda f: [_set(f[0], effective_from={"date": "2019", "precision": "day", "note": ""}), *f[1:]],
        "does not fit precision",
    ),
    Broken(
        "serving what nobody saw",
        "facts/schools.yml",
        lambda f: [_set(f[0], confidence="unverified", serve={"quote": False, "summary": "full", "note": ""}), *f[1:]],
        "is unverified and may not be served",
    ),
]


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.label)
def test_broken_knowledge_is_found(broken: Broken, tmp_path: Path) -> None:
    for path in FOLDER.rglob("*.yml"):
        target = tmp_path / path.relative_to(FOLDER)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    file = tmp_path / broken.file
    data = broken.change(copy.deepcopy(yaml.safe_load(file.read_text(encoding="utf-8"))))
    file.write_text(yaml.safe_dump(data, allow_unicode=True), encoding="utf-8")
    said = "\n".join(str(problem) for problem in check_knowledge(load(tmp_path)))
    assert broken.says in said, said


@pytest.mark.parametrize(
    ("label", "file", "content", "says"),
    [
        ("no YAML", "answers/schools.yml", "short: [", "not valid YAML"),
        ("a missing field", "answers/schools.yml", "topic: schools\ntitle: Schools\n", "field 'short' is missing"),
        ("a missing file", "phrases.yml", None, "cannot be read"),
        ("no date", "facts/schools.yml", None, "is no date"),
    ],
)
def test_files_that_cannot_be_read_name_themselves(
    label: str, file: str, content: str | None, says: str, tmp_path: Path
) -> None:
    for path in FOLDER.rglob("*.yml"):
        target = tmp_path / path.relative_to(FOLDER)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    if content is not None:
        (tmp_path / file).write_text(content, encoding="utf-8")
    elif label == "a missing file":
        (tmp_path / file).unlink()
    else:
        text = (tmp_path / file).read_text(encoding="utf-8")
        (tmp_path / file).write_text(text.replace("review_by: '2027-02-20'", "review_by: soon"), encoding="utf-8")
    with pytest.raises(KnowledgeError, match=says) as caught:
        load(tmp_path)
    assert Path(file).name in str(caught.value)


def test_near_duplicates_are_found() -> None:
    pairs = near_duplicates(
        [
            ("a", "can the police ask me for my papers at a traffic stop"),
            ("b", "Can the police ask me for my papers at the traffic stop?"),
            ("c", "my landlord took my passport and will not give it back"),
            ("d", "ok"),
            ("e", "ok"),
        ]
    )
    assert [(first.split()[0], second.split()[0]) for first, second in pairs] == [("a", "b")]
