"""Reads the knowledge files into one `Knowledge`. Every fault names its file, record and what to do."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from actions.knowledge.places import Gazetteer
from actions.knowledge.records import Answer, Change, Entry, Fact, PartialDate, Passage

FOLDER = Path(__file__).resolve().parent
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class KnowledgeError(ValueError):
    """A knowledge file that cannot be used: says which, where, and what to do."""


@dataclass(frozen=True)
class Knowledge:
    """All that the assistant may say something about."""

    topics: Mapping[str, str]
    """topic id -> policy, urgent or service."""
    facts: Mapping[str, Fact]
    answers: Mapping[str, Answer]
    directory: Mapping[str, Entry]
    gazetteer: Gazetteer
    texts: Mapping[str, str] = field(repr=False)
    """text id (the catalogues' msgctxt) -> English."""

    def passages(self) -> Mapping[str, Passage]:
        """The passages of policy_text by id, in the order of its file."""
        return {passage.id: passage for passage in self.answers["policy_text"].passages}

    def changes(self) -> Mapping[str, Change]:
        """The changes of policy_changes by id, in the order of its file."""
        return {change.id: change for change in self.answers["policy_changes"].changes}


def read_yaml(path: Path) -> Any:
    """The content of a YAML file.

    Raises:
        KnowledgeError: when it is missing or no YAML.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=Loader)  # noqa: S506 (the safe loader, in C)
    except OSError as error:
        raise KnowledgeError(f"{path}: cannot be read ({error.strerror}); restore the file") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        raise KnowledgeError(f"{path}{where}: not valid YAML; check quotes and indentation") from error


def _date(value: Any, path: Path, where: str) -> dt.date | None:
    if value is None or isinstance(value, dt.date):
        return value
    try:
        return dt.date.fromisoformat(str(value))
    except ValueError as error:
        raise KnowledgeError(f"{path}: {where}: {value!r} is no date; write YYYY-MM-DD") from error


def _partial(value: Any, path: Path, where: str) -> PartialDate:
    try:
        return PartialDate(
            None if value["date"] is None else str(value["date"]), value["precision"], value.get("note", "")
        )
    except (TypeError, KeyError) as error:
        raise KnowledgeError(f"{path}: {where}: needs date, precision and note") from error


def _fact(record: Mapping[str, Any], path: Path) -> Fact:
    where = f"fact {record.get('id')}"
    try:
        serve = record["serve"]
        checked = _date(record.get("checked_on"), path, where)
        review_by = _date(record["review_by"], path, where)
        if review_by is None:
            raise KnowledgeError(
                f"{path}: {where}: review_by is empty; write the day by which it must be checked again"
            )
        return Fact(
            id=record["id"],
            topic=record["topic"],
            topics=tuple(record["topics"]),
            jurisdiction=record["jurisdiction"],
            title=record["title"],
            quote=record["quote"],
            quote_language=record.get("quote_language"),
            summary=record["summary"],
            citation=record["citation"],
            effective_from=_partial(record["effective_from"], path, f"{where}, effective_from"),
            effective_to=_partial(record["effective_to"], path, f"{where}, effective_to"),
            source_url=record["source_url"],
            source_date=_partial(record["source_date"], path, f"{where}, source_date"),
            checked_on=checked,
            review_by=review_by,
            status=record["status"],
            kind=record["kind"],
            confidence=record["confidence"],
            serve_quote=bool(serve["quote"]),
            serve_summary=serve["summary"],
            seen=record.get("seen", ""),
            reviewed=record.get("reviewed"),
            raw=record,
        )
    except KeyError as error:
        raise KnowledgeError(f"{path}: {where}: field {error} is missing") from error


def _entry(record: Mapping[str, Any], path: Path) -> Entry:
    where = f"directory entry {record.get('id')}"
    try:
        blocked = {blocked for item in record["unverified"] for blocked in item["paths"]}
        numbers = tuple(
            None if f"phones[{index}].number" in blocked else str(phone["number"])
            for index, phone in enumerate(record["phones"])
        )
        review_by = _date(record["review_by"], path, where)
        if review_by is None:
            raise KnowledgeError(
                f"{path}: {where}: review_by is empty; write the day by which it must be checked again"
            )
        languages = frozenset(
            item["code"]
            for item in record["languages"]
            if "languages" not in blocked and f"languages.{item['code']}" not in blocked
        )
        hours = record["hours"]
        return Entry(
            id=str(record["id"]),
            name=record["name"],
            phones=tuple((p["label"], n) for p, n in zip(record["phones"], numbers, strict=True) if n),
            first_phones=numbers,
            website="" if "website" in blocked else record["website"],
            address="" if "address" in blocked else record["address"],
            languages=languages,
            hours=None if "hours" in blocked or hours["kind"] == "unknown" else hours,
            cost="unknown" if "cost" in blocked else record["cost"],
            cases=tuple(record["cases"]),
            area=record["area"],
            at="" if "address" in blocked else record["at"],
            legal=bool(record["legal"]),
            helps_with=record["helps_with"],
            topics=tuple(record["topics"]),
            source_url=record["source_url"],
            checked_on=_date(record.get("checked_on"), path, where),
            review_by=review_by,
            serve=bool(record["serve"]) and "service" not in blocked,
            reviewed=record.get("reviewed"),
            raw=record,
        )
    except KeyError as error:
        raise KnowledgeError(f"{path}: {where}: field {error} is missing") from error


def _answer(record: Mapping[str, Any], path: Path) -> Answer:
    try:
        facts = record.get("facts") or {}
        return Answer(
            topic=record["topic"],
            title=record["title"],
            short=record["short"].strip(),
            more=tuple(paragraph.strip() for paragraph in record.get("more") or ()),
            facts=tuple(facts.get("short") or ()),
            more_facts=tuple(facts.get("more") or ()),
            directory=tuple(str(item) for item in record.get("directory") or ()),
            next=tuple(record.get("next") or ()),
            variants={name: text.strip() for name, text in (record.get("variants") or {}).items()},
            passages=tuple(
                Passage(
                    p["id"],
                    p["title"],
                    p["fact"],
                    tuple(p.get("topics") or ()),
                    p["standing"].strip(),
                    tuple(p.get("about") or ()),
                )
                for p in record.get("passages") or ()
            ),
            changes=tuple(
                Change(
                    c["id"],
                    c["title"],
                    tuple(c.get("topics") or ()),
                    tuple(c.get("about") or ()),
                    tuple(c.get("facts") or ()),
                    c["status"],
                    c["text"].strip(),
                )
                for c in record.get("items") or ()
            ),
        )
    except KeyError as error:
        raise KnowledgeError(f"{path}: field {error} is missing") from error


def _texts(answers: Mapping[str, Answer], directory: Mapping[str, Entry], phrases: Mapping[str, str]) -> dict[str, str]:
    """Every English text that residents can read, by its id."""
    texts: dict[str, str] = {f"phrase/{name}": text.strip() for name, text in phrases.items()}
    for topic, answer in answers.items():
        texts[f"{topic}/title"] = answer.title
        texts[f"{topic}/short"] = answer.short
        texts.update({f"{topic}/more/{number}": text for number, text in enumerate(answer.more, 1)})
        texts.update({f"{topic}/{name}": text for name, text in answer.variants.items()})
        for passage in answer.passages:
            texts[f"passage/{passage.id}/title"] = passage.title
            texts[f"passage/{passage.id}/standing"] = passage.standing
        for change in answer.changes:
            texts[f"change/{change.id}/title"] = change.title
            texts[f"change/{change.id}/text"] = change.text
    for entry in directory.values():
        texts[f"directory/{entry.id}/helps_with"] = entry.helps_with
    return texts


def load(folder: Path = FOLDER) -> Knowledge:
    """Read topics.yml, facts/, answers/, directory/, places.yml and phrases.yml.

    Raises:
        KnowledgeError: naming file, record and field.
    """
    topics = {
        topic: kind
        for kind in ("policy", "urgent", "service")
        for topic in read_yaml(folder / "topics.yml")[f"{kind}_topics"]
    }
    facts: dict[str, Fact] = {}
    for path in sorted((folder / "facts").glob("*.yml")):
        for record in read_yaml(path):
            fact = _fact(record, path)
            if fact.id in facts:
                raise KnowledgeError(f"{path}: fact {fact.id} stands in two files; keep one")
            facts[fact.id] = fact
    directory: dict[str, Entry] = {}
    for path in sorted((folder / "directory").glob("*.yml")):
        for record in read_yaml(path):
            entry = _entry(record, path)
            if entry.id in directory:
                raise KnowledgeError(f"{path}: directory entry {entry.id} stands in two files; keep one")
            directory[entry.id] = entry
    answers = {}
    for topic in topics:
        path = folder / "answers" / f"{topic}.yml"
        answers[topic] = _answer(read_yaml(path), path)
    phrases = read_yaml(folder / "phrases.yml")
    gazetteer = Gazetteer.from_data(read_yaml(folder / "places.yml"))
    texts = _texts(answers, directory, phrases)
    for passage in answers["policy_text"].passages:
        if passage.fact not in facts:
            raise KnowledgeError(f"answers/policy_text.yml: passage {passage.id}: no fact {passage.fact}")
        texts[f"passage/{passage.id}/quote"] = facts[passage.fact].quote
    return Knowledge(topics, facts, answers, directory, gazetteer, texts)


@functools.lru_cache(maxsize=1)
def knowledge() -> Knowledge:
    """The project's own knowledge, read once."""
    return load()
