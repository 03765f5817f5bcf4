"""Compares the knowledge files with the research they came from: ids, quotes to the letter, unverified fields by number.

python tests/against_sources.py FOLDER     with facts.yml and directory.yml
"""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

from actions.knowledge.load import load


def differences(folder: Path) -> list[str]:
    """A line for each difference."""
    known = load()
    facts = {fact["id"]: fact for fact in yaml.safe_load((folder / "facts.yml").read_text(encoding="utf-8"))}
    places = {
        str(entry["id"]): entry for entry in yaml.safe_load((folder / "directory.yml").read_text(encoding="utf-8"))
    }
    found = [f"fact {name} is only on one side" for name in sorted(set(facts) ^ set(known.facts))]
    found += [f"directory entry {name} is only on one side" for name in sorted(set(places) ^ set(known.directory))]
    for name in set(facts) & set(known.facts):
        for field in ("quote", "quote_unverified", "source_url", "confidence", "citation"):
            if known.facts[name].raw[field] != facts[name][field]:
                found.append(f"fact {name}: {field} differs from the source")
    for name in set(places) & set(known.directory):
        here, there = known.directory[name].raw, places[name]
        if len(here["unverified"]) != len(there["unverified_fields"]):
            found.append(
                f"directory entry {name}: {len(here['unverified'])} unverified items, the source has {len(there['unverified_fields'])}"
            )
        if [str(phone["number"]) for phone in here["phones"]] != [str(phone["number"]) for phone in there["phones"]]:
            found.append(f"directory entry {name}: phones differ from the source")
    return found


if __name__ == "__main__":
    lines = differences(Path(sys.argv[1]))
    print("\n".join(lines) or "knowledge and sources agree: ids, quotes, phones, unverified fields")
    sys.exit(1 if lines else 0)
