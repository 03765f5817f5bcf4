"""A software bill of materials from a locked requirements list on standard input: CycloneDX 1.5 JSON on standard output.

make sbom > sbom.json
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from importlib import metadata

_PINNED = re.compile(r"^([A-Za-z0-9_.-]+)==([^ ;]+)")


def components(lines: Iterable[str]) -> list[dict[str, object]]:
    """One component per pinned package, with its licence where the installed package tells it."""
    found: list[dict[str, object]] = []
    for line in lines:
        match = _PINNED.match(line.strip())
        if not match:
            continue
        name, version = match.groups()
        made: dict[str, object] = {
            "type": "library",
            "name": name,
            "version": version,
            "purl": f"pkg:pypi/{name}@{version}",
        }
        try:
            about = metadata.metadata(name)
            licence = about.get("License-Expression") or about.get("License") or ""
            if licence and len(licence) < 100:
                made["licenses"] = [{"license": {"name": licence}}]
        except metadata.PackageNotFoundError:
            pass
        found.append(made)
    return found


if __name__ == "__main__":
    json.dump(
        {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "components": components(sys.stdin)},
        sys.stdout,
        indent=1,
    )
