"""What the figures are worth: how far a share can be trusted, whether two runs differ, whether beliefs can be believed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scipy.stats import binomtest

SIGNIFICANT = 0.05
BINS = 10


@dataclass(frozen=True)
class Share:
    """A part of a whole, with what chance may have done to it."""

    part: int
    whole: int

    @property
    def value(self) -> float:
        """From 0 to 1; not a number where nothing was measured."""
        return self.part / self.whole if self.whole else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval by Wilson's score, which stays inside 0 and 1 and holds for small numbers too."""
        if not self.whole:
            return math.nan, math.nan
        found = binomtest(self.part, self.whole).proportion_ci(confidence_level=0.95, method="wilson")
        return float(found.low), float(found.high)


@dataclass(frozen=True)
class Change:
    """Two runs over the same messages: only the messages that changed sides say anything (McNemar)."""

    pairs: int
    gained: int
    """Not right before, right now."""
    lost: int
    """Right before, not right now."""

    @property
    def differs(self) -> float:
        """Exact p, two-sided: so many changes as unevenly spread, if both runs were as good."""
        moved = self.gained + self.lost
        return float(binomtest(self.lost, moved, 0.5).pvalue) if moved else 1.0

    @property
    def worse(self) -> float:
        """Exact p, one-sided: so many losses or more among the changes, if both runs were as good."""
        moved = self.gained + self.lost
        return float(binomtest(self.lost, moved, 0.5, alternative="greater").pvalue) if moved else 1.0

    @property
    def is_worse(self) -> bool:
        """Whether the losses are more than chance."""
        return self.worse < SIGNIFICANT


@dataclass(frozen=True)
class Bin:
    """Messages of about the same belief."""

    low: float
    high: float
    number: int
    right: int
    belief: float
    """Mean; 0 where the bin is empty."""


def reliability(pairs: Iterable[tuple[float, bool]], bins: int = BINS) -> list[Bin]:
    """Beliefs in bins of equal width, the last one closed at 1.

    Args:
        pairs: belief from 0 to 1, and whether it turned out right.
        bins: how many.
    """
    sums = [0.0] * bins
    numbers = [0] * bins
    rights = [0] * bins
    for belief, right in pairs:
        place = min(int(belief * bins), bins - 1)
        sums[place] += belief
        numbers[place] += 1
        rights[place] += right
    return [
        Bin(
            place / bins,
            (place + 1) / bins,
            numbers[place],
            rights[place],
            sums[place] / numbers[place] if numbers[place] else 0.0,
        )
        for place in range(bins)
    ]


def calibration_error(bins: Sequence[Bin]) -> float:
    """Expected calibration error: how far belief and share of right lie apart in a bin, over all messages."""
    total = sum(one.number for one in bins)
    if not total:
        return math.nan
    return sum(abs(one.right - one.belief * one.number) for one in bins) / total


def quantile(values: Sequence[float], share: float) -> float:
    """The value with this share of the others below it; not a number where there is none."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else math.nan


def decimal(value: float, places: int = 3) -> str:
    """A share as it stands in tables: .929, 1.000, or a dash for nothing measured."""
    if math.isnan(value):
        return "-"
    text = f"{value:.{places}f}"
    return text[1:] if text.startswith("0.") else text


def p_text(value: float) -> str:
    """A p as it stands in tables; none is 0."""
    return "< .001" if value < 0.001 else decimal(value)
