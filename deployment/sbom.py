"""A software bill of materials: CycloneDX 1.5 JSON on standard output (https://cyclonedx.org/docs/1.5/json/).

    make sbom > sbom.json

What runs is what `uv export` lists on standard input, for this platform; versions, checksums and who needs whom are from uv.lock, licences
from the installed packages. The same lock gives the same bytes. Development's packages are not in it.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import tomli
from packaging.markers import Marker
from packaging.tags import sys_tags
from packaging.utils import canonicalize_name, parse_wheel_filename

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "uv.lock"
NAME = "miami-dade-outreach"
STAND_INS = {
    "tensorflow": "An empty stand-in of this repository, deployment/tensorflow; nothing of TensorFlow is in it."
}
"""Packages of ours under somebody else's name: no scanner should take them for the real ones."""
_LISTED = re.compile(r"^(?P<name>[A-Za-z0-9_.-]+)(?:==(?P<version>[^ ;]+)| @ [^;]+)\s*(?:;\s*(?P<marker>.+?))?\s*\\?$")
# What packages write, as SPDX names it (https://spdx.org/licenses/). "BSD" alone is none of them: there are several.
_SPDX = {
    "Apache 2.0": "Apache-2.0",
    "Apache 2": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "3-Clause BSD License": "BSD-3-Clause",
    "new BSD": "BSD-3-Clause",
    "MIT License": "MIT",
    "ISC License (ISCL)": "ISC",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "The Unlicense (Unlicense)": "Unlicense",
    **{
        name: name
        for name in ("Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MPL-2.0", "PSF-2.0", "Unlicense")
    },
}


def listed(lines: Iterable[str]) -> list[str]:
    """Names of a requirements list that belong on this platform, in its order."""
    found = []
    for line in lines:
        match = _LISTED.match(line.strip())
        if match and (match["marker"] is None or Marker(match["marker"]).evaluate()):
            found.append(canonicalize_name(match["name"]))
        elif line.strip().startswith("./"):
            found.append(canonicalize_name(Path(line.split(";")[0].strip()).name))
    return found


def locked(path: Path = LOCK) -> dict[str, dict[str, Any]]:
    """uv.lock's packages by name."""
    data = tomli.loads(path.read_text("utf-8"))
    return {canonicalize_name(package["name"]): package for package in data["package"]}


def purl(name: str, version: str) -> str:
    """The package's URL, as scanners look it up (https://github.com/package-url/purl-spec).

    >>> purl("Ruamel.YAML", "0.17.21")
    'pkg:pypi/ruamel-yaml@0.17.21'
    """
    return f"pkg:pypi/{canonicalize_name(name)}@{version.replace('+', '%2B')}"


def file_of(package: dict[str, Any]) -> dict[str, Any] | None:
    """The file that is installed on this platform: the wheel whose tag comes first, else the source."""
    ranks = {tag: rank for rank, tag in enumerate(sys_tags())}
    best: tuple[int, dict[str, Any]] | None = None
    for wheel in package.get("wheels", ()):
        tags = parse_wheel_filename(unquote(wheel["url"].rsplit("/", 1)[-1]))[3]
        rank = min((ranks[tag] for tag in tags if tag in ranks), default=None)
        if rank is not None and (best is None or rank < best[0]):
            best = rank, wheel
    return best[1] if best else package.get("sdist")


def licences(name: str) -> list[dict[str, Any]]:
    """The licence as the installed package tells it; none where it tells none."""
    try:
        about = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return []
    expression = about.get("License-Expression")
    if expression:
        return [{"expression": expression}]
    said = [line.rsplit(" :: ", 1)[-1] for line in about.get_all("Classifier") or () if line.startswith("License ::")]
    free = (about.get("License") or "").strip().split("\n")[0]
    if free in _SPDX:
        return [{"license": {"id": _SPDX[free]}}]
    known = sorted({_SPDX[word] for word in said if word in _SPDX})
    if known:
        return [{"license": {"id": identity}} for identity in known]
    words = next((word for word in (free, *said) if word and word != "UNKNOWN" and len(word) < 100), None)
    return [{"license": {"name": words}}] if words else []


def component(name: str, package: dict[str, Any]) -> dict[str, Any]:
    """One package."""
    version = package["version"]
    made: dict[str, Any] = {"type": "library", "bom-ref": f"{name}@{version}", "name": name, "version": version}
    if name in STAND_INS:
        own = {"version": f"{version}+stand-in", "description": STAND_INS[name], "licenses": licences(NAME)}
        return {**made, **own, "scope": "required"}
    file = file_of(package)
    if file and file["hash"].startswith("sha256:"):
        made["hashes"] = [{"alg": "SHA-256", "content": file["hash"].removeprefix("sha256:")}]
    found = licences(name)
    if found:
        made["licenses"] = found
    return {**made, "purl": purl(name, version), "scope": "required"}


def bill(lines: Iterable[str], lock: Path = LOCK) -> dict[str, Any]:
    """The whole bill."""
    packages = locked(lock)
    names = sorted({name for name in listed(lines) if name != NAME and name in packages})
    refs = {name: f"{name}@{packages[name]['version']}" for name in names}
    own = packages[NAME]
    root = {"type": "application", "bom-ref": NAME, "name": NAME, "version": own["version"], "licenses": licences(NAME)}

    def needs(package: dict[str, Any]) -> list[str]:
        return sorted({refs[item["name"]] for item in package.get("dependencies", ()) if item["name"] in refs})

    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": root},
        "components": [component(name, packages[name]) for name in names],
        "dependencies": [
            {"ref": NAME, "dependsOn": needs(own)},
            *({"ref": refs[name], "dependsOn": needs(packages[name])} for name in names),
        ],
    }


if __name__ == "__main__":
    json.dump(bill(sys.stdin), sys.stdout, indent=1, ensure_ascii=False)
    print()
