"""Labelled files: messages and what a good assistant makes of each. The file's head tells its kind.

messages    TSV: id, lang, topic, text, and where known also_ok, register    right topic, urgent, language
emergency   TSV: lang, text, label (emergency or not)                        911 first, or not
language    TSV: lang, text                                                  language of the first reply
dialogues   YAML: dialogues, each with id, channel, turns of {user, topic, lang}
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from bot.nlu.language import LANGUAGES

CHANNELS = ("sms", "telegram", "web", "whatsapp")
"""In the order in which messages go round them."""
KINDS = ("messages", "emergency", "language", "dialogues")
LABELS = ("emergency", "not")
SILENCE = "none"
"""Language of a turn that is to be met with silence (after STOP)."""


class LabelError(ValueError):
    """A file that cannot be measured; says where and what to do, in one line."""


@dataclass(frozen=True)
class Item:
    """One message and what is expected of the replies to it."""

    id: str
    lang: str
    """en, es or ht; `none` for a turn that is to be met with silence."""
    text: str
    topic: str | None = None
    accepted: frozenset[str] = frozenset()
    """`topic` and the other topics whose answer would serve as well."""
    register: str = ""
    """clean, sms, noisy, long, mixed ...; `mixed` is in more than one language."""
    danger: bool | None = None
    """Of an emergency file: danger now, or not."""
    conversation: str = ""
    """Items of one dialogue share it."""
    channel: str | None = None
    """The dialogue's; None where the file names none."""
    notes: tuple[tuple[str, str], ...] = ()
    """Of a dialogue's turn, for a reader to judge: (must or must_not, what)."""

    @property
    def sha256(self) -> str:
        """Ties an outcome to the text without holding it."""
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True)
class Labelled:
    """A file, read and checked."""

    name: str
    """The file's name without its ending; outcomes are found again under it."""
    kind: str
    """One of KINDS."""
    items: Sequence[Item]
    left_out: int = 0
    """Rows of a language file in a language that no reply is written in."""
    about: Mapping[str, str] = field(default_factory=dict)
    """What each dialogue is about, by its id."""


def read(path: Path, topics: Collection[str]) -> Labelled:
    """Read a labelled file.

    Args:
        path: .yml or .yaml for dialogues, anything else is tab-separated.
        topics: the ids that a label may name.

    Raises:
        LabelError: when it is no such file, or a row of it cannot be used.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except IsADirectoryError:
        raise LabelError(f"{path} is a folder; name the labelled file") from None
    except OSError as error:
        raise LabelError(f"{path} cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise LabelError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    dialogues = path.suffix in (".yml", ".yaml")
    made = _dialogues(path, text, topics) if dialogues else _table(path, text, topics)
    if not made.items:
        raise LabelError(f"{path} holds no message to measure")
    for name, number in Counter(item.id for item in made.items).items():
        if number > 1:
            raise LabelError(f"{path}: the id {name!r} stands {number} times; each message needs its own")
    return made


def read_all(paths: Sequence[Path], topics: Collection[str]) -> list[Labelled]:
    """Read several files; each needs a name of its own, since outcomes are kept under it.

    Raises:
        LabelError: as `read`, and for two files of one name.
    """
    made = [read(path, topics) for path in paths]
    for name, number in Counter(one.name for one in made).items():
        if number > 1:
            raise LabelError(f"{number} files are called {name}; outcomes are kept by that name, so rename one")
    return made


def _table(path: Path, text: str, topics: Collection[str]) -> Labelled:
    # Only line ends part rows: some texts hold other separators (U+2028), which splitlines() would cut at.
    lines = text.rstrip("\n").split("\n")
    head = lines[0].split("\t")
    if len(set(head)) < len(head):
        raise LabelError(f"{path} line 1: a column stands twice")
    if {"id", "lang", "topic", "text"} <= set(head):
        kind, make = "messages", _message
    elif {"lang", "text", "label"} <= set(head):
        kind, make = "emergency", _emergency
    elif {"lang", "text"} <= set(head) and "topic" not in head:
        kind, make = "language", _language
    else:
        raise LabelError(
            f"{path} line 1: needs tab-separated columns id, lang, topic, text (messages), lang, text, label "
            "(emergency) or lang, text (language)"
        )
    items: list[Item] = []
    left_out = 0
    for number, line in enumerate(lines[1:], 2):
        cells = line.split("\t")
        if len(cells) != len(head):
            raise LabelError(f"{path} line {number}: has {len(cells)} columns, the head has {len(head)}")
        row = dict(zip(head, cells, strict=True))
        if kind != "messages" and row["lang"] not in LANGUAGES:
            left_out += 1
            continue
        items.append(make(row, f"{path} line {number}", topics, len(items)))
    return Labelled(path.stem, kind, items, left_out)


Maker = Callable[[Mapping[str, str], str, Collection[str], int], Item]


def _message(row: Mapping[str, str], where: str, topics: Collection[str], number: int) -> Item:
    if not row["id"]:
        raise LabelError(f"{where}: has no id")
    _language_of(row["lang"], where)
    others = [name.strip() for name in row.get("also_ok", "").split(",") if name.strip()]
    return Item(
        row["id"],
        row["lang"],
        row["text"],
        row["topic"],
        _accepted(row["topic"], others, where, topics),
        row.get("register", ""),
    )


def _emergency(row: Mapping[str, str], where: str, topics: Collection[str], number: int) -> Item:
    if row["label"] not in LABELS:
        raise LabelError(f"{where}: label is {row['label']!r}; write emergency or not")
    return Item(f"e{number}", row["lang"], row["text"], danger=row["label"] == "emergency")


def _language(row: Mapping[str, str], where: str, topics: Collection[str], number: int) -> Item:
    return Item(f"l{number}", row["lang"], row["text"])


def _language_of(language: Any, where: str) -> None:
    if language not in LANGUAGES:
        raise LabelError(f"{where}: lang is {language!r}; write {', '.join(LANGUAGES[:-1])} or {LANGUAGES[-1]}")


def _accepted(topic: str, others: Sequence[str], where: str, topics: Collection[str]) -> frozenset[str]:
    for name in (topic, *others):
        if name not in topics:
            raise LabelError(f"{where}: there is no topic {name!r} (actions/knowledge/topics.yml is the list)")
    return frozenset((topic, *others))


def _dialogues(path: Path, text: str, topics: Collection[str]) -> Labelled:
    try:
        stored = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise LabelError(f"{path}: is no YAML{f' (line {mark.line + 1})' if mark else ''}") from None
    dialogues = stored.get("dialogues") if isinstance(stored, dict) else None
    if not isinstance(dialogues, list):
        raise LabelError(f"{path}: needs a list under `dialogues`")
    items: list[Item] = []
    about: dict[str, str] = {}
    for number, dialogue in enumerate(dialogues, 1):
        where = f"{path}: dialogue {number}"
        if not isinstance(dialogue, dict) or not dialogue.get("id") or not isinstance(dialogue.get("turns"), list):
            raise LabelError(f"{where}: needs id, channel and turns")
        if dialogue.get("channel") not in CHANNELS:
            raise LabelError(f"{where}: channel is {dialogue.get('channel')!r}; write one of {', '.join(CHANNELS)}")
        name = str(dialogue["id"])
        about[name] = str(dialogue.get("about", ""))
        items += [
            _turn(turn, f"{where}, turn {place + 1}", topics, name, place, dialogue["channel"])
            for place, turn in enumerate(dialogue["turns"])
        ]
    return Labelled(path.stem, "dialogues", items, about=about)


def _turn(turn: Any, where: str, topics: Collection[str], name: str, place: int, channel: str) -> Item:
    if not isinstance(turn, dict) or not isinstance(turn.get("user"), str):
        raise LabelError(f"{where}: needs user, topic and lang")
    language, topic = turn.get("lang"), turn.get("topic")
    accepted: frozenset[str] = frozenset()
    if language != SILENCE:
        _language_of(language, where)
        accepted = _accepted(str(topic), [str(other) for other in turn.get("also_ok") or ()], where, topics)
    notes = tuple((word, str(note)) for word in ("must", "must_not") for note in turn.get(word) or ())
    return Item(
        f"{name}.{place}",
        str(language),
        turn["user"],
        topic,
        accepted,
        conversation=name,
        channel=channel,
        notes=notes,
    )
