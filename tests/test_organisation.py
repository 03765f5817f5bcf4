"""Who runs the service: what residents read of it, and files that cannot be used."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from actions.answering import Answering, Conversation
from actions.freshness import Withdrawals
from actions.knowledge.load import KnowledgeError
from actions.organisation import Organisation, read
from bot.nlg import render
from bot.nlu.understanding import Understanding
from bot.words import Words
from tests.conftest import ROOT, outreach

EXAMPLE = ROOT / "deployment" / "organisation.example.yml"
TODAY = dt.date(2026, 11, 22)


def _say(topic: str, language: str, own: Organisation, known: Any, command: str | None = None, more: Any = None) -> str:
    understood = {**Understanding(topics=[] if command else [topic], language=language, command=command).as_dict()}
    understood.update(brief=False, stop_words=True, introduced=False)
    before = Conversation(language=language, introduced=command is not None, more=more)
    turn = Answering(known, Withdrawals(), own.kind if own.set_up else None).answer(understood, before, TODAY)
    words = Words(known, own)
    return "\n".join(render(plan, words).text for plan in turn.plans)


@pytest.mark.parametrize("language", ["en", "es", "ht"])
def test_an_organisation_is_named(language: str, known: Any) -> None:
    own = read(EXAMPLE)
    for topic in ("bot_identity", "human_handoff", "help_menu", "police_questions"):
        assert own.name in _say(topic, language, own, known), topic
    assert own.contact in _say("human_handoff", language, own, known)
    assert own.hours[language] in _say("human_handoff", language, own, known)


@pytest.mark.parametrize("language", ["en", "es", "ht"])
def test_nonprofit_and_agency_differ_about_public_records(
    language: str, known: Any, tmp_path: Path, words: Any
) -> None:
    data = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    (tmp_path / "o.yml").write_text(yaml.safe_dump({**data, "kind": "public agency"}), encoding="utf-8")
    said = {}
    for own in (read(EXAMPLE), read(tmp_path / "o.yml")):
        said[own.kind] = _say("privacy", language, own, known, "more", {"topic": "privacy", "from": 0})
    law = {"en": "public-records law", "es": "registros p", "ht": "dosye piblik"}[language]
    assert law in said["public agency"]
    assert law not in said["nonprofit"]


@pytest.mark.parametrize("language", ["en", "es", "ht"])
@pytest.mark.parametrize("kind", ["nonprofit", "public agency"])
def test_who_asks_about_privacy_reads_whom_to_ask(language: str, kind: str, known: Any) -> None:
    own = replace(read(EXAMPLE), kind=kind)
    rest = _say("privacy", language, own, known, "more", {"topic": "privacy", "from": 0})
    assert own.name in rest
    assert own.privacy_contact in rest
    unset = _say("privacy", language, Organisation(), known, "more", {"topic": "privacy", "from": 0})
    assert ": ." not in unset, "nobody is named where nobody is set up"


@pytest.mark.parametrize("language", ["en", "es", "ht"])
def test_without_one_the_texts_say_so(language: str, known: Any, words: Any) -> None:
    unset = words.line("phrase/org_unset", language)
    assert unset in _say("bot_identity", language, Organisation(), known)
    assert ": . " not in _say("human_handoff", language, Organisation(), known)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": ""}, "name is empty"),
        ({"kind": "company"}, "kind is 'company'"),
        ({"hours": {"en": "always"}}, "hours lack es, ht"),
        ({"colour": "red"}, "unknown field 'colour'"),
    ],
)
def test_a_file_that_cannot_be_used_names_its_field(change: dict[str, Any], says: str, tmp_path: Path) -> None:
    data = {**yaml.safe_load(EXAMPLE.read_text(encoding="utf-8")), **change}
    (tmp_path / "o.yml").write_text(yaml.safe_dump(data), encoding="utf-8")
    with pytest.raises(KnowledgeError, match=says):
        read(tmp_path / "o.yml")


def test_without_an_organisation_only_localhost() -> None:
    done = outreach("run", "--port", "8399", environment={"OUTREACH_HOST": "0.0.0.0"})
    assert done.returncode == 2
    assert "does not say who runs the service" in done.stderr


def test_settings_that_cannot_be_used_name_their_variable() -> None:
    for name, value in (
        ("RETENTION_HOURS", "soon"),
        ("CONTEXT_MINUTES", "-1"),
        ("OUTREACH_ORGANISATION", "/nowhere.yml"),
    ):
        done = outreach("run", "--port", "8399", environment={name: value})
        assert done.returncode == 2, name
        assert name in done.stderr
