"""Who runs the service. Without bot/organisation.yml the assistant answers on localhost only and says so."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actions.knowledge.load import KnowledgeError, read_yaml

KINDS = ("nonprofit", "public agency")
LANGUAGES = ("en", "es", "ht")
COLOURS = {"accent": "#1f5f5b", "accent_text": "#ffffff", "background": "#f6f5f1", "text": "#1d2433"}
"""Of the chat page where the organisation names none."""
CONTRAST = 4.5
"""Least contrast of text (WCAG 2.2, 1.4.3: https://www.w3.org/TR/WCAG22/#contrast-minimum)."""
_COLOUR = re.compile(r"^#[0-9a-fA-F]{6}$")


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
    """accent, accent_text, background and text of the website chat, "#rrggbb"."""
    header: Mapping[str, str] = field(default_factory=dict)
    """What stands at the top of the chat page, by language; the organisation's name where nothing does."""

    @property
    def set_up(self) -> bool:
        """Whether anybody answers for the assistant."""
        return bool(self.name)


def contrast(one: str, other: str) -> float:
    """Contrast of two colours, from 1 to 21 (https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio).

    >>> contrast("#000000", "#ffffff"), round(contrast("#777777", "#ffffff"), 2)
    (21.0, 4.48)
    """

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _check_colours(path: Path, colours: Any) -> None:
    if not isinstance(colours, dict):
        raise KnowledgeError(f'{path}: colours must be fields such as `accent: "#1f5f5b"`')
    for name, colour in colours.items():
        if name not in COLOURS:
            raise KnowledgeError(f"{path}: colours has an unknown field {name!r}; known are {', '.join(COLOURS)}")
        if not isinstance(colour, str) or not _COLOUR.match(colour):
            raise KnowledgeError(f'{path}: colours: {name} is {colour!r}; write it like "#1f5f5b", in quotation marks')
    used = {**COLOURS, **colours}
    # Links and the borders of buttons are in the accent colour, on the page's background.
    for ink, ground in (("accent_text", "accent"), ("text", "background"), ("accent", "background")):
        found = contrast(used[ink], used[ground])
        if found < CONTRAST:
            raise KnowledgeError(
                f"{path}: colours: {ink} {used[ink]} on {ground} {used[ground]} has a contrast of {found:.1f}:1, too little to be read"
                f" by everybody; choose a darker or lighter one, {CONTRAST}:1 at least"
            )


def _by_language(path: Path, name: str, texts: Any) -> None:
    missing = [language for language in LANGUAGES if not isinstance(texts, dict) or not texts.get(language)]
    if missing:
        raise KnowledgeError(f"{path}: {name} lack {', '.join(missing)}; residents read them in their language")


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
    _by_language(path, "hours", data["hours"])
    if data.get("header"):
        _by_language(path, "the texts of header", data["header"])
    _check_colours(path, data.get("colours") or {})
    if not str(data.get("exit_address", "https://")).startswith("https://"):
        raise KnowledgeError(
            f"{path}: exit_address is {data['exit_address']!r}; write an address that begins with https://"
        )
    for name in ("colours", "header"):
        data[name] = data.get(name) or {}
    data["people_speak"] = tuple(data["people_speak"])
    return Organisation(**data)


def default_path() -> Path:
    """OUTREACH_ORGANISATION, else bot/organisation.yml."""
    return Path(
        os.environ.get("OUTREACH_ORGANISATION") or Path(__file__).resolve().parents[1] / "bot" / "organisation.yml"
    )
