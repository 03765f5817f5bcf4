"""Plain first questions, as people type them who have just read a flyer: by a writer who never saw the training data."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest

from bot.check import training_messages
from bot.evaluation.outcomes import outcome
from bot.nlu.text import tokens
from tests.conftest import DATA

with (DATA / "plain.tsv").open(encoding="utf-8") as file:
    ROWS = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
LEAST = 0.94
"""Share with the right topic in the right language. Measured: en .98, es .98, ht .95."""


def test_none_of_them_stands_in_the_training_data() -> None:
    trained = {" ".join(tokens(message)) for *_, message in training_messages()}
    assert [row["text"] for row in ROWS if " ".join(tokens(row["text"])) in trained] == []


@pytest.mark.parametrize("language", ["en", "es", "ht"])
def test_plain_questions_are_understood(language: str, talk: Callable[..., list[Any]]) -> None:
    rows = [row for row in ROWS if row["lang"] == language]
    assert len(rows) > 100
    wrong: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        replies = talk(row["text"], "web", conversation=f"plain {row['id']}")
        judged = outcome(replies, {row["topic"]})
        spoken = row["topic"] == "change_language" or all(reply.language == language for reply in replies)
        if judged != "right" or not spoken:
            numbers = re.findall(r"\b(?:911|988)\b", replies[0].text)
            wrong[row["topic"]].append(f"{row['text']!r}: {judged}, {[reply.topic for reply in replies]} {numbers}")
    missed = sum(map(len, wrong.values()))
    assert 1 - missed / len(rows) >= LEAST, f"{missed} of {len(rows)}: {dict(wrong)}"
    assert not [line for topic in ("emergency", "crisis") for line in wrong[topic] if line.endswith("[]")], (
        "danger is heard"
    )
