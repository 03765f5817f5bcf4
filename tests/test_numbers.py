"""`outreach report` and `outreach purge`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bot.numbers import as_csv, tables
from bot.privacy.keys import SHM, day_keys, on_tmpfs
from bot.privacy.pseudonyms import Pseudonyms
from bot.privacy.records import Record
from bot.privacy.store import Counted, Counts
from bot.privacy.store_file import NAME, FileStore
from bot.settings import Settings
from tests.conftest import NOW, outreach

OWN = Settings(data=Path("var"), retention_hours=24)
KEPT = Counts(
    topics={
        ("2026-11", "ht", "sms", "workplace"): 25,
        ("2026-11", "ht", "sms", "crisis"): 3,
        ("2026-11", "es", "web", "schools"): 9,
        ("2026-10", "en", "telegram", "domestic_violence"): 1,
    },
    days={("2026-11-20", "sms"): 28, ("2026-11-21", "web"): 9, ("2026-10-02", "telegram"): 1},
)


def test_small_cells_are_other() -> None:
    (names, topics), (_, days) = tables(KEPT)
    assert names == ("month", "language", "channel", "topic", "messages")
    assert topics == [
        (("2026-11", "ht", "sms", "workplace"), "25"),
        (("2026-11", "other", "other", "other"), "12"),
        (("other", "other", "other", "other"), "under 10"),
    ]
    assert days == [(("2026-11-20", "sms"), "28"), (("other", "other"), "10")]


def test_a_month_alone() -> None:
    assert tables(KEPT, "2026-10")[0][1] == [(("other", "other", "other", "other"), "under 10")]
    assert "domestic_violence" not in as_csv(KEPT)
    assert tables(Counts())[0][1] == []


def test_purge_beside_a_server(tmp_path: Path) -> None:
    environment = {"OUTREACH_DATA": str(tmp_path)}
    server = FileStore(tmp_path, OWN)
    for number in range(12):
        server.commit(f"k{number}", Record(language="ht"), [f"m{number}"], [], Counted("sms", "ht", ("workplace",)))
    server.set_opted_out("n", True)
    told = outreach("report", "--csv", environment=environment)
    assert told.stdout.splitlines()[1].endswith(",ht,sms,workplace,12")
    done = outreach("purge", environment=environment)
    assert (done.returncode, done.stdout.startswith("12 conversations removed")) == (0, True), done.stderr
    assert server.get("k3") is None
    assert server.handled(["m3"]) is None
    assert server.opted_out("n")
    server.commit("k1", Record(language="es"))
    assert server.get("k1") is not None
    server.close()
    assert outreach("purge", environment=environment).stdout.startswith("1 conversation removed")


@pytest.mark.parametrize("running", [False, True], ids=["no server runs", "a server runs"])
def test_purge_ends_the_keys_of_the_day(running: bool, tmp_path: Path) -> None:
    if not on_tmpfs(SHM):
        pytest.skip("this machine has no tmpfs: keys are in the server alone, and end with it")
    folder = Path(os.environ["OUTREACH_KEYS"])
    data = tmp_path / "var"
    keys = day_keys(data, str(folder))
    names = Pseudonyms(keys)
    conversation = names.of("sms", "+13055550100")
    server = FileStore(data, OWN)
    server.commit(conversation, Record(language="ht"))
    key = keys.key(NOW.date()).hex()
    assert any(key in path.read_text() for path in folder.rglob("keys.json"))
    if not running:
        server.close()
    done = outreach("purge", environment={"OUTREACH_DATA": str(data)})
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "The keys of the day are removed."
    assert not any(key in path.read_text() for path in folder.rglob("*") if path.is_file())
    assert names.of("sms", "+13055550100") != conversation, "a running server has no use for it either"
    if running:
        server.commit(names.of("sms", "+13055550100"), Record(language="es"))
        server.close()
    again = outreach("purge", environment={"OUTREACH_DATA": str(data)})
    assert again.stdout.splitlines()[-1].startswith("1 conversation removed" if running else "0 conversations removed")


def test_purge_ends_the_keys_also_where_the_store_cannot_be_opened(tmp_path: Path) -> None:
    if not on_tmpfs(SHM):
        pytest.skip("this machine has no tmpfs")
    data = tmp_path / "var"
    keys = day_keys(data, os.environ["OUTREACH_KEYS"])
    keys.key(NOW.date())
    data.mkdir()
    (data / NAME).write_bytes(b"this is no database" * 500)
    done = outreach("purge", environment={"OUTREACH_DATA": str(data)})
    assert done.returncode == 2
    assert "Move it away" in done.stderr
    assert keys.known(NOW.date()) is None


@pytest.mark.parametrize(
    "arguments", [("report", "--month", "November"), ("report", "--month", "2026-13"), ("purge", "all")]
)
def test_bad_input_is_one_line(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = outreach(*arguments, environment={"OUTREACH_DATA": str(tmp_path)})
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
