"""Looks for what must not be anywhere: canaries in all forms in which a program may have written them."""

from __future__ import annotations

import base64
import html
import json
import re
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PSEUDONYM = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
"""HMAC-SHA256 as the project writes it. Among some thousands of them seven given digits stand by chance once in some hundred runs;
so the last digits of a number are not looked for inside of them. The hex form of a canary is."""
LAST = 7
"""Digits of a number that are enough to find somebody in one county."""


@dataclass(frozen=True)
class Canary:
    """Something of a resident that must be nowhere."""

    label: str
    text: str
    number: bool = False
    """A number: also its digits alone, and its last ones."""


@dataclass(frozen=True)
class Needle:
    """A canary in one form."""

    canary: str
    form: str
    data: bytes
    exact: bool = False
    """Upper and lower case matter."""
    partial: bool = False


@dataclass(frozen=True)
class Hit:
    """A canary that was found."""

    where: str
    canary: str
    form: str
    around: str

    def __str__(self) -> str:
        return f"{self.where}: {self.canary} ({self.form}): {self.around}"


def _base64(data: bytes) -> Iterator[tuple[str, bytes]]:
    """What of the data's base64 does not hang on what stands before and behind, for each of the three ways it can lie."""
    for shift, first in ((0, 0), (1, 2), (2, 3)):
        whole = (shift + len(data)) * 8 // 6
        for name, encode in (("base64", base64.b64encode), ("base64url", base64.urlsafe_b64encode)):
            yield f"{name} shifted by {shift}", encode(b"\0" * shift + data)[first:whole]


def needles(canary: Canary) -> list[Needle]:
    """All forms of a canary."""
    variants = {"plain": canary.text}
    if canary.number:
        digits = re.sub(r"\D", "", canary.text)
        last = digits[-LAST:]
        variants |= {"digits": digits, "last digits": last, "last digits, dashed": f"{last[:3]}-{last[3:]}"}
    made: dict[tuple[bytes, bool], Needle] = {}

    def add(form: str, data: bytes, exact: bool = False) -> None:
        wanted = data if exact else data.lower()
        made.setdefault((wanted, exact), Needle(canary.label, form, wanted, exact, form == "last digits"))

    for name, text in variants.items():
        data = text.encode()
        add(name, data)
        add(f"{name}, JSON", json.dumps(text)[1:-1].encode())
        add(f"{name}, escaped twice", json.dumps(json.dumps(text))[3:-3].encode())
        add(f"{name}, as Python shows it", repr(data)[2:-1].encode())
        add(f"{name}, as ASCII", ascii(text)[1:-1].encode())
        add(f"{name}, URL", urllib.parse.quote(text, safe="").encode())
        add(f"{name}, form", urllib.parse.quote_plus(text).encode())
        add(f"{name}, HTML", html.escape(text).encode())
        add(f"{name}, HTML references", text.encode("ascii", "xmlcharrefreplace"))
        add(f"{name}, UTF-16", text.encode("utf-16-le"), exact=True)
        add(f"{name}, UTF-16 other order", text.encode("utf-16-be"), exact=True)
        add(f"{name}, hex", data.hex().encode())
        for form, encoded in _base64(data):
            add(f"{name}, {form}", encoded, exact=True)
    return list(made.values())


def search(places: Mapping[str, bytes], canaries: Iterable[Canary]) -> list[Hit]:
    """Every canary that stands anywhere, in any form.

    Args:
        places: name -> content.
        canaries: what to look for.
    """
    wanted = [needle for canary in canaries for needle in needles(canary)]
    assert all(len(needle.data) >= LAST for needle in wanted), "a canary is longer than that in every form"
    hits = []
    for where, content in places.items():
        folded = content.lower()
        without = PSEUDONYM.sub(b"#", folded)
        # Thousands of needles: of each only whether its beginning is there at all is looked up first.
        there = {exact: _beginnings(hay) for exact, hay in ((True, content), (False, folded))}
        for needle in wanted:
            if needle.data[:LAST] not in there[needle.exact]:
                continue
            hay = content if needle.exact else without if needle.partial else folded
            at = hay.find(needle.data)
            if at >= 0:
                around = hay[max(0, at - 30) : at + len(needle.data) + 30].decode("latin-1")
                hits.append(Hit(where, needle.canary, needle.form, repr(around)))
    return hits


def _beginnings(content: bytes) -> set[bytes]:
    return {content[at : at + LAST] for at in range(len(content) - LAST + 1)}


def files(*roots: Path, newer_than: float = 0.0, without: Iterable[str] = ()) -> dict[str, bytes]:
    """Path -> content of all files under folders; what vanishes meanwhile is left out.

    Args:
        newer_than: seconds of the epoch; files that were not changed since are left out.
        without: names of files and folders to leave out.
    """
    left_out = set(without)
    found: dict[str, bytes] = {}
    for root in roots:
        for path in root.rglob("*") if root.is_dir() else [root]:
            if left_out & set(path.parts) or path.is_symlink():
                continue
            try:
                if path.is_file() and path.stat().st_mtime >= newer_than:
                    # Names can tell as much as contents.
                    found[str(path)] = str(path).encode() + b"\n" + path.read_bytes()
            except OSError:
                continue
    return found
