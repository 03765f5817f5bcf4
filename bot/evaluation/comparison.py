"""This run against an earlier one, message by message: what became right, what became wrong, and whether that is chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bot.evaluation.outcomes import Outcome
from bot.evaluation.statistics import Change, p_text

URGENT = "urgent recall"
FALSE = "no false alarm"
ALL = "all"
SHOWN = 20
"""Ids on a line of the terminal; the page has all."""
REPORTED = frozenset({"emergency"})
"""Kinds that are compared but never fail a run: real messages of another domain, which nothing here is tuned to."""


@dataclass(frozen=True)
class Comparison:
    """One file in two runs."""

    name: str
    kind: str
    changes: Mapping[str, Change]
    """By group: all, a language, urgent recall, no false alarm."""
    gained: tuple[str, ...]
    """Ids of the messages that became right, in the file's order."""
    lost: tuple[str, ...]
    alarms_lost: tuple[str, ...]
    """Ids of urgent messages that were caught before and are missed now."""
    unpaired: int
    """Messages that the other run did not have, or had with another text."""

    @property
    def without_pair(self) -> str:
        """Says how many messages could not be compared."""
        return f"Without a pair, since they are new or their text was changed: {self.unpaired}."

    @property
    def worse(self) -> list[str]:
        """The groups that are worse by more than chance."""
        if self.kind in REPORTED:
            return []
        return [name for name, change in self.changes.items() if name != FALSE and change.is_worse]


def pairs(now: Sequence[Outcome], before: Sequence[Outcome]) -> list[tuple[Outcome, Outcome]]:
    """(now, before) of the same message: file, id and text are the same."""
    earlier = {(one.set, one.id, one.sha256): one for one in before}
    found = [(one, earlier.get((one.set, one.id, one.sha256))) for one in now]
    return [(one, other) for one, other in found if other is not None]


def _change(sides: Sequence[tuple[bool, bool]]) -> Change:
    gained = sum(now and not before for now, before in sides)
    lost = sum(before and not now for now, before in sides)
    return Change(len(sides), gained, lost)


def _alarms(both: Sequence[tuple[Outcome, Outcome]], good: str, bad: str) -> list[tuple[bool, bool]]:
    return [
        (now.alarm == good, before.alarm == good)
        for now, before in both
        if now.alarm in (good, bad) and before.alarm in (good, bad)
    ]


def compare(name: str, kind: str, now: Sequence[Outcome], before: Sequence[Outcome]) -> Comparison | None:
    """Compare the outcomes of one file; None where the other run has nothing of it.

    Args:
        name: of the labelled file.
        kind: of the labelled file.
        now: this run's outcomes of the file.
        before: the other run's outcomes, of any files.
    """
    both = pairs(now, before)
    if not both:
        return None
    changes = {ALL: _change([(one.right, other.right) for one, other in both])}
    for language in sorted({one.lang for one, _ in both}):
        changes[language] = _change([(one.right, other.right) for one, other in both if one.lang == language])
    for group, sides in (
        (URGENT, _alarms(both, "caught", "missed")),
        (FALSE, _alarms(both, "quiet", "false")),
    ):
        if sides:
            changes[group] = _change(sides)
    return Comparison(
        name,
        kind,
        changes,
        tuple(one.id for one, other in both if one.right and not other.right),
        tuple(one.id for one, other in both if other.right and not one.right),
        tuple(one.id for one, other in both if one.alarm == "missed" and other.alarm == "caught"),
        len(now) - len(both),
    )


def as_lines(one: Comparison) -> list[str]:
    """For the terminal."""
    lines = [
        "",
        f"  {'against the other run':<24} {'pairs':>5} {'became right':>13} {'became wrong':>13} {'p differs':>10} {'p worse':>8}",
    ]
    lines += [
        f"  {name:<24} {change.pairs:>5} {change.gained:>13} {change.lost:>13} {p_text(change.differs):>10} {p_text(change.worse):>8}"
        for name, change in one.changes.items()
    ]
    for label, ids in (
        ("became right", one.gained),
        ("became wrong", one.lost),
        ("urgent, no longer caught", one.alarms_lost),
    ):
        if ids:
            rest = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
            lines.append(f"  {label}: {' '.join(ids[:SHOWN])}{rest}")
    if one.unpaired:
        lines.append(f"  {one.without_pair}")
    return lines
