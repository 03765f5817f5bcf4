"""Stale, missing and broken translations: found by the check, never served as current."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest

from actions.answering import line, plan
from actions.organisation import Organisation
from bot import catalogues
from bot.nlg import render
from bot.words import LOCALES, MissingWords, Words


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A copy of the catalogues."""
    shutil.copytree(LOCALES, tmp_path / "locales")
    return tmp_path / "locales"


def _reworded(known: Any, text_id: str, english: str) -> Any:
    return dataclasses.replace(known, texts={**known.texts, text_id: english})


def test_a_changed_english_makes_its_translations_stale(known: Any, own: Path) -> None:
    changed = _reworded(known, "thanks/short", "You are very welcome.")
    catalogues.update(changed, own)
    found = {(finding.language, finding.text, finding.what) for finding in catalogues.check(changed, own)}
    assert found == {("es", "thanks/short", "stale"), ("ht", "thanks/short", "stale")}
    kept = catalogues.by_context(catalogues.read("es", own))["thanks/short"]
    assert kept.id == "You are very welcome."
    assert kept.string, "the old translation stays for the translator to mend"


def test_a_stale_translation_is_not_served(known: Any, own: Path) -> None:
    changed = _reworded(known, "thanks/short", "You are very welcome.")
    catalogues.update(changed, own)
    catalogues.compile_all(changed, own)
    words = Words(changed, Organisation(), own)
    with pytest.raises(MissingWords):
        words.line("thanks/short", "es")
    reply = render(plan("service", "thanks", "es", [[line("thanks/short")]]), words)
    assert reply.fallback
    assert reply.language == "en"
    assert reply.text.startswith(words.line("phrase/english_fallback", "es"))
    assert reply.text.endswith("You are very welcome.")


def test_mended_and_stamped_it_is_served_again(known: Any, own: Path) -> None:
    changed = _reworded(known, "thanks/short", "You are very welcome.")
    merged = catalogues.merge(catalogues.read("es", own), changed.texts, "es")
    catalogues.by_context(merged)["thanks/short"].string = "Con mucho gusto."
    catalogues.stamp(merged, ["thanks/short"])
    catalogues.write(merged, "es", own)
    catalogues.compile_all(changed, own)
    assert Words(changed, Organisation(), own).line("thanks/short", "es") == "Con mucho gusto."


def test_wording_only_keeps_a_translation(known: Any, own: Path) -> None:
    changed = _reworded(known, "thanks/short", "You are welcome! You can write again at any time.")
    merged = catalogues.merge(catalogues.read("ht", own), changed.texts, "ht")
    message = catalogues.by_context(merged)["thanks/short"]
    message.user_comments = [*message.user_comments, "wording only: A Reviewer 2026-11-22"]
    catalogues.write(merged, "ht", own)
    assert [finding for finding in catalogues.check(changed, own) if finding.language == "ht"] == []


def test_broken_placeholders_are_found_and_not_compiled(known: Any, own: Path) -> None:
    merged = catalogues.read("ht", own)
    message = catalogues.by_context(merged)["goodbye/short"]
    message.string = str(message.string).replace("{911}", "{988}")
    catalogues.write(merged, "ht", own)
    found = [finding for finding in catalogues.check(known, own) if finding.what == "placeholders"]
    assert [finding.text for finding in found] == ["goodbye/short"]
    assert "{911}" in found[0].message
    counts = catalogues.compile_all(known, own)
    assert counts["ht"] == counts["es"] - 1


def test_a_missing_translation_is_found(known: Any, own: Path) -> None:
    more = dataclasses.replace(known, texts={**known.texts, "moon/short": "The moon."})
    catalogues.update(more, own)
    assert {(f.language, f.what) for f in catalogues.check(more, own)} == {("es", "missing"), ("ht", "missing")}


def test_urgent_texts_stop_everything_when_stale(known: Any, own: Path) -> None:
    changed = _reworded(known, "emergency/short", "Call {911}.")
    catalogues.update(changed, own)
    with pytest.raises(catalogues.CatalogueError, match="emergency/short"):
        catalogues.require_urgent(changed, own)


def test_a_review_holds_until_text_or_facts_change(known: Any) -> None:
    text_id = "report_crime/short"
    merged = catalogues.merge(catalogues.read("es"), known.texts, "es")
    message = catalogues.by_context(merged)[text_id]
    mark = catalogues.review_hash(str(message.string), text_id, known)
    message.user_comments = [*message.user_comments, f"review: {mark} by A Reader on 2026-11-22"]
    assert catalogues.reviewed_by(message, known) == "A Reader"
    fact_id = known.answers["report_crime"].facts[0]
    fact = dataclasses.replace(known.facts[fact_id], status="unknown", summary="It changed.")
    other = dataclasses.replace(known, facts={**known.facts, fact_id: fact})
    assert catalogues.reviewed_by(message, other) is None
    message.string = str(message.string) + " Otra cosa."
    assert catalogues.reviewed_by(message, known) is None


def test_a_broken_file_is_one_clear_error(own: Path) -> None:
    catalogues.path("es", own).write_bytes(b'msgid "a"\nmsgstr "\xff\xfe"\n')
    with pytest.raises(catalogues.CatalogueError, match=r"residents\.po"):
        catalogues.read("es", own)


def test_updating_twice_changes_nothing(known: Any, own: Path) -> None:
    catalogues.update(known, own)
    assert catalogues.update(known, own) == {"en": False, "es": False, "ht": False}


def test_babel_knows_the_extractor() -> None:
    """`pybabel extract` finds the same texts through the entry point."""
    from babel.messages.extract import extract

    path = Path(__file__).resolve().parents[1] / "actions" / "knowledge" / "phrases.yml"
    from actions.knowledge.load import knowledge

    with path.open("rb") as stream:
        found = list(extract("outreach_knowledge", stream))
    assert {message[3]: message[1] for message in found} == dict(knowledge().texts)
