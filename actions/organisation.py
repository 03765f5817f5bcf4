"""Who runs the service. Without bot/organisation.yml the assistant answers on localhost only and says so."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actions.knowledge.load import KnowledgeError, read_yaml

KINDS = ("nonprofit", "public agency")
LANGUAGES = ("en", "es", "ht")


@dataclass(frozen=True)
class Organisation:
    """An organisation that answers for the assistant."""

    name: str = ""
    """"" when not set up: residents read "a community service (not yet set up)"."""
    kind: str = "nonprofit"
    """nonprofit, or public agency (public-records law applies)."""
    contact: str = ""
    """Phone number or address for residents, as they shall read it."""
    hours: Mapping[str, str] = field(default_factory=dict)
    """When somebody answers there, by language."""
    people_speak: tuple[str, ...] = ()
    privacy_contact: str = ""
    exit_address: str = "https://weather.com/"
    """Where the website chat's exit button leads."""
    colours: Mapping[str, str] = field(default_factory=dict)
    """accent and accent_text of the website chat."""

    @property
    def set_up(self) -> bool:
        """Whether anybody answers for the assistant."""
        return bool(self.name)


def read(path: Path) -> Organisation:
    """Read an organisation file; a missing one is an organisation that is not set up.

    Raises:
        KnowledgeError: naming the field that is wrong.
    """
    if not path.exists():
        return Organisation()
    data: Any = read_yaml(path)
    if not isinstance(data, dict):
        raise KnowledgeError(
            f"{path}: must be a list of fields such as `name: ...`; see deployment/organisation.example.yml"
        )
    known = set(Organisation.__dataclass_fields__)
    for name in data:
        if name not in known:
            raise KnowledgeError(f"{path}: unknown field {name!r}; known are {', '.join(sorted(known))}")
    for name in ("name", "kind", "contact", "hours", "people_speak", "privacy_contact"):
        if not data.get(name):
            raise KnowledgeError(f"{path}: {name} is empty; fill it in (deployment/organisation.example.yml shows how)")
    if data["kind"] not in KINDS:
        raise KnowledgeError(f"{path}: kind is {data['kind']!r}; write one of: {', '.join(KINDS)}")
    missing = [language for language in LANGUAGES if not (data["hours"] or {}).get(language)]
    if missing:
        raise KnowledgeError(f"{path}: hours lack {', '.join(missing)}; residents read them in their language")
    data["people_speak"] = tuple(data["people_speak"])
    return Organisation(**data)


def default_path() -> Path:
    """OUTREACH_ORGANISATION, else bot/organisation.yml."""
    return Path(
        os.environ.get("OUTREACH_ORGANISATION") or Path(__file__).resolve().parents[1] / "bot" / "organisation.yml"
    )
