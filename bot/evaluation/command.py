"""`outreach evaluate`: reads, measures, prints, compares, writes. Whatever can be wrong with the input is found before the first message."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from actions import clock
from actions.knowledge.load import knowledge
from bot.desk import Desk
from bot.evaluation import comparison as comparing
from bot.evaluation import figures as figuring
from bot.evaluation.card import card, parted
from bot.evaluation.labelled import LabelError, Labelled, read_all
from bot.evaluation.measuring import measure
from bot.evaluation.outcomes import ENDING, Outcome, read_outcomes, to_text
from bot.evaluation.page import Run, page
from bot.train import recorded


@dataclass(frozen=True)
class Wanted:
    """What the command was asked for."""

    files: Sequence[Path]
    channel: str
    """One for all messages, or `round`."""
    page: Path | None = None
    outcomes: Path | None = None
    against: Path | None = None
    """An outcomes file, or a folder of them."""
    record: Path | None = None
    """A folder; made where it is missing."""
    card: Path | None = None


def evaluate(wanted: Wanted, desk: Callable[[], Desk]) -> int:
    """Measure; 1 when the run is worse than `against` by more than chance, else 0.

    Args:
        wanted: what to measure and to write.
        desk: opens the desk, once the input is known to be in order.

    Raises:
        LabelError: for input that cannot be used; nothing was measured or written.
    """
    files = read_all(wanted.files, knowledge().topics)
    before = read_outcomes(wanted.against) if wanted.against else []
    if wanted.against:
        _related(files, before, wanted.against)
    _writable(wanted)
    prose = parted(wanted.card) if wanted.card else ("", "")

    opened = desk()
    runs = []
    try:
        for labelled in files:
            measured = measure(opened, labelled, wanted.channel, lambda line: print(line, file=sys.stderr, flush=True))
            now = [one.outcome for one in measured]
            compared = comparing.compare(labelled.name, labelled.kind, now, before) if before else None
            runs.append(Run(labelled, measured, compared))
    finally:
        opened.close()
    for run in runs:
        _print(run, bool(before))
    worse = [
        f"{run.labelled.name}: {', '.join(run.comparison.worse)}"
        for run in runs
        if run.comparison and run.comparison.worse
    ]
    _write(wanted, runs, prose, bool(worse))
    if worse:
        print(f"\nWorse than {wanted.against} by more than chance (McNemar, one-sided p < .05): {'; '.join(worse)}")
    return 1 if worse else 0


def _related(files: Sequence[Labelled], before: Sequence[Outcome], path: Path) -> None:
    """Refuse to compare what has nothing in common."""
    earlier = {(one.set, one.id, one.sha256) for one in before}
    if not any((one.name, item.id, item.sha256) in earlier for one in files for item in one.items):
        raise LabelError(f"{path} holds no outcome of these messages (file name, id and text must be the same)")


def _writable(wanted: Wanted) -> None:
    for path in (wanted.page, wanted.outcomes, wanted.card):
        if path and path.is_dir():
            raise LabelError(f"{path} is a folder; name the file to write")
        if path and not path.parent.is_dir():
            raise LabelError(f"{path} cannot be written: there is no folder {path.parent}")
    if wanted.record and wanted.record.exists() and not wanted.record.is_dir():
        raise LabelError(f"{wanted.record} is a file; --record names the folder of the recorded outcomes")


def _print(run: Run, compared: bool) -> None:
    kind = run.labelled.kind
    tables = [("language", run.groups("lang")), ("register", run.groups("register")), ("topic", run.groups("topic"))]
    lines = figuring.as_lines(
        f"{run.labelled.name} ({len(run.measured)} {'turns' if kind == 'dialogues' else 'messages'})",
        run.figures,
        tables if kind == "messages" else (),
    )
    if run.comparison:
        lines += comparing.as_lines(run.comparison)
    elif compared:
        lines += ["", "  the other run has nothing of this file"]
    print("\n".join(lines))


def _write(wanted: Wanted, runs: Sequence[Run], prose: tuple[str, str], worse: bool) -> None:
    outcomes = [one.outcome for run in runs for one in run.measured]
    made = []
    if wanted.outcomes:
        made.append((wanted.outcomes, to_text(outcomes)))
    if wanted.page:
        made.append((wanted.page, page(runs, _about(wanted))))
    if worse and (wanted.record or wanted.card):
        print("\nNothing is recorded, since the run is worse. To record it all the same, leave out --against.")
    else:
        if wanted.record:
            wanted.record.mkdir(parents=True, exist_ok=True)
            made += [
                (
                    wanted.record / f"{run.labelled.name}{ENDING}",
                    to_text((one.outcome for one in run.measured), times=False),
                )
                for run in runs
            ]
        if wanted.card:
            made.append((wanted.card, card(*prose, runs, clock.today())))
    for path, text in made:
        draft = path.with_name(path.name + ".new")
        try:
            draft.write_text(text, encoding="utf-8")
            draft.replace(path)
        except OSError as error:
            raise LabelError(f"{path} cannot be written ({error.strerror})") from None
    if made:
        print("\nWritten: " + ", ".join(str(path) for path, _ in made))


def _about(wanted: Wanted) -> list[tuple[str, str]]:
    record = recorded()
    told = [("Day:", clock.today().isoformat())]
    if record:
        told.append(("Model:", f"{record.inputs}, {record.messages:,} training messages"))
    told.append(("Channel:", wanted.channel))
    if wanted.against:
        told.append(("Against:", wanted.against.name or str(wanted.against)))
    return told
