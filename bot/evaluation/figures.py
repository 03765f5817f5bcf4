"""From outcomes to the figures that are printed, drawn and put into the model card."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bot.evaluation.outcomes import OUTCOMES, Outcome
from bot.evaluation.statistics import Bin, Share, calibration_error, decimal, quantile, reliability


@dataclass(frozen=True)
class Figure:
    """A figure with its name."""

    name: str
    share: Share | None = None
    number: float = math.nan
    """Where it is no share."""
    unit: str = ""

    @property
    def value(self) -> float:
        """The share's value, or the number."""
        return self.share.value if self.share else self.number

    def as_text(self) -> str:
        """The value as it stands in tables."""
        return f"{self.number:.0f} {self.unit}" if self.unit else decimal(self.value)

    def interval_text(self) -> str:
        """The 95 % interval, empty where there is none."""
        if not self.share or not self.share.whole:
            return ""
        low, high = self.share.interval
        return f"{decimal(low)} - {decimal(high)}"

    def count_text(self) -> str:
        """Part of whole, empty where it is no share."""
        return f"{self.share.part} of {self.share.whole}" if self.share else ""


@dataclass(frozen=True)
class Group:
    """Outcomes of the messages that have something in common."""

    name: str
    counts: dict[str, int]
    """By outcome, all of OUTCOMES."""

    @property
    def number(self) -> int:
        """How many messages."""
        return sum(self.counts.values())

    def share(self, *outcomes: str) -> Share:
        """Of one outcome or several together."""
        return Share(sum(self.counts[name] for name in outcomes), self.number)


def group(name: str, outcomes: Sequence[Outcome]) -> Group:
    """Count."""
    return Group(name, {what: sum(one.outcome == what for one in outcomes) for what in OUTCOMES})


def groups(pairs: Sequence[tuple[str, Outcome]]) -> list[Group]:
    """Counted by name, in the order of the names."""
    return [group(name, [one for key, one in pairs if key == name]) for name in sorted({key for key, _ in pairs})]


def _alarms(outcomes: Sequence[Outcome], hit: str, other: str) -> Share:
    values = [one.alarm for one in outcomes if one.alarm in (hit, other)]
    return Share(values.count(hit), len(values))


def _languages(outcomes: Sequence[Outcome]) -> list[Group]:
    return [one for one in groups([(each.lang, each) for each in outcomes]) if one.name != "none"]


def figures(kind: str, outcomes: Sequence[Outcome]) -> list[Figure]:
    """The figures of one file, by its kind. A share over nothing is left out."""
    whole = group("all", outcomes)
    languages = _languages(outcomes)
    by_language = [Figure(f"right in {one.name}", one.share("right")) for one in languages]
    urgent = [
        Figure("urgent recall", _alarms(outcomes, "caught", "missed")),
        Figure("urgent false alarms", _alarms(outcomes, "false", "quiet")),
    ]
    times = [one.ms for one in outcomes if one.ms is not None]
    speed = [
        Figure("median of a message", number=quantile(times, 0.5), unit="ms"),
        Figure("95th percentile", number=quantile(times, 0.95), unit="ms"),
    ]
    speed = speed if times else []
    if kind == "messages":
        spoken = [one.spoken for one in outcomes if one.spoken is not None]
        values = [one.share("right").value for one in languages]
        found = [
            Figure("right", whole.share("right")),
            Figure("right or offered", whole.share("right", "offered")),
            Figure("half", whole.share("half")),
            Figure("asked", whole.share("asked")),
            Figure("wrong", whole.share("wrong")),
            *by_language,
            Figure("gap between languages", number=max(values) - min(values)),
            *urgent,
            Figure("reply in the resident's language", Share(sum(spoken), len(spoken))),
            Figure("calibration error", number=calibration_error(beliefs(outcomes))),
            *speed,
        ]
    elif kind == "emergency":
        found = [*urgent, *speed]
    elif kind == "language":
        found = [Figure("first reply in the language", whole.share("right")), *by_language, *speed]
    else:
        names = {one.id.rpartition(".")[0] for one in outcomes}
        failed = {one.id.rpartition(".")[0] for one in outcomes if not one.right}
        found = [
            Figure("turns right", whole.share("right")),
            *by_language,
            Figure("dialogues right from end to end", Share(len(names - failed), len(names))),
            *speed,
        ]
    return [one for one in found if one.share is None or one.share.whole]


def beliefs(outcomes: Sequence[Outcome], answered: bool = False) -> list[Bin]:
    """Belief against right, in bins.

    Args:
        outcomes: of messages; those without a belief are passed over.
        answered: only where a topic was answered; without those that were asked to choose, which are never right.
    """
    return reliability(
        (one.confidence, one.right)
        for one in outcomes
        if one.confidence is not None and (not answered or one.outcome in ("right", "half", "wrong"))
    )


# --- on the terminal ------------------------------------------------------------------------------


def as_lines(title: str, found: Sequence[Figure], tables: Sequence[tuple[str, Sequence[Group]]]) -> list[str]:
    """The figures of a file, for the terminal.

    Args:
        title: its name and how many messages.
        found: the figures.
        tables: (what it is grouped by, the groups).
    """
    lines = ["", title]
    lines += [
        f"  {one.name:<34} {one.as_text():>7}   {one.interval_text():<15} {one.count_text()}".rstrip() for one in found
    ]
    for name, rows in tables:
        head = " ".join(f"{what:>8}" for what in OUTCOMES)
        lines += ["", f"  {name:<24} {'n':>5} {head}   95 % of right"]
        for row in rows:
            cells = " ".join(f"{decimal(row.share(what).value):>8}" for what in OUTCOMES)
            low, high = row.share("right").interval
            lines.append(f"  {row.name:<24} {row.number:>5} {cells}   {decimal(low)} - {decimal(high)}")
    return lines
