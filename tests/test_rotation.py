"""Another OUTREACH_SECRET: who has stopped stays stopped, no number is kept for it, and the operator is told what still hangs on the former one."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from bot import remarks
from bot import settings as settings_module
from bot.cli import main
from bot.privacy.keys import MemoryKeys, subkey
from bot.privacy.pseudonyms import Pseudonyms, UnderSecrets, tag_of
from bot.privacy.store import MemoryStore, Store, StoreError
from bot.privacy.store_file import FileStore
from bot.settings import SettingError, Settings, Twilio, settings
from tests.channels import as_twilio
from tests.conftest import outreach
from tests.test_store import OWN, TALK, Broken

OLD = "first-secret-of-the-tests-0123456789"
NEW = "second-secret-of-the-tests-0123456789"
NEWEST = "third-secret-of-the-tests-0123456789"
NUMBER, OTHER = "+13055550100", "+13055550101"
QUESTION = "can the police ask for my papers"


def under(secret: str, *before: str) -> Pseudonyms:
    """Names as a server with these secrets has them."""
    return Pseudonyms(MemoryKeys(), subkey(secret, "opt-out"), [subkey(former, "opt-out") for former in before])


def stopped(store: Store, names: Pseudonyms, number: str = NUMBER) -> bool:
    """Whether a server with these names finds the opt-out of an SMS number."""
    first, *before = names.opt_out_names("sms", number)
    return store.opted_out(first, before)


def where(store: Store, names: Pseudonyms) -> UnderSecrets:
    return names.under_secrets(store.opt_outs())


Say = Callable[..., list[str | None]]


@pytest.fixture
def say(assistant: Any) -> Say:
    """Topics of the answer of a server with these names: say(store, names, text, number=..., channel=...)."""
    from bot.desk import Desk, Message

    def said(
        store: Any, names: Pseudonyms, text: str, number: str = NUMBER, channel: str = "sms", **more: Any
    ) -> list[str | None]:
        desk = Desk(assistant, store, names)
        answer = asyncio.new_event_loop().run_until_complete(desk.answer(Message(channel, number, text, **more)))
        return [reply.topic for reply in answer.replies]

    return said


# --- who has stopped --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rotation:
    """Secrets of the server that an opt-out meets."""

    label: str
    secrets: tuple[str, ...]
    """OUTREACH_SECRET, then those of OUTREACH_SECRET_BEFORE."""
    silent: bool = True


ROTATIONS = [
    Rotation("no rotation", (OLD,)),
    Rotation("one", (NEW, OLD)),
    Rotation("two, nobody wrote in between", (NEWEST, NEW, OLD)),
    Rotation("two, listed in another order", (NEWEST, OLD, NEW)),
    Rotation("the present one is listed too", (NEW, NEW, OLD)),
    Rotation("without the former one nobody would know", (NEW,), silent=False),
]


@pytest.mark.parametrize("row", ROTATIONS, ids=lambda row: row.label)
def test_who_has_stopped_stays_stopped(row: Rotation, store: Store, say: Say) -> None:
    names = under(*row.secrets)
    assert say(store, under(OLD), "PARE") == ["opt_out"]
    assert (say(store, names, QUESTION) == []) == row.silent
    if row.silent:
        assert say(store, names, "STOP") == [], "confirmed once, under whatever secret"
        assert say(store, names, "he is shooting at us right now") == ["emergency"]
        assert say(store, names, QUESTION, channel="whatsapp") == ["police_questions"], "another channel"
    assert say(store, names, QUESTION, OTHER) == ["police_questions"]


def test_an_opt_out_moves_when_its_sender_writes_and_nothing_is_left_under_the_former_secret(
    store: Store, say: Say
) -> None:
    for number in (NUMBER, OTHER):
        say(store, under(OLD), "STOP", number)
    names = under(NEW, OLD)
    assert where(store, names) == UnderSecrets(current=0, former=2, unknown=0)
    assert say(store, names, QUESTION) == []
    assert where(store, names) == UnderSecrets(current=1, former=1, unknown=0)
    assert stopped(store, under(NEW)), "found without the former secret"
    assert not stopped(store, under(OLD)), "and not with it alone"
    assert where(store, under(NEW)) == UnderSecrets(current=1, former=0, unknown=1), "the other one never wrote"
    if isinstance(store, FileStore):
        whole = b"".join(path.read_bytes() for path in store.path.parent.iterdir())
        assert (under(OLD).opt_out("sms", NUMBER) or "").encode() not in whole
        assert (under(OLD).opt_out("sms", OTHER) or "").encode() in whole, "else this proves nothing"


@pytest.mark.parametrize("moved", [False, True], ids=["still under the former secret", "moved"])
def test_start_takes_an_opt_out_from_under_every_secret(moved: bool, store: Store, say: Say) -> None:
    say(store, under(OLD), "STOP")
    names = under(NEWEST, NEW, OLD)
    if moved:
        assert say(store, names, QUESTION) == []
    # As a copy that was put back: under two secrets at once.
    store.set_opted_out(under(NEW).opt_out("sms", NUMBER) or "", True)
    assert say(store, names, "START") == ["opt_out"]
    assert store.opt_outs() == {}
    assert say(store, names, QUESTION) == ["police_questions"]
    assert not any(stopped(store, under(secret)) for secret in (OLD, NEW, NEWEST))


def test_servers_are_restarted_one_after_the_other(store: Store, say: Say) -> None:
    """The way of docs/runbook.md for several servers: each knows both secrets before the first one writes with the new one."""
    first, second = under(OLD, NEW), under(NEW, OLD)
    say(store, first, "STOP")
    for names in (second, first, second, under(NEW)):
        assert say(store, names, QUESTION) == []
    assert say(store, second, "START") == ["opt_out"]
    assert say(store, first, QUESTION) == ["police_questions"]
    assert store.opt_outs() == {}


def test_an_opt_out_that_cannot_be_moved_is_an_opt_out(store: Store, say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    if isinstance(store, MemoryStore):
        pytest.skip("memory can always be written")

    def full(*arguments: Any, **options: Any) -> Any:
        raise StoreError("the disk is full")

    say(store, under(OLD), "STOP")
    monkeypatch.setattr(type(store), "set_opted_out" if isinstance(store, FileStore) else "_rename_opt_out", full)
    assert stopped(store, under(NEW, OLD))
    assert where(store, under(NEW, OLD)).former == 1
    monkeypatch.undo()
    assert stopped(store, under(NEW, OLD))
    assert where(store, under(NEW, OLD)) == UnderSecrets(1, 0, 0), "the next message tries again"


def test_what_waits_while_the_store_is_away_is_kept_with_all_names(store: Store, assistant: Any) -> None:
    from bot.desk import Desk, Message

    loop = asyncio.new_event_loop()
    broken = Broken(store)
    store.set_opted_out(under(OLD).opt_out("sms", NUMBER) or "", True)
    desk = Desk(assistant, broken, under(NEW, OLD))  # type: ignore[arg-type]
    broken.down = True
    assert loop.run_until_complete(desk.answer(Message("sms", NUMBER, "START"))).replies
    broken.down = False
    loop.run_until_complete(desk.sweep())
    assert store.opt_outs() == {}


def test_opt_outs_from_before_there_were_tags_are_found(store: Store, say: Say) -> None:
    plain = hmac.new(subkey(OLD, "opt-out"), f"sms\x1f{NUMBER}".encode(), hashlib.sha256).hexdigest()
    for secrets in ((OLD,), (NEW, OLD)):
        store.set_opted_out(plain, True)
        assert tag_of(plain) == ""
        assert where(store, under(*secrets)) == UnderSecrets(0, 1, 0)
        assert say(store, under(*secrets), QUESTION) == []
        assert where(store, under(*secrets)) == UnderSecrets(1, 0, 0)
        assert say(store, under(*secrets), "START") == ["opt_out"]


def test_a_rotation_touches_no_conversation_and_links_none(store: Store) -> None:
    keys = MemoryKeys()
    before = Pseudonyms(keys, subkey(OLD, "opt-out"))
    after = Pseudonyms(keys, subkey(NEW, "opt-out"), [subkey(OLD, "opt-out")])
    store.commit(before.of("sms", NUMBER), TALK)
    store.set_opted_out(before.opt_out("sms", NUMBER) or "", True)
    kept = store.get(after.of("sms", NUMBER))
    assert kept is not None
    assert stopped(store, after)
    assert replace(kept, used=None) == TALK
    names = after.opt_out_names("sms", NUMBER)
    assert len(set(names)) == len(names) == 4
    assert after.of("sms", NUMBER) not in " ".join(names)
    assert after.opt_out_names("sms", OTHER)[0][:9] == names[0][:9], "the tag is the secret's, not the sender's"
    assert tag_of(names[0]) != tag_of(names[1])


# --- what the operator is told -----------------------------------------------------------------------

SMS = Twilio(as_twilio.ACCOUNT, as_twilio.TOKEN, as_twilio.NUMBER)


@dataclass(frozen=True)
class Told:
    """Secrets, opt-outs that are kept, and what is said of them."""

    label: str
    secret: str
    before: tuple[str, ...] = ()
    lost: bool = False
    stops: tuple[str, ...] = (OLD, OLD)
    """The secret that each opt-out lies under."""
    says: tuple[str, ...] = ()
    refused: str = ""
    sms: bool = True


TOLD = [
    Told("never rotated", OLD),
    Told("some are still there", NEW, (OLD,), stops=(OLD, OLD, NEW), says=("2 of 3 opt-outs are still under former secrets: keep",)),
    Told("all have moved", NEW, (OLD,), stops=(NEW, NEW), says=("0 of 2 opt-outs", "can be taken out")),
    Told("two rotations", NEWEST, (NEW, OLD), stops=(OLD, NEW, NEWEST), says=("2 of 3 opt-outs",)),
    Told("the former one was forgotten", NEW, refused="2 of the opt-outs lie under another OUTREACH_SECRET"),
    Told("one of two was forgotten", NEWEST, (NEW,), stops=(OLD, NEW), refused="1 of the opt-outs lie under another OUTREACH_SECRET"),
    Told("it is lost", NEW, lost=True, says=("2 of the opt-outs lie under a secret that is not set: nobody finds them",)),
    Told("no SMS here, so nobody would be written to", NEW, sms=False, says=("nobody finds them",)),
    Told("nobody stopped", NEW, stops=()),
]  # fmt: skip


@pytest.mark.parametrize("row", TOLD, ids=lambda row: row.label)
def test_what_lies_under_former_secrets_is_said_and_what_nobody_would_find_stops_the_start(
    row: Told, store: Store
) -> None:
    for number, secret in enumerate(row.stops):
        store.set_opted_out(under(secret).opt_out("sms", f"+1305555{number:04}") or "", True)
    own = Settings(
        data=Path("var"),
        retention_hours=24,
        secret=row.secret,
        secrets_before=row.before,
        secret_lost=row.lost,
        twilio=SMS if row.sms else None,
    )
    if row.refused:
        with pytest.raises(SettingError, match=row.refused) as caught:
            list(remarks.of_opt_outs(own, store))
        said = str(caught.value)
        assert "OUTREACH_SECRET_BEFORE" in said
    else:
        said = "\n".join(remarks.of_opt_outs(own, store))
        assert all(part in said for part in row.says), said
        assert bool(said) == bool(row.says)
        assert len(said.splitlines()) <= 1
    assert not any(secret in said for secret in (OLD, NEW, NEWEST, as_twilio.TOKEN))


def test_run_and_check_say_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "var"
    file = FileStore(data, OWN)
    file.set_opted_out(under(OLD).opt_out("sms", NUMBER) or "", True)
    file.close()
    environment = {
        "OUTREACH_DATA": str(data),
        "OUTREACH_SECRET": NEW,
        "PUBLIC_URL": "https://chat.example.org",
        "OUTREACH_ORGANISATION": str(settings_module.ROOT / "deployment" / "organisation.example.yml"),
        "TWILIO_ACCOUNT_SID": as_twilio.ACCOUNT,
        "TWILIO_AUTH_TOKEN": as_twilio.TOKEN,
        "TWILIO_NUMBER": as_twilio.NUMBER,
        "TWILIO_API": "http://127.0.0.1:1",
    }
    for arguments in (("run", "--port", "8396"), ("check",)):
        refused = outreach(*arguments, environment=environment)
        assert refused.returncode == 2, arguments
        assert "1 of the opt-outs lie under another OUTREACH_SECRET" in refused.stderr
        assert len(refused.stderr.splitlines()) == 1
    for name, value in {**environment, "OUTREACH_SECRET_BEFORE": OLD, "TWILIO_DELETE_AFTER": "0"}.items():
        monkeypatch.setenv(name, value)
    # The knowledge and the training data are looked at elsewhere, and take their time.
    monkeypatch.setattr("bot.check.run", lambda release: 0)
    settings.cache_clear()
    try:
        assert main(["check"]) == 0
    finally:
        settings.cache_clear()
    told = capsys.readouterr().out
    assert "1 of 1 opt-outs are still under former secrets: keep OUTREACH_SECRET_BEFORE" in told
    assert "TWILIO_DELETE_AFTER is 0" in told
    assert not any(secret in told + refused.stderr for secret in (OLD, NEW, as_twilio.TOKEN))


# --- the setting ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "secret", "before", "expected"),
    [
        ("none", NEW, "", ((), False)),
        ("one", NEW, OLD, ((OLD,), False)),
        ("a list", NEWEST, f"{NEW},{OLD}", ((NEW, OLD), False)),
        ("a list as people write it", NEWEST, f" {NEW}, {OLD} ,", ((NEW, OLD), False)),
        ("the present one", NEW, NEW, ((), False)),
        ("lost", NEW, "lost", ((), True)),
        ("one is lost, one is not", NEW, f"lost,{OLD}", ((OLD,), True)),
        ("too short", NEW, OLD[:31], "A secret in OUTREACH_SECRET_BEFORE is too short"),
        ("one of two too short", NEW, f"{OLD},{NEW[:31]}", "is too short or an example"),
        ("an example", NEW, "please-change-me-please-change-me-now", "or an example"),
        ("one letter", NEW, "b" * 64, "or an example"),
        ("without a present one", "", OLD, "OUTREACH_SECRET is missing"),
    ],
)
def test_former_secrets_are_held_to_the_rules_of_the_present_one(
    label: str, secret: str, before: str, expected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTREACH_SECRET", secret)
    monkeypatch.setenv("OUTREACH_SECRET_BEFORE", before)
    settings.cache_clear()
    try:
        if isinstance(expected, str):
            with pytest.raises(SettingError, match=expected) as caught:
                settings()
            said = f"{caught.value!r} {caught.value}"
        else:
            own = settings()
            assert (own.secrets_before, own.secret_lost) == expected
            said = f"{own!r} {own}"
        assert not any(part in said for part in (OLD[:20], NEW[:20], "please-change", "bbbb"))
    finally:
        settings.cache_clear()
