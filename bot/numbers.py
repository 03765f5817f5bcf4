"""What the organisation may count, and taking everything back: `outreach report` and `outreach purge`."""

from __future__ import annotations

import csv
import io
from collections import Counter

from bot.privacy.store import Counts, Store
from bot.privacy.store_file import FileStore
from bot.privacy.store_redis import RedisStore
from bot.settings import Settings

LEAST = 10
"""Cells under it are shown as "other" only: few people in a cell could be known by it."""
OTHER = "other"
Row = tuple[str, ...]


def beside_the_server(own: Settings) -> Store:
    """The store that the settings name, also while a server uses it: both only do what one transaction can.

    Raises:
        StoreError: when it cannot be used.
    """
    return RedisStore(own.redis_url, own) if own.redis_url else FileStore(own.data, own, beside=True)


def _folded(cells: dict[Row, int], kept: int) -> list[tuple[Row, int]]:
    """Cells with at least LEAST, the others added up per first `kept` columns; what is still too small then is added up over everything."""
    shown = {cell: number for cell, number in cells.items() if number >= LEAST}
    rest: Counter[Row] = Counter()
    for cell, number in cells.items():
        if number < LEAST:
            rest[cell[:kept] + (OTHER,) * (len(cell) - kept)] += number
    small = sum(number for number in rest.values() if number < LEAST)
    shown.update({cell: number for cell, number in rest.items() if number >= LEAST})
    if small:
        width = len(next(iter(cells)))
        shown[(OTHER,) * width] = small if small >= LEAST else LEAST - 1
    return sorted(shown.items())


def tables(counts: Counts, month: str | None = None) -> list[tuple[Row, list[tuple[Row, str]]]]:
    """(column names, rows) of each table, cells under LEAST folded into "other".

    Args:
        counts: as kept.
        month: like 2026-11; everything when left out.
    """
    topics = {cell: n for cell, n in counts.topics.items() if not month or cell[0] == month}
    days = {cell: n for cell, n in counts.days.items() if not month or cell[0].startswith(month)}
    made = []
    for names, cells, kept in ((("month", "language", "channel", "topic"), topics, 1), (("day", "channel"), days, 0)):
        rows = [
            # What is left over may be smaller than LEAST: then only that is said.
            (cell, f"under {LEAST}" if number < LEAST else str(number))
            for cell, number in _folded(cells, kept)  # type: ignore[arg-type]
        ]
        made.append(((*names, "messages"), rows))
    return made


def as_text(counts: Counts, month: str | None = None) -> str:
    """The tables, aligned."""
    parts = []
    for names, rows in tables(counts, month):
        lines = [names, *((*cell, number) for cell, number in rows)]
        widths = [max(len(line[column]) for line in lines) for column in range(len(names))]
        parts.append(
            "\n".join(
                "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
                for line in lines
            )
        )
        if not rows:
            parts.append("(nothing was counted)")
    return "\n\n".join(parts)


def as_csv(counts: Counts, month: str | None = None) -> str:
    """The tables one after the other, an empty line between."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for number, (names, rows) in enumerate(tables(counts, month)):
        if number:
            out.write("\n")
        writer.writerow(names)
        writer.writerows((*cell, count) for cell, count in rows)
    return out.getvalue()
