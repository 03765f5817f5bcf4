"""Compares the rules of bot/evaluation with the scoring that they restate: the same figures, to the last digit, from made-up replies.

python tests/against_scoring.py FOLDER     with score.py and the files it scores

The replies are drawn by chance, so that every rule is met: mixed languages, urgent ones in every place, menus, silence.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import random
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from actions.knowledge.load import knowledge
from bot.evaluation.figures import figures
from bot.evaluation.labelled import Item, read
from bot.evaluation.outcomes import judge, outcome
from bot.nlg import Reply

ROUNDS = 20
NAMES = {
    "messages": {
        "right": "right",
        "half": "half",
        "right_or_offered": "right or offered",
        "wrong": "wrong",
        "language_gap": "gap between languages",
        "urgent_recall": "urgent recall",
        "urgent_false_alarm": "urgent false alarms",
        "reply_language": "reply in the resident's language",
    },
    "language": {"all": "first reply in the language", "en": "right in en", "es": "right in es", "ht": "right in ht"},
    "emergency": {"recall": "urgent recall", "false_alarm": "urgent false alarms"},
    "dialogues": {"turns_right": "turns right", "dialogues_right": "dialogues right from end to end"},
}
"""Theirs -> ours."""


def some_replies(chance: random.Random, topics: list[str], language: str) -> list[Reply]:
    """Up to four replies, mostly about the wanted topics and in the wanted language."""
    made = []
    for _ in range(chance.choice((0, 1, 1, 1, 1, 2, 2, 3, 4))):
        kind = chance.choice(("answer", "answer", "answer", "service", "question", "offer", "clarify", "notice"))
        topic = chance.choice([*topics[:2] * 6, *topics, "emergency", "crisis"])
        if topic in ("emergency", "crisis") and kind in ("answer", "service", "question"):
            kind = topic
        spoken = chance.choice((language,) * 8 + ("en", "es", "ht"))
        text = chance.choice(("Call 911 now.", "Call or text 988.", "Nine one one.", "9111"))
        choices = chance.sample(topics, chance.randint(0, 6)) if kind in ("offer", "clarify") else []
        made.append(Reply(text, spoken, kind, None if kind in ("offer", "clarify", "notice") else topic, choices))
    return made


class Assistant:
    """Answers what was drawn."""

    def __init__(self, drawn: list[list[Reply]]):
        self.drawn = iter(drawn)

    def ask(self, *arguments: Any) -> dict[str, Any]:
        """As the scoring asks."""
        return {"replies": [reply.as_dict() for reply in next(self.drawn)], "ms": 1.0}


def scoring(folder: Path) -> ModuleType:
    """score.py as a module."""
    spec = importlib.util.spec_from_file_location("score", folder / "score.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def differences(folder: Path) -> list[str]:
    """A line for each difference."""
    score = scoring(folder)
    known = sorted(knowledge().topics)
    chance = random.Random(3)
    found = []
    for path in sorted(folder.glob("*.tsv")) + sorted(folder.glob("*.yml")):
        labelled = read(path, known)
        for _ in range(ROUNDS):
            drawn = [_drawn(chance, item, known) for item in labelled.items]
            with contextlib.redirect_stdout(io.StringIO()):
                source = path if labelled.kind == "dialogues" else score.read_tsv(path)
                theirs, _ = getattr(score, f"score_{labelled.kind}")(source, Assistant(drawn), None)
            judged = [
                judge(labelled.name, labelled.kind, item, replies, None, None)
                for item, replies in zip(labelled.items, drawn, strict=True)
            ]
            ours = {one.name: one.value for one in figures(labelled.kind, judged)}
            found += [
                f"{path.name}: {name} is {theirs[name]}, here {ours[own]}"
                for name, own in NAMES[labelled.kind].items()
                if theirs[name] != ours[own]
            ]
            if labelled.kind != "messages":
                continue
            for item, replies in zip(labelled.items, drawn, strict=True):
                own = outcome(replies, item.accepted)
                other = score.outcome([reply.as_dict() for reply in replies], set(item.accepted))
                if own != other:
                    found.append(f"{path.name}: {item.id} is {other}, here {own}: {replies}")
    return found


def _drawn(chance: random.Random, item: Item, known: list[str]) -> list[Reply]:
    wanted = sorted(item.accepted) or ["emergency"]
    return some_replies(chance, [*wanted, *chance.sample(known, 6)], item.lang if item.lang != "none" else "en")


if __name__ == "__main__":
    lines = differences(Path(sys.argv[1]))
    print("\n".join(lines[:20]) or "outcome rules and scoring agree, on every figure")
    sys.exit(1 if lines else 0)
