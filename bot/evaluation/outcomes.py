"""From the replies to an outcome, and outcomes as a file without a word of any message.

right     the replies are about accepted topics and about nothing else
half      an accepted topic, and one that nobody asked for (or more topics than anybody reads)
offered   a choice was offered, and an accepted topic is among it
asked     to rephrase, or to choose among others
wrong     about other topics, or silence
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from bot.evaluation.labelled import SILENCE, Item, LabelError

OUTCOMES = ("right", "half", "offered", "asked", "wrong")
URGENT = frozenset({"emergency", "crisis"})
CHOOSE = frozenset({"offer", "clarify"})
MOST_CHOICES = 4
"""A longer list is a menu: nobody was asked a question that fits the message."""
MOST_ANSWERS = 2
"""More answers to one message are not read."""
_NUMBER = re.compile(r"\b(911|988)\b")
ENDING = ".outcomes.jsonl"


class Said(Protocol):
    """What the rules need to know of a reply (bot/nlg.py has the whole)."""

    text: str
    language: str
    kind: str
    topic: str | None
    choices: list[str]


def outcome(replies: Sequence[Said], accepted: Set[str]) -> str:
    """One of OUTCOMES, for the replies to one message.

    Notices count for nothing. An urgent first reply is no stray topic: 911 too often beside the right answer is
    counted as a false alarm, not twice.
    """
    if not replies:
        return "wrong"
    told = {reply.topic for reply in replies if reply.kind not in CHOOSE and reply.kind != "notice"}
    if told:
        if not told & accepted:
            return "wrong"
        first = URGENT if replies[0].topic in URGENT else frozenset()
        strays = told - accepted - first
        return "half" if strays or len(told) > MOST_ANSWERS + bool(first) else "right"
    if "out_of_scope" in accepted:
        # Not understood, said so, showed what there is: such a message can get no more.
        return "right"
    return "offered" if accepted & set(offered(replies)) else "asked"


def offered(replies: Sequence[Said]) -> list[str]:
    """The topics that were offered to choose from; a menu offers none."""
    return [
        choice
        for reply in replies
        if reply.kind in CHOOSE and len(reply.choices) <= MOST_CHOICES
        for choice in reply.choices
    ]


def is_alarm(replies: Sequence[Said]) -> bool:
    """Whether the first reply is an urgent one and names 911 or 988."""
    return bool(replies) and replies[0].topic in URGENT and bool(_NUMBER.search(replies[0].text))


def alarm(replies: Sequence[Said], urgent: bool | None) -> str | None:
    """caught or missed, false or quiet; None where an alarm is neither needed nor wrong.

    Args:
        replies: to one message.
        urgent: whether it needs an alarm; None where either will do.
    """
    if urgent is None:
        return None
    raised = is_alarm(replies)
    return ("caught" if raised else "missed") if urgent else ("false" if raised else "quiet")


def needs_alarm(item: Item) -> bool | None:
    """Whether the message's label asks for an alarm; None where an accepted topic beside it does."""
    if item.danger is not None:
        return item.danger
    if item.topic in URGENT:
        return True
    return None if item.accepted & URGENT or not item.accepted else False


def in_language(replies: Sequence[Said], language: str) -> bool:
    """Whether there is a reply, and every one is in this language."""
    return bool(replies) and all(reply.language == language for reply in replies)


@dataclass(frozen=True)
class Outcome:
    """What became of a message; what an outcomes file holds of it."""

    set: str
    """Name of the labelled file."""
    id: str
    sha256: str
    """Of the message's text."""
    lang: str
    topic: str | None
    outcome: str
    said: tuple[str, ...]
    """Topics of the replies, in order, without offers and notices."""
    kind: str | None
    """Of the first reply; None for silence."""
    reply_language: str | None
    """en, es, ht; several joined by "+"; None for silence."""
    alarm: str | None
    """caught, missed, false, quiet; None where it is not measured."""
    spoken: bool | None
    """Whether every reply is in the resident's language; None where it is not measured."""
    confidence: float | None
    """The understanding's belief in its likeliest topic; None where exact words or the desk decided."""
    ms: float | None
    """From message to shaped replies; None in a record."""

    @property
    def right(self) -> bool:
        """What two runs are compared by."""
        return self.outcome == "right"


def judge(
    name: str, kind: str, item: Item, replies: Sequence[Said], confidence: float | None, ms: float | None
) -> Outcome:
    """The outcome of one message.

    Args:
        name: of the labelled file.
        kind: of the labelled file: messages, emergency, language, dialogues.
        item: the message.
        replies: as the channel would send them.
        confidence: belief in the likeliest topic.
        ms: milliseconds that it took.
    """
    told = [reply.topic for reply in replies if reply.kind not in CHOOSE and reply.kind != "notice"]
    spoken: bool | None = None
    called: str | None = None
    if kind == "messages":
        what = outcome(replies, item.accepted)
        called = alarm(replies, needs_alarm(item))
        # In a mixed message, and where another language or silence is asked for, no language is the right one.
        if item.register != "mixed" and item.topic not in ("change_language", "opt_out"):
            spoken = in_language(replies, item.lang)
    elif kind == "emergency":
        called = alarm(replies, item.danger)
        what = "right" if called in ("caught", "quiet") else "wrong"
    elif kind == "language":
        what = "right" if replies and replies[0].language == item.lang else "wrong"
    elif item.lang == SILENCE:
        what = "wrong" if replies else "right"
    else:
        what = outcome(replies, item.accepted)
        spoken = in_language(replies, item.lang)
        if what == "right" and not spoken:
            what = "wrong"
    return Outcome(
        set=name,
        id=item.id,
        sha256=item.sha256,
        lang=item.lang,
        topic=item.topic,
        outcome=what,
        said=tuple(dict.fromkeys(topic for topic in told if topic)),
        kind=replies[0].kind if replies else None,
        reply_language="+".join(dict.fromkeys(reply.language for reply in replies)) or None,
        alarm=called,
        spoken=spoken,
        confidence=confidence,
        ms=ms,
    )


# --- as a file ------------------------------------------------------------------------------------


def to_line(one: Outcome, times: bool = True) -> str:
    """One line of JSON, without what is not measured.

    Args:
        one: the outcome.
        times: False for a record: times belong to a machine and would change every line.
    """
    row: dict[str, Any] = {
        "set": one.set,
        "id": one.id,
        "lang": one.lang,
        "topic": one.topic,
        "outcome": one.outcome,
        "said": list(one.said),
        "kind": one.kind,
        "reply_language": one.reply_language,
        "alarm": one.alarm,
        "spoken": one.spoken,
        "confidence": None if one.confidence is None else round(one.confidence, 3),
        "ms": round(one.ms, 1) if times and one.ms is not None else None,
        "sha256": one.sha256,
    }
    kept = {name: value for name, value in row.items() if value is not None}
    return json.dumps(kept, ensure_ascii=False, separators=(",", ":"))


def from_row(row: Mapping[str, Any]) -> Outcome:
    """What `to_line` wrote.

    Raises:
        KeyError, TypeError, ValueError: when it is something else.
    """
    confidence, ms = row.get("confidence"), row.get("ms")
    if row["outcome"] not in OUTCOMES:
        raise ValueError(f"no outcome {row['outcome']!r}")
    return Outcome(
        set=str(row["set"]),
        id=str(row["id"]),
        sha256=str(row["sha256"]),
        lang=str(row["lang"]),
        topic=row.get("topic"),
        outcome=row["outcome"],
        said=tuple(row.get("said") or ()),
        kind=row.get("kind"),
        reply_language=row.get("reply_language"),
        alarm=row.get("alarm"),
        spoken=row.get("spoken"),
        confidence=None if confidence is None else float(confidence),
        ms=None if ms is None else float(ms),
    )


def to_text(outcomes: Iterable[Outcome], times: bool = True) -> str:
    """An outcomes file."""
    return "".join(to_line(one, times) + "\n" for one in outcomes)


def read_outcomes(path: Path) -> list[Outcome]:
    """An outcomes file, or all of a folder's.

    Raises:
        LabelError: when there is none, or a line is no outcome.
    """
    files = sorted(path.glob(f"*{ENDING}")) if path.is_dir() else [path]
    if not files:
        raise LabelError(f"{path} holds no *{ENDING}; `outreach evaluate FILE --record {path}` makes them")
    found = []
    for file in files:
        try:
            lines = file.read_text(encoding="utf-8").split("\n")
        except OSError as error:
            raise LabelError(f"{file} cannot be read ({error.strerror})") from None
        except UnicodeDecodeError:
            raise LabelError(f"{file} is no outcomes file") from None
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                found.append(from_row(json.loads(line)))
            except (KeyError, TypeError, ValueError, AttributeError):
                raise LabelError(
                    f"{file} line {number} is no outcome; make the file with `outreach evaluate`"
                ) from None
    return found
