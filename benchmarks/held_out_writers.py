"""How messages of writers are understood whom the model never read: train on four fifths of the writers, ask the last fifth.

    .venv/bin/python benchmarks/held_out_writers.py [--fold 0..4] [--dump FILE]

Split by writer, not by line: two messages of one person are more alike than a stranger's. Also prints how varied the messages are.
Takes about as long as a training.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
import warnings
from collections import Counter, defaultdict
from pathlib import Path

warnings.filterwarnings("ignore")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from actions.knowledge.load import knowledge  # noqa: E402
from bot.check import near_duplicates, training_messages, trigrams  # noqa: E402
from bot.nlu import keywords, language  # noqa: E402
from bot.nlu.classifier import TopicClassifier  # noqa: E402
from bot.nlu.features import Lexicons  # noqa: E402
from bot.nlu.text import parts  # noqa: E402
from bot.nlu.understanding import FOLLOW_UP, TAIL_WORDS, Context, understand  # noqa: E402

FOLDS = 5


def main() -> int:
    """Print the figures."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--fold", type=int, default=0, choices=range(FOLDS))
    options.add_argument("--dump", type=Path, help="JSON lines with the beliefs of each held-out message")
    chosen = options.parse_args()
    rows = [(language, topic, writer, message) for _, language, topic, writer, message in training_messages()]
    writers = {code: sorted({row[2] for row in rows if row[0] == code}) for code in ("en", "es", "ht")}
    held = {writer for names in writers.values() for writer in names[chosen.fold :: FOLDS]}
    told = [row for row in rows if row[2] not in held]
    asked = [row for row in rows if row[2] in held and row[1] != FOLLOW_UP]
    print(f"{len(told)} messages to learn from, {len(asked)} by {len(held)} other writers: {', '.join(sorted(held))}")
    lexicons = Lexicons.load()
    started = time.monotonic()
    model = TopicClassifier.train(
        [row[3] for row in told],
        [row[0] for row in told],
        [row[1] for row in told],
        lexicons,
    )
    print(f"trained in {time.monotonic() - started:.0f} s")
    known = knowledge()
    words = keywords.load()
    related = {topic: answer.next for topic, answer in known.answers.items()}
    outcomes: dict[str, Counter[str]] = defaultdict(Counter)
    urgent: Counter[str] = Counter()
    dump = chosen.dump.open("w", encoding="utf-8") if chosen.dump else None
    for code, topic, writer, message in asked:
        vote = language.identify(message)
        spoken = language.choose(vote, None)
        beliefs = model.probabilities(message, spoken, lexicons)
        pieces = parts(message)
        told_parts = [model.probabilities(piece, spoken, lexicons) for piece in pieces]
        found = understand(
            message, beliefs, Context(), words, known.gazetteer, lexicons.concepts,
            parts=told_parts if 2 <= len(pieces) <= 4 else (), related=related,
            tail=model.probabilities(" ".join(message.split()[-TAIL_WORDS:]), spoken, lexicons)
            if len(message.split()) > 2 * TAIL_WORDS else None,
        )  # fmt: skip
        about = set(found.topics) | ({found.urgent} if found.urgent else set())
        if found.command in ("start", "more", "number_unknown"):
            about.add(found.command)
        if topic in about:
            outcome = "half" if about - {topic, found.urgent} else "right"
        elif about:
            outcome = "wrong"
        elif topic == "out_of_scope":
            outcome = "right"
        else:
            outcome = "offered" if topic in found.choices[:4] else "asked"
        for key in ("all", code, f"topic {topic}"):
            outcomes[key][outcome] += 1
        danger = topic in ("emergency", "crisis")
        urgent[("caught" if found.urgent else "missed") if danger else ("false" if found.urgent else "quiet")] += 1
        if dump:
            kept = {name: round(belief, 4) for name, belief in list(beliefs.items())[:8]}
            row = {"language": code, "topic": topic, "writer": writer, "text": message, "beliefs": kept, "outcome": outcome,
                   "said": sorted(about), "choices": found.choices}  # fmt: skip
            dump.write(json.dumps(row, ensure_ascii=False) + "\n")
    for key in sorted(outcomes):
        count = outcomes[key]
        total = sum(count.values())
        print(
            f"{key:<32} {total:>5}  "
            + "  ".join(f"{name} {count[name] / total:.3f}" for name in ("right", "half", "offered", "asked", "wrong"))
        )
    recall = urgent["caught"] / (urgent["caught"] + urgent["missed"])
    false = urgent["false"] / (urgent["false"] + urgent["quiet"])
    print(f"urgent recall {recall:.3f}, false alarms {false:.4f}")
    chance = random.Random(1)  # noqa: S311 - a sample, nothing secret
    for code in ("en", "es", "ht"):
        own = [message for language, _, _, message in rows if language == code]
        distinct = sum(len(set().union(*(trigrams(text) for text in chance.sample(own, 100)))) for _ in range(20)) / 20
        pairs = near_duplicates([("", message) for message in own])
        print(
            f"{code}: {len(own)} messages, {distinct:.0f} distinct letter trigrams in 100 of them, {len(pairs) / len(own):.2%} near-duplicates"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
