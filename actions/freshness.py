"""How fresh an answer is, and what a court's ruling on a Friday night takes back."""

from __future__ import annotations

import datetime as dt
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from actions.knowledge.records import Fact
from bot.privacy.logs import event

logger = logging.getLogger(__name__)
FILE = "withdrawn.yml"


class WithdrawalError(ValueError):
    """withdrawn.yml cannot be read: nobody can say what is withdrawn."""


def folder() -> Path:
    """OUTREACH_DATA, where withdrawals are kept."""
    return Path(os.environ.get("OUTREACH_DATA") or Path(__file__).resolve().parents[1] / "var")


def oldest(facts: Sequence[Fact]) -> list[tuple[str, str | None]]:
    """How fresh a text is: the month of the check when all its facts were checked, else its oldest source's date.

    Returns:
        [("checked", "2026-11")] or [("source_date", "2017-05")], followed by ("some_undated", None) where a source
        that nobody checked again has no date; [("source_undated", None)] when none has.
    """
    checked = [fact.checked_on for fact in facts if fact.checked_on]
    dated = [fact.source_date for fact in facts if not fact.checked_on and fact.source_date.date]
    undated = len(facts) - len(checked) - len(dated)
    if not checked and not dated:
        return [("source_undated", None)]
    if dated:
        shown: tuple[str, str | None] = ("source_date", min(dated, key=lambda date: date.sortable).date)
    else:
        shown = ("checked", min(checked).isoformat()[:7])
    return [shown, ("some_undated", None)] if undated else [shown]


def overdue(facts: Sequence[Fact], today: dt.date) -> bool:
    """Whether any of the facts should have been looked at again by now."""
    return any(fact.review_by < today for fact in facts)


@dataclass(frozen=True)
class Withdrawal:
    """A fact or topic taken back."""

    id: str
    until: dt.date | None
    """Last day of the withdrawal; None until somebody ends it."""


NO_FILE = (0, 0)
"""Seen where there is none: nothing is withdrawn."""


class Withdrawals:
    """What is withdrawn, read again whenever the file changes: a running server follows within a minute.

    A file that cannot be read stops a start; in a running server what was withdrawn before stays withdrawn.
    """

    def __init__(self, path: Path | None = None):
        self.path = path
        self._seen: tuple[int, int] | None = None
        self._items: dict[str, Withdrawal] = {}

    def _file(self) -> Path:
        return self.path or folder() / FILE

    def _read(self) -> dict[str, Withdrawal]:
        try:
            state = self._file().stat()
        except (FileNotFoundError, NotADirectoryError):
            self._seen, self._items = NO_FILE, {}
            return self._items
        except OSError as error:
            if self._seen is None:
                raise WithdrawalError(f"{self._file()} cannot be read ({type(error).__name__}); mend it") from None
            return self._items  # the folder is closed to us; the sweep of the store tells it every minute
        if (state.st_mtime_ns, state.st_size) != self._seen:
            try:
                items = self._parsed()
            except WithdrawalError:
                if self._seen is None:
                    raise
                event(
                    logger,
                    logging.ERROR,
                    "withdrawn.yml cannot be read; what was withdrawn before stays withdrawn (outreach withdraw)",
                )
                items = self._items
            self._items, self._seen = items, (state.st_mtime_ns, state.st_size)
        return self._items

    def _parsed(self) -> dict[str, Withdrawal]:
        try:
            data = yaml.safe_load(self._file().read_text(encoding="utf-8")) or []
            items = [Withdrawal(item["id"], item.get("until")) for item in data]
        except (OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError) as error:
            raise WithdrawalError(
                f"{self._file()} cannot be read ({type(error).__name__}); mend it, or move it away and withdraw anew "
                "(outreach withdraw)"
            ) from None
        if any(item.until is not None and type(item.until) is not dt.date for item in items):
            raise WithdrawalError(f"{self._file()}: `until` must be a date like 2026-12-31; mend it")
        return {item.id: item for item in items}

    def withdrawn(self, ids: Sequence[str], today: dt.date) -> bool:
        """Whether any of these fact or topic ids is withdrawn today."""
        items = self._read()
        return any(i in items and (items[i].until is None or items[i].until >= today) for i in ids)  # type: ignore[operator]

    def all(self) -> list[Withdrawal]:
        """Everything in the file, in its order."""
        return list(self._read().values())

    def check(self) -> None:
        """Read the file now.

        Raises:
            WithdrawalError: when it cannot be read.
        """
        self._read()

    def write(self, items: Sequence[Withdrawal]) -> None:
        """Replace the file at once, so that a reader never sees half of it."""
        path = self._file()
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".new")
        data = [{"id": item.id, "until": item.until} for item in items]
        draft.write_text(
            "# Written by `outreach withdraw`.\n" + yaml.safe_dump(data, sort_keys=False), encoding="utf-8"
        )
        draft.replace(path)
