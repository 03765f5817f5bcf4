"""The docs say what the code does: settings, commands, reply kinds and keywords are all in them."""

from __future__ import annotations

import re

from bot.cli import COMMANDS
from tests.conftest import ROOT

OPERATORS = (ROOT / "docs" / "operators.md").read_text(encoding="utf-8")


def test_every_setting_is_documented() -> None:
    code = "\n".join(
        path.read_text(encoding="utf-8") for folder in ("bot", "actions") for path in (ROOT / folder).rglob("*.py")
    )
    used = set(re.findall(r'environ\.get\("([A-Z_]+)"', code)) | set(re.findall(r'_whole_number\("([A-Z_]+)"', code))
    assert used
    assert {name for name in used if name not in OPERATORS} == set()


def test_every_documented_setting_is_used() -> None:
    code = "\n".join(
        path.read_text(encoding="utf-8") for folder in ("bot", "actions") for path in (ROOT / folder).rglob("*.py")
    )
    for name in re.findall(r"^\| ([A-Z_]{5,}) \|", OPERATORS, re.MULTILINE):
        assert name in code, name


def test_every_command_is_documented() -> None:
    for command in COMMANDS:
        assert f"`outreach {command}" in OPERATORS, command


def test_every_decision_that_is_named_exists() -> None:
    for path in [
        *(ROOT / "bot").rglob("*.py"),
        *(ROOT / "actions").rglob("*.py"),
        ROOT / "pyproject.toml",
        ROOT / "bot" / "config.yml",
    ]:
        for name in re.findall(r"docs/decisions/(\d{4}-[a-z-]+\.md)", path.read_text(encoding="utf-8")):
            assert (ROOT / "docs" / "decisions" / name).exists(), f"{path.name} names {name}"


def test_make_lists_its_commands() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z-]+):", text, re.MULTILINE)
    for target in targets:
        assert re.search(rf"^{target}:.*## ", text, re.MULTILINE) or target == "clean", target


def test_no_path_of_a_machine_and_no_filling_left() -> None:
    for path in [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"/(root|home|tmp)/|FILL|TODO", text), path.name
