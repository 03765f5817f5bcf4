"""Pictures as inline SVG, drawn here: no script, no font, nothing from elsewhere. Colours come from page.css, for light and dark.

Every picture has a title and a description; page.py puts a table with the same numbers beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from bot.evaluation.figures import Group
from bot.evaluation.outcomes import OUTCOMES
from bot.evaluation.statistics import Bin, Share, decimal

ROW = 38
"""Height of a row of bars: a line of text, the bar under it. Widths are shares of the page's, so that text keeps its size."""
BAR = 16
LEAST_LABELLED = 0.09
"""A narrower part of a bar has no number in it; the table has."""
CELL = 21
LETTER = 6.3
"""Width of a letter of a label at 11 px, generously."""


def _opened(name: str, title: str, description: str, attributes: str) -> str:
    return (
        f'<svg role="img" aria-labelledby="{name}-title {name}-description" {attributes}>'
        f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-description">{escape(description)}</desc>'
    )


def bars(name: str, title: str, rows: Sequence[Group]) -> str:
    """One bar of outcomes per group; each bar is as wide as the page."""
    height = ROW * len(rows) + 4
    parts = [
        _opened(
            name,
            title,
            "One stacked bar per row: right, half, offered, asked, wrong, as shares of its messages. The table below has the numbers.",
            f'class="bars" width="100%" height="{height}"',
        )
    ]
    for number, row in enumerate(rows):
        top = number * ROW
        right = row.share("right")
        parts.append(f'<text x="0" y="{top + 13}" class="label">{escape(row.name)}</text>')
        parts.append(
            f'<text x="100%" y="{top + 13}" class="value" text-anchor="end">{decimal(right.value)} right of {row.number}</text>'
        )
        start = 0.0
        for what in OUTCOMES:
            share = row.share(what)
            if not share.part:
                continue
            width = share.value * 100
            parts.append(
                f"<g><title>{escape(row.name)}: {what} {share.part} of {share.whole}</title>"
                f'<rect class="{what}" x="{start:.3f}%" y="{top + 18}" width="{width:.3f}%" height="{BAR}"/>'
            )
            if share.value >= LEAST_LABELLED:
                parts.append(
                    f'<text class="on-{what}" x="{start + width / 2:.3f}%" y="{top + 30}" text-anchor="middle">{share.part}</text>'
                )
            parts.append("</g>")
            start += width
    return "".join(parts) + "</svg>"


@dataclass(frozen=True)
class Cell:
    """How many messages of a topic were answered with another (or the same)."""

    number: int
    """All of them."""
    accepted: int
    """Of which right: the other topic would serve as well."""


def heat_map(
    name: str,
    title: str,
    rows: Sequence[str],
    columns: Sequence[str],
    cells: Mapping[tuple[str, str], Cell],
) -> str:
    """Topics (rows) by what was said (columns): the names of the rows stay in sight while the rest scrolls sideways.

    Args:
        name: of the element.
        title: of the picture.
        rows: topics of the labels.
        columns: topics of the replies, and offer, clarify, silence.
        cells: by (row, column); what is missing is empty.
    """
    head = max((len(column) for column in columns), default=0) * LETTER * 0.87 + 12
    side = max((len(row) for row in rows), default=0) * LETTER + 8
    # The last names lean out over the right edge.
    lean = head * 0.55
    width, height = len(columns) * CELL + lean, len(rows) * CELL + head + 4
    names = [
        f'<svg aria-hidden="true" class="names" width="{side:.0f}" height="{height:.0f}">'
        + "".join(
            f'<text class="label" x="{side - 6:.0f}" y="{head + number * CELL + 15:.0f}" text-anchor="end">{escape(row)}</text>'
            for number, row in enumerate(rows)
        )
        + "</svg>"
    ]
    parts = [
        _opened(
            name,
            title,
            "A row per topic of the label, a column per topic of the reply. Numbers are messages; the stronger the colour, the larger "
            "the share of the row. Framed cells were not accepted. The table below lists the cells.",
            f'width="{width:.0f}" height="{height:.0f}"',
        )
    ]
    for number, _ in enumerate(rows):
        if number % 2 == 0:
            parts.append(
                f'<rect class="stripe" x="0" y="{head + number * CELL:.1f}" width="{len(columns) * CELL}" height="{CELL}"/>'
            )
    for number, column in enumerate(columns):
        x, y = number * CELL + CELL / 2 + 4, head - 6
        parts.append(
            f'<text class="label" x="{x:.1f}" y="{y:.1f}" transform="rotate(-60 {x:.1f} {y:.1f})">{escape(column)}</text>'
        )
    totals = {row: sum(cell.number for (key, _), cell in cells.items() if key == row) for row in rows}
    for down, row in enumerate(rows):
        for across, column in enumerate(columns):
            x, y = across * CELL, head + down * CELL
            cell = cells.get((row, column))
            if cell is None:
                if row == column:
                    parts.append(
                        f'<rect class="own" x="{x + 1}" y="{y + 1:.1f}" width="{CELL - 2}" height="{CELL - 2}"/>'
                    )
                continue
            share = cell.number / totals[row]
            # Two ranges, so that the number on it can be read: dark on pale up to a half, pale on dark above.
            strong = share > 0.5
            strength = 0.92 + 0.08 * share if strong else 0.12 + 0.5 * share
            good = cell.accepted * 2 >= cell.number
            parts.append(
                f"<g><title>{escape(row)}, said {escape(column)}: {cell.number}, of which right {cell.accepted}</title>"
                f'<rect class="{"good" if good else "bad"}" x="{x + 1}" y="{y + 1:.1f}" width="{CELL - 2}" height="{CELL - 2}" '
                f'fill-opacity="{strength:.2f}"/>'
                f'<text class="{"strong" if strong else "weak"}" x="{x + CELL / 2}" y="{y + 14.5:.1f}" text-anchor="middle">'
                f"{cell.number}</text></g>"
            )
    return "".join(names) + "".join(parts) + "</svg>"


LEFT, TOP, SIDE, COUNTS = 40, 12, 280, 44


def reliability_curve(name: str, title: str, every: Sequence[Bin], answered: Sequence[Bin]) -> str:
    """Belief (across) against share of right (up), with 95 % intervals, over bars that say how many messages a bin holds."""

    def x(belief: float) -> float:
        return LEFT + belief * SIDE

    def y(share: float) -> float:
        return TOP + (1 - share) * SIDE

    bottom = TOP + SIDE + 26
    parts = [
        _opened(
            name,
            title,
            "Dots on the line: a belief of .7 is right seven times in ten. Dots below it: the model believes too much. "
            "Round dots are all messages, diamonds those that were answered. The table below has the numbers.",
            f'class="curve" viewBox="0 0 {LEFT + SIDE + 16} {bottom + COUNTS + 34}"',
        )
    ]
    for step in range(0, 11, 2):
        part = step / 10
        parts.append(f'<line class="grid" x1="{x(0):.1f}" y1="{y(part):.1f}" x2="{x(1):.1f}" y2="{y(part):.1f}"/>')
        parts.append(f'<line class="grid" x1="{x(part):.1f}" y1="{y(0):.1f}" x2="{x(part):.1f}" y2="{y(1):.1f}"/>')
        parts.append(
            f'<text class="value" x="{LEFT - 6}" y="{y(part) + 4:.1f}" text-anchor="end">{decimal(part, 1)}</text>'
        )
        parts.append(
            f'<text class="value" x="{x(part):.1f}" y="{y(0) + 15:.1f}" text-anchor="middle">{decimal(part, 1)}</text>'
        )
    parts.append(f'<line class="ideal" x1="{x(0):.1f}" y1="{y(0):.1f}" x2="{x(1):.1f}" y2="{y(1):.1f}"/>')
    filled = [one for one in every if one.number]
    line = " ".join(f"{x(one.belief):.1f},{y(one.right / one.number):.1f}" for one in filled)
    parts.append(f'<polyline class="run" points="{line}"/>')
    for one in filled:
        low, high = Share(one.right, one.number).interval
        parts.append(
            f"<g><title>belief {decimal(one.belief, 2)}: {one.right} of {one.number} right</title>"
            f'<line class="error" x1="{x(one.belief):.1f}" y1="{y(low):.1f}" x2="{x(one.belief):.1f}" y2="{y(high):.1f}"/>'
            f'<circle class="dot" cx="{x(one.belief):.1f}" cy="{y(one.right / one.number):.1f}" r="4.5"/></g>'
        )
    for one in answered:
        if one.number:
            across, up = x(one.belief), y(one.right / one.number)
            parts.append(
                f"<g><title>belief {decimal(one.belief, 2)}, answered: {one.right} of {one.number} right</title>"
                f'<path class="diamond" d="M{across:.1f} {up - 5.5:.1f}l5.5 5.5l-5.5 5.5l-5.5 -5.5z"/></g>'
            )
    most = max((one.number for one in every), default=0) or 1
    base = bottom + COUNTS
    for one in every:
        tall = one.number / most * (COUNTS - 14)
        middle = (x(one.low) + x(one.high)) / 2
        parts.append(
            f'<rect class="count" x="{x(one.low) + 1:.1f}" y="{base - tall:.1f}" width="{SIDE / len(every) - 2:.1f}" height="{tall:.1f}"/>'
            f'<text class="value" x="{middle:.1f}" y="{base - tall - 3:.1f}" text-anchor="middle">{one.number}</text>'
        )
    parts.append(
        f'<text class="label" x="{x(0.5):.1f}" y="{base + 18}" text-anchor="middle">belief; below it, messages</text>'
    )
    parts.append(
        f'<text class="label" x="10" y="{y(0.5):.1f}" text-anchor="middle" transform="rotate(-90 10 {y(0.5):.1f})">share right</text>'
    )
    return "".join(parts) + "</svg>"
