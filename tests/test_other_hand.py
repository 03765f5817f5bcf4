"""The other person with the phone: once the short clock has run out, nothing that was talked about is said again.

Whatever they can write to bring it back is a keyword, a number or a button, for which no model is asked; so none is loaded here.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from actions import clock
from actions.answering import Answering, Conversation
from actions.freshness import Withdrawals
from bot.nlu import keywords
from bot.nlu.lexicon import Concepts
from bot.nlu.understanding import Context, understand
from bot.privacy.records import Record
from bot.privacy.store import MemoryStore, Store
from bot.privacy.store_file import FileStore
from bot.settings import SENSITIVE_TOPICS, Settings
from tests.conftest import NOW

OWN = Settings(data=Path("var"), retention_hours=24)
CONCEPTS = Concepts.load()


@dataclass(frozen=True)
class Written:
    """What somebody writes who wants to read more."""

    label: str
    text: str
    topics: frozenset[str]
    """Talked about when it says something of it while the clock runs: the test could fail."""


ALL = frozenset({*SENSITIVE_TOPICS, "schools"})
CALM = ALL - {"crisis"}
WRITTEN = [
    Written("more", "MORE", ALL),
    Written("more in Spanish", "más", ALL),
    Written("more in Creole", "PLIS", ALL),
    Written("the rest", "the rest", ALL),
    Written("yes", "yes", CALM),
    Written("ok, after 988", "ok", frozenset({"crisis"})),
    Written("the second of the list", "2", CALM),
    Written("the second of the list, in Creole", "nimewo 2", CALM),
    Written("another language", "español", CALM),
    Written("another language, in Creole", "kreyòl", CALM),
]
CASES = [pytest.param(row, topic, id=f"{topic}: {row.label}") for row in WRITTEN for topic in sorted(row.topics)]


def _talked_about(topic: str, known: Any) -> Record:
    """The record that an answer on a topic leaves behind."""
    answer = known.answers[topic]
    return Record(
        language="en",
        introduced=True,
        last_topics=[topic],
        choices=list(answer.next),
        more={"topic": topic, "from": 0} if topic != "crisis" else None,
        place="33127",
    )


def _said(text: str, record: Record, known: Any) -> list[str]:
    """Ids of all texts that answer a message."""
    context = Context(record.language, tuple(record.last_topics), record.open_question, None, tuple(record.choices), bool(record.more))  # fmt: skip
    beliefs = {"out_of_scope": 1.0, "help_menu": 0.0}
    understood = understand(text, beliefs, context, keywords.load(), known.gazetteer, CONCEPTS).as_dict()
    before = Conversation(**{name: value for name, value in asdict(record).items() if name not in ("used", "moment")})
    told = {"brief": True, "stop_words": True, "introduced": True}
    turn = Answering(known, Withdrawals()).answer({**understood, **told}, before, clock.today())
    return [line["id"] for plan in turn.plans for part in plan["paragraphs"] if isinstance(part, list) for line in part]


@pytest.mark.parametrize(("row", "topic"), CASES)
@pytest.mark.parametrize("kind", ["memory", "file"])
def test_after_the_short_clock_nothing_is_said_again(
    kind: str, row: Written, topic: str, known: Any, tmp_path: Path
) -> None:
    store: Store = MemoryStore(OWN) if kind == "memory" else FileStore(tmp_path, OWN, durable=False)
    store.commit("k", _talked_about(topic, known))
    minutes = OWN.sensitive_minutes if topic in SENSITIVE_TOPICS else OWN.context_minutes
    about = {topic, *known.answers[topic].next}
    with clock.fixed(NOW + dt.timedelta(minutes=minutes - 1)):
        record = store.get("k")
        assert record is not None
        assert {text.split("/")[0] for text in _said(row.text, record, known)} & about, "the clock still runs"
    with clock.fixed(NOW + dt.timedelta(minutes=minutes)):
        record = store.get("k")
        assert record == replace(Record(language="en", introduced=True), used=NOW), "the language is all that is left"
        said = _said(row.text, record, known)
        assert said
        assert not {text.split("/")[0] for text in said} & about, said
    store.close()
