"""docs/runbook.md by the letter: its commands run as they stand there, and what it says is lost, or cannot be helped, is so."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import shutil
import subprocess
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from actions import clock
from bot.privacy.keys import MemoryKeys, TmpfsKeys, subkey
from bot.privacy.pseudonyms import Pseudonyms
from bot.privacy.records import Record
from bot.privacy.store import MemoryStore, Store
from bot.privacy.store_file import NAME, FileStore
from bot.privacy.store_redis import RedisStore
from bot.settings import Settings
from tests.conftest import NOW, ROOT, redis_server
from tests.test_store import OWN, PLANS, TALK

RUNBOOK = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
NUMBER = "+13055550100"
NAMES = [f"0123abcd-{number:064x}" for number in (0xABC, 0xDEF)]
"""Opt-outs are hexadecimal names of 64 signs behind a tag (bot/privacy/pseudonyms.py)."""


def _block(title: str) -> str:
    """A command of the runbook, by its first line."""
    found = re.search(rf"^ *```sh\n *# {re.escape(title)}\n(.*?)^ *```", RUNBOOK, re.MULTILINE | re.DOTALL)
    assert found, f"docs/runbook.md has no command {title!r}"
    return textwrap.dedent(found.group(1))


def _run(title: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the runbook in a folder that stands for the project's."""
    if not (folder / ".venv").exists():
        (folder / ".venv").symlink_to(ROOT / ".venv")
    (folder / "bash").write_text("set -eu\n" + _block(title), encoding="utf-8")
    return subprocess.run(
        ["bash", "bash"],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "OUTREACH_DATA": str(folder / "var"),
            "REDIS_URL": "",
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=60,
    )


# --- its commands -------------------------------------------------------------------------------------


def test_opt_outs_are_copied_from_a_running_file_and_put_back(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "var", OWN)
    store.commit("k", TALK, ["m1"], PLANS)
    for name in NAMES:
        store.set_opted_out(name, True)
    done = _run("opt-outs: copy", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    copy = tmp_path / "opt-outs.txt"
    assert sorted(copy.read_text("utf-8").split()) == sorted(NAMES), "the names, and nothing of a conversation"
    assert copy.stat().st_mode & 0o077 == 0
    refused = _run("opt-outs: put back", tmp_path)
    assert refused.returncode != 0
    assert "another server uses" in refused.stderr, "with a file the server must be stopped"
    store.close()
    shutil.rmtree(tmp_path / "var")
    done = _run("opt-outs: put back", tmp_path)
    assert (done.returncode, done.stdout) == (0, "2 opt-outs are back\n"), done.stderr
    store = FileStore(tmp_path / "var", OWN)
    assert all(store.opted_out(name) for name in NAMES)
    store.close()


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    """A Redis of the test's own."""
    process, url = redis_server(tmp_path)
    yield url
    process.terminate()
    process.wait(timeout=10)


def test_opt_outs_are_copied_from_redis_and_put_back(tmp_path: Path, redis_url: str) -> None:
    store = RedisStore(redis_url, OWN)
    for name in NAMES:
        store.set_opted_out(name, True)
    done = _run("opt-outs: copy", tmp_path, REDIS_URL=redis_url)
    assert (done.returncode, done.stderr) == (0, "")
    store._redis.flushall()  # as a restart of a Redis that writes to no disk
    assert not store.opted_out(NAMES[0])
    done = _run("opt-outs: put back", tmp_path, REDIS_URL=redis_url)
    assert (done.returncode, done.stdout) == (0, "2 opt-outs are back\n"), done.stderr
    assert all(store.opted_out(name) for name in NAMES)
    store.close()


def test_every_conversation_is_removed_and_opt_outs_stay(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "var", OWN)
    store.commit("pseudonym-of-somebody", TALK, ["m1"], PLANS)
    store.set_opted_out(NAMES[0], True)
    store.close()
    done = _run("conversations: remove all", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(
        "1 conversation removed, with the replies to their messages. Opt-outs and numbers stay."
    )
    assert b"pseudonym-of-somebody" not in b"".join(
        path.read_bytes() for path in (tmp_path / "var").iterdir() if path.is_file()
    )
    store = FileStore(tmp_path / "var", OWN)
    assert store.opted_out(NAMES[0])
    store.close()


# --- what a rotation loses ----------------------------------------------------------------------------


def test_every_secret_has_its_rotation() -> None:
    settings = (ROOT / "bot" / "settings.py").read_text(encoding="utf-8")
    secrets = set(re.findall(r'repr=False\)\n    """([A-Z_]+)[:,]', settings))
    assert len(secrets) == 6
    rows = set(re.findall(r"^\| ([A-Z_]{5,}) \|", RUNBOOK, re.MULTILINE))
    assert secrets <= rows


def test_without_the_keys_of_the_day_conversations_begin_anew_and_opt_outs_stand(tmp_path: Path) -> None:
    store, lasting = MemoryStore(OWN), subkey("a" * 20 + "bcdefghijklm", "opt-out")
    path = tmp_path / "keys.json"
    before = Pseudonyms(TmpfsKeys(path), lasting)
    store.commit(before.of("sms", NUMBER), TALK, before.message("sms", "SM1")[:1], PLANS)
    store.set_opted_out(before.opt_out("sms", NUMBER) or "", True)
    path.unlink()
    after = Pseudonyms(TmpfsKeys(path), lasting)
    assert store.get(after.of("sms", NUMBER)) is None
    assert store.handled(after.message("sms", "SM1")) is None, "a message may be answered twice"
    assert store.opted_out(after.opt_out("sms", NUMBER) or "")


# --- what cannot be helped, as the documents say -------------------------------------------------------


def test_what_answered_a_message_is_gone_after_a_day(tmp_path: Path) -> None:
    own = Settings(data=tmp_path, retention_hours=168)
    stores: list[Store] = [MemoryStore(own), FileStore(tmp_path, own)]
    for store in stores:
        store.commit("k", TALK, ["m1"], PLANS)
        with clock.fixed(NOW + dt.timedelta(hours=23)):
            store.sweep()
            assert store.handled(["m1"]) == PLANS
        with clock.fixed(NOW + dt.timedelta(hours=24, minutes=11)):
            store.sweep()
            assert store.handled(["m1"]) is None
            assert store.get("k") is not None, "the conversation itself lives longer here"
        store.close()


def test_a_server_that_is_switched_off_deletes_nothing_until_it_runs_again(tmp_path: Path) -> None:
    store = FileStore(tmp_path, OWN)
    store.commit("k", TALK)
    store.close()
    with clock.fixed(NOW + dt.timedelta(days=30)):
        assert b"workplace" in (tmp_path / NAME).read_bytes(), "nobody was there to delete it"
        store = FileStore(tmp_path, OWN)
        assert store.get("k") is None, "but it is not used any more"
        assert store.sweep() == 1
        store.close()
    assert b"workplace" not in (tmp_path / NAME).read_bytes().replace(b"topics", b"")


def test_a_stopped_server_s_keys_stay_in_memory_until_it_runs_again(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    key = TmpfsKeys(path).key(NOW.date())
    with clock.fixed(NOW + dt.timedelta(days=30)):
        assert key.hex() in path.read_text("utf-8"), "nobody was there to remove it"
        TmpfsKeys(path)
        assert key.hex() not in path.read_text("utf-8")


def test_a_copy_of_the_whole_file_would_bring_back_what_was_deleted(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "var", OWN)
    store.commit("k", TALK)
    store.close()
    shutil.copytree(tmp_path / "var", tmp_path / "copy")
    store = FileStore(tmp_path / "var", OWN)
    store.forget("k")
    assert store.get("k") is None
    store.close()
    restored = FileStore(tmp_path / "copy", OWN)
    assert restored.get("k") is not None, "which is why docs/runbook.md restores opt-outs alone"
    restored.close()


def test_who_has_a_number_and_the_key_of_the_day_finds_the_record(tmp_path: Path) -> None:
    """A court with the running machine can; a thief of the disk cannot (tests/test_store.py)."""
    store, path = FileStore(tmp_path / "var", OWN), tmp_path / "keys.json"
    running = Pseudonyms(TmpfsKeys(path))
    store.commit(running.of("sms", NUMBER), TALK)
    assert json.loads(path.read_text("utf-8")), "the key lies in memory, as a file"
    found = store.get(Pseudonyms(TmpfsKeys(path)).of("sms", NUMBER))
    assert found is not None
    assert replace(found, used=None) == TALK, "language and subjects"
    assert found.used == NOW, "and the time, to ten minutes"
    assert store.get(Pseudonyms(MemoryKeys()).of("sms", NUMBER)) is None, "not without the key"
    with clock.fixed(NOW + dt.timedelta(hours=24)):
        assert store.get(Pseudonyms(TmpfsKeys(path)).of("sms", NUMBER)) is None
        before = Pseudonyms(TmpfsKeys(path)).before("sms", NUMBER)
        assert before is None or store.get(before) is None, "not after a day"
    store.close()


def test_the_language_is_known_for_as_long_as_the_record() -> None:
    """Who holds the phone within a day is answered in the language that was written: that somebody wrote can be told from it."""
    store = MemoryStore(OWN)
    store.commit("k", Record(language="ht", introduced=True, last_topics=["domestic_violence"]))
    with clock.fixed(NOW + dt.timedelta(hours=23)):
        assert store.get("k") == Record(language="ht", introduced=True, used=NOW)
