"""The numbers of the model card (docs/model-card.md): written between two marker lines, the prose around them is a person's.

What can be counted is counted (messages, writers), what the code decides is read from the code (views, thresholds with
their reasons), what is measured comes from the run. Nothing here knows how the model works, so that it may change.
"""

from __future__ import annotations

import ast
import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from actions.knowledge.load import read_yaml
from bot.evaluation.figures import Figure, Group
from bot.evaluation.labelled import LabelError
from bot.evaluation.page import Run
from bot.evaluation.statistics import decimal
from bot.train import MODELS, ROOT, recorded

BEGIN = "<!-- numbers: begin; made by `outreach evaluate --card`, what stands up to the next such line is replaced -->"
END = "<!-- numbers: end -->"
MODULES = ("classifier.py", "understanding.py")
"""Of bot/nlu: where the numbers that decide stand."""


def parted(path: Path) -> tuple[str, str]:
    """The card's prose before and after the numbers.

    Raises:
        LabelError: when there is no card, or its marker lines are not there once each and in order.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise LabelError(
            f"{path} cannot be read; the card is written by a person, with these two lines: {BEGIN} {END}"
        ) from None
    lines = text.split("\n")
    if lines.count(BEGIN) != 1 or lines.count(END) != 1 or lines.index(BEGIN) > lines.index(END):
        raise LabelError(f"{path} needs these two lines once each, for the numbers between them: {BEGIN} {END}")
    return "\n".join(lines[: lines.index(BEGIN)]), "\n".join(lines[lines.index(END) + 1 :])


def card(before: str, after: str, runs: Sequence[Run], day: dt.date) -> str:
    """The card with today's numbers; the prose to the letter as it was."""
    numbers = "\n\n".join([_model(day), _training(), _thresholds(), *(_measured(run) for run in runs)])
    return f"{before}\n{BEGIN}\n\n{numbers}\n\n{END}\n{after}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


# --- what the model is ----------------------------------------------------------------------------


def _model(day: dt.date) -> str:
    record = recorded(MODELS)
    pipeline = [step["name"] for step in read_yaml(ROOT / "bot" / "config.yml")["pipeline"]]
    rows = [("measured on", day.isoformat()), ("components", ", ".join(f"`{name}`" for name in pipeline))]
    rows += _views()
    if record:
        rows += [
            ("fingerprint of all inputs", f"`{record.inputs}`"),
            ("training messages", f"{record.messages:,}"),
        ]
    return "### The model\n\n" + table(("", ""), rows)


def _views() -> list[tuple[str, str]]:
    """What the classifier sees of a message, where it says so."""
    from bot.nlu import features

    views = getattr(features, "VIEWS", None)
    if not isinstance(views, dict):
        return []
    return [("views of a message (weight)", ", ".join(f"{name} ({view[1]})" for name, view in views.items()))]


def training_counts(root: Path = ROOT) -> dict[str, tuple[int, int, int]]:
    """By language: messages, writers, topics."""
    messages: Counter[str] = Counter()
    writers: dict[str, set[str]] = defaultdict(set)
    topics: dict[str, set[str]] = defaultdict(set)
    for path in sorted((root / "nlu_data").glob("*/*.yml")):
        if path.parent.name == "lexicon":
            continue
        for block in read_yaml(path)["nlu"]:
            meta = block.get("metadata") or {}
            language = path.parent.name
            messages[language] += sum(line.startswith("- ") for line in block["examples"].splitlines())
            writers[language].add(meta.get("writer", ""))
            topics[language].add(block["intent"])
    return {name: (number, len(writers[name]), len(topics[name])) for name, number in sorted(messages.items())}


def _training() -> str:
    counts = training_counts()
    rows = [(name, f"{m:,}", str(w), str(t)) for name, (m, w, t) in counts.items()]
    rows.append(("all", f"{sum(m for m, _, _ in counts.values()):,}", str(sum(w for _, w, _ in counts.values())), ""))
    return "### Training messages\n\n" + table(("language", "messages", "writers", "topics"), rows)


def constants(path: Path) -> Iterator[tuple[str, str, str]]:
    """(name, value, the text below it) of a module's numbers in capitals, in order."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    for place, node in enumerate(body):
        if not isinstance(node, (ast.Assign, ast.AnnAssign)) or node.value is None:
            continue
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        names = [
            one.id for one in (target.elts if isinstance(target, ast.Tuple) else [target]) if isinstance(one, ast.Name)
        ]
        try:
            value = ast.literal_eval(node.value)
        except ValueError:
            continue
        values = value if isinstance(value, tuple) else (value,)
        numbers = [one for one in values if isinstance(one, (int, float)) and not isinstance(one, bool)]
        if len(numbers) != len(names) or len(values) != len(names) or not all(name.isupper() for name in names):
            continue
        after = body[place + 1] if place + 1 < len(body) else None
        said = ""
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str):
            said = " ".join(after.value.value.split())
        yield ", ".join(names), ", ".join(str(number) for number in numbers), said


def _thresholds() -> str:
    rows = []
    for name in MODULES:
        path = ROOT / "bot" / "nlu" / name
        if path.exists():
            rows += [(f"`{key}`", value, said) for key, value, said in constants(path)]
    return "### Numbers that decide\n\nAs they stand in `bot/nlu/`, with the reason beside them.\n\n" + table(
        ("name", "value", "what"), rows
    )


# --- what was measured ----------------------------------------------------------------------------


def _figure_rows(found: Sequence[Figure]) -> list[tuple[str, str, str, str]]:
    # Times belong to the machine that measured.
    return [(one.name, one.as_text(), one.interval_text(), one.count_text()) for one in found if not one.unit]


def _group_rows(rows: Sequence[Group]) -> list[tuple[str, ...]]:
    made = []
    for row in rows:
        low, high = row.share("right").interval
        shares = [decimal(row.share(what).value) for what in ("right", "half", "offered", "asked", "wrong")]
        made.append((row.name, str(row.number), *shares, f"{decimal(low)} - {decimal(high)}"))
    return made


def _measured(run: Run) -> str:
    parts = [
        f"### {run.labelled.name} ({len(run.measured)})",
        table(("figure", "value", "95 %", "messages"), _figure_rows(run.figures)),
    ]
    if run.labelled.kind == "messages":
        head = ("", "n", "right", "half", "offered", "asked", "wrong", "95 % of right")
        parts += [table(head, _group_rows(run.groups(by))) for by in ("lang", "register", "topic")]
    return "\n\n".join(parts)
