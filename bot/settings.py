"""All settings, from the environment and .env, in one place. The table of docs/operators.md is tested against this file."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass, field
from pathlib import Path

from dotenv import load_dotenv

from actions.organisation import Organisation, default_path
from actions.organisation import read as read_organisation

ROOT = Path(__file__).resolve().parents[1]
SENSITIVE_TOPICS = frozenset({"domestic_violence", "human_trafficking", "crisis"})
"""Their context is forgotten sooner: the phone may be in another hand."""


class SettingError(ValueError):
    """A setting that cannot be used: names the variable and what to write."""


@dataclass(frozen=True)
class Settings:
    """What an operator can set."""

    data: Path
    """OUTREACH_DATA: the one folder where anything is kept."""
    retention_hours: int
    """RETENTION_HOURS: after so many idle hours nothing of a conversation is left. Told to residents."""
    organisation: Organisation = field(default_factory=Organisation)
    """OUTREACH_ORGANISATION: file that says who runs the service."""
    context_minutes: int = 30
    """CONTEXT_MINUTES: after so many idle minutes topics, choices and MORE are forgotten."""
    sensitive_minutes: int = 10
    """SENSITIVE_MINUTES: the same after abuse, trafficking or crisis."""


def _whole_number(name: str, default: int, least: int, most: int) -> int:
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    if not text.isdigit() or not least <= int(text) <= most:
        raise SettingError(f"{name} is {text!r}; write a whole number from {least} to {most}")
    return int(text)


@functools.lru_cache(maxsize=1)
def settings() -> Settings:
    """Read the environment once; .env in the project's folder fills what is not set.

    Raises:
        SettingError, KnowledgeError: naming the variable or field.
    """
    load_dotenv(ROOT / ".env")
    file = default_path()
    if os.environ.get("OUTREACH_ORGANISATION") and not file.exists():
        raise SettingError(f"OUTREACH_ORGANISATION is {str(file)!r}, but there is no such file")
    return Settings(
        data=Path(os.environ.get("OUTREACH_DATA") or ROOT / "var"),
        retention_hours=_whole_number("RETENTION_HOURS", 24, 1, 168),
        organisation=read_organisation(file),
        context_minutes=_whole_number("CONTEXT_MINUTES", 30, 1, 24 * 60),
        sensitive_minutes=_whole_number("SENSITIVE_MINUTES", 10, 1, 24 * 60),
    )
