"""The bill of materials: what a scanner and a lawyer need of it, checked by CycloneDX 1.5's rules (https://cyclonedx.org/docs/1.5/json/)."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from importlib import metadata
from typing import Any

import pytest

from tests.conftest import ROOT

SCRIPT = ROOT / "deployment" / "sbom.py"
LISTED = """\
-e .
./deployment/tensorflow ; sys_platform == 'linux' or sys_platform == 'darwin'
    # via rasa
rasa==3.6.21 ; sys_platform == 'linux' or sys_platform == 'darwin'
numpy==1.24.4
sanic==21.12.2 ; sys_platform != 'never'
ruamel-yaml==0.17.21
uvloop==0.23.0 ; sys_platform == 'never'
scikit-learn==1.1.3
"""
"""As `uv export --no-dev` writes it."""


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    """The bill of LISTED, by the command itself."""
    done = subprocess.run([sys.executable, str(SCRIPT)], input=LISTED, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    again = subprocess.run([sys.executable, str(SCRIPT)], input=LISTED, capture_output=True, text=True, cwd=ROOT)
    assert again.stdout == done.stdout, "the same lock, the same bytes"
    return json.loads(done.stdout)


def test_it_is_a_bill_of_this_application(made: dict[str, Any]) -> None:
    assert (made["bomFormat"], made["specVersion"], made["version"]) == ("CycloneDX", "1.5", 1)
    assert set(made) <= {"bomFormat", "specVersion", "version", "metadata", "components", "dependencies"}
    root = made["metadata"]["component"]
    assert (root["type"], root["name"], root["version"]) == (
        "application",
        "miami-dade-outreach",
        metadata.version("miami-dade-outreach"),
    )


def test_every_package_of_this_platform_is_in_it_once(made: dict[str, Any]) -> None:
    names = [item["name"] for item in made["components"]]
    assert names == ["numpy", "rasa", "ruamel-yaml", "sanic", "scikit-learn", "tensorflow"]


def test_every_component_can_be_found_and_checked(made: dict[str, Any]) -> None:
    for item in made["components"]:
        assert item["type"] == "library"
        assert item["scope"] == "required"
        for licence in item["licenses"]:
            assert len(licence) == 1
            assert set(licence) <= {"expression", "license"}
            if "license" in licence:
                assert set(licence["license"]) in ({"id"}, {"name"})
        if item["name"] == "tensorflow":
            assert "purl" not in item, "a scanner must not take the stand-in for TensorFlow"
            assert "stand-in" in item["version"]
            continue
        assert item["purl"] == f"pkg:pypi/{item['name']}@{item['version']}"
        assert item["version"] == metadata.version(item["name"])
        assert [found["alg"] for found in item["hashes"]] == ["SHA-256"]
        assert re.fullmatch(r"[0-9a-f]{64}", item["hashes"][0]["content"])
        assert item["hashes"][0]["content"] in (ROOT / "uv.lock").read_text("utf-8")


def test_who_needs_whom_is_in_it(made: dict[str, Any]) -> None:
    refs = {item["bom-ref"] for item in made["components"]} | {made["metadata"]["component"]["bom-ref"]}
    assert {row["ref"] for row in made["dependencies"]} == refs
    needs = {row["ref"]: row["dependsOn"] for row in made["dependencies"]}
    assert all(set(wanted) <= refs for wanted in needs.values())
    assert "sanic@21.12.2" in needs["rasa@3.6.21"]
    assert needs["miami-dade-outreach"] == ["rasa@3.6.21", "scikit-learn@1.1.3"]


def test_the_file_that_is_installed_here_is_the_one_whose_checksum_is_told() -> None:
    spec = importlib.util.spec_from_file_location("sbom", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    sbom = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sbom)
    file = sbom.file_of(sbom.locked()["numpy"])
    tag = next(
        line for line in (metadata.distribution("numpy").read_text("WHEEL") or "").splitlines() if "Tag: " in line
    )
    assert tag.removeprefix("Tag: ").split("-")[0] in file["url"]


# --- docs/dependencies.md ---------------------------------------------------------------------------

DOCS = (ROOT / "docs" / "dependencies.md").read_text("utf-8")
LOCKED = dict(
    re.findall(r'^name = "([^"]+)"\nversion = "([^"]+)"', (ROOT / "uv.lock").read_text("utf-8"), re.MULTILINE)
)
WEAK = re.findall(r"^\| ([a-z0-9-]+) ([0-9][0-9.a-z]*) \|", DOCS, re.MULTILINE)
LEFT_OUT = [
    name for row in re.findall(r"^\| ([a-z0-9, -]+) \| (?![0-9])", DOCS.partition("## Left out")[2], re.MULTILINE)
    for name in row.split(", ") if name != "left out"
]  # fmt: skip


@pytest.mark.parametrize(("name", "version"), WEAK)
def test_a_weak_pin_is_named_as_it_is_locked(name: str, version: str) -> None:
    assert LOCKED[name] == version, f"uv.lock has another {name}: look at docs/dependencies.md again"


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_is_left_out_is_not_there(name: str) -> None:
    assert name not in LOCKED
    with pytest.raises(metadata.PackageNotFoundError):
        metadata.version(name)


def test_the_tables_are_read() -> None:
    assert len(WEAK) >= 10
    assert {"skops", "huggingface-hub", "keras"} <= set(LEFT_OUT)


def test_what_is_not_imported_is_not_imported() -> None:
    """In a server that answers, and in Rasa's own training."""
    code = (
        "import warnings; warnings.filterwarnings('ignore')\n"
        "import sys\nimport bot.server, rasa.model_training, rasa.engine.recipes.default_components\n"
        "from bot.channels.telegram.channel import TelegramChannel\n"
        "print(*[name for name in ('pydantic', 'skops', 'sentry_sdk', 'huggingface_hub') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=100)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == []
