"""Secrets: without good ones nobody but this machine is let in, and no key is shown, kept in the repository, or left lying where it need not."""

from __future__ import annotations

import contextlib
import fnmatch
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from actions.knowledge.load import KnowledgeError
from bot import remarks
from bot import settings as settings_module
from bot.cli import COMMANDS, main
from bot.privacy.keys import day_keys, on_tmpfs
from bot.privacy.store import StoreError
from bot.privacy.store_redis import RedisStore
from bot.settings import SettingError, Settings, settings
from tests.channels import as_twilio
from tests.conftest import ROOT, outreach

TELEGRAM_TOKEN = "123456789:AAExampleExampleExampleExampleExample03"
TELEGRAM_SECRET = "telegram-proves-itself-with-this-three"


# --- settings and secrets -----------------------------------------------------------------------------

GOOD = "q7Lw0zXr5cV9bN2mK4jH8gF6dS1aP3oI"
PUBLIC = {
    "PUBLIC_URL": "https://chat.example.org",
    "OUTREACH_ORGANISATION": str(ROOT / "deployment" / "organisation.example.yml"),
}
SMS_KEYS = {
    "TWILIO_ACCOUNT_SID": as_twilio.ACCOUNT,
    "TWILIO_AUTH_TOKEN": as_twilio.TOKEN,
    "TWILIO_NUMBER": as_twilio.NUMBER,
}


BOT_KEYS = {"TELEGRAM_TOKEN": TELEGRAM_TOKEN, "TELEGRAM_SECRET_TOKEN": TELEGRAM_SECRET}


@dataclass(frozen=True)
class Set:
    """Variables, and what becomes of them."""

    label: str
    variables: dict[str, str]
    says: str = ""
    """What the error says; no error when empty."""


SETTINGS = [
    Set("nothing at all: localhost", {}),
    Set("localhost by name", {"OUTREACH_HOST": "localhost"}),
    Set("everything", {**PUBLIC, "OUTREACH_SECRET": GOOD}),
    Set("everything with SMS", {**PUBLIC, **SMS_KEYS, "OUTREACH_SECRET": GOOD}),
    Set("all addresses, no secret", {**PUBLIC, "PUBLIC_URL": "", "OUTREACH_HOST": "0.0.0.0"}, "OUTREACH_SECRET is missing"),
    Set("all addresses of IPv6", {**PUBLIC, "PUBLIC_URL": "", "OUTREACH_HOST": "::"}, "OUTREACH_SECRET is missing"),
    Set("one address of the network", {**PUBLIC, "PUBLIC_URL": "", "OUTREACH_HOST": "192.0.2.7"}, "OUTREACH_SECRET is missing"),
    Set("a public address, no secret", PUBLIC, "OUTREACH_SECRET is missing"),
    Set("a public address, blank secret", {**PUBLIC, "OUTREACH_SECRET": "   "}, "OUTREACH_SECRET is missing"),
    Set("a short secret", {**PUBLIC, "OUTREACH_SECRET": GOOD[:31]}, "OUTREACH_SECRET is too short"),
    Set("a short secret on localhost", {"OUTREACH_SECRET": "secret"}, "OUTREACH_SECRET is too short"),
    Set("an example", {**PUBLIC, "OUTREACH_SECRET": "please-change-me-please-change-me-now"}, "or an example"),
    Set("one letter", {**PUBLIC, "OUTREACH_SECRET": "a" * 64}, "or an example"),
    Set("the line of the docs", {**PUBLIC, "OUTREACH_SECRET": "..." * 20}, "or an example"),
    Set("digits in a row", {**PUBLIC, "OUTREACH_SECRET": "12345678" * 5}, "or an example"),
    Set("nobody runs it", {"PUBLIC_URL": "https://chat.example.org", "OUTREACH_SECRET": GOOD}, "does not say who runs"),
    Set("not encrypted", {**PUBLIC, "PUBLIC_URL": "http://chat.example.org", "OUTREACH_SECRET": GOOD}, "write https://"),
    Set("an address with a path", {**PUBLIC, "PUBLIC_URL": "https://example.org/chat"}, "without a path"),
    Set("an address with a password", {**PUBLIC, "PUBLIC_URL": f"https://me:{GOOD}@example.org"}, "PUBLIC_URL"),
    Set("SMS without a secret", {**PUBLIC, **SMS_KEYS}, "OUTREACH_SECRET"),
    Set("SMS without a token", {**PUBLIC, "OUTREACH_SECRET": GOOD, **SMS_KEYS, "TWILIO_AUTH_TOKEN": ""}, "TWILIO_AUTH_TOKEN"),
    Set("a token where the number belongs",
        {**PUBLIC, "OUTREACH_SECRET": GOOD, **SMS_KEYS, "TWILIO_NUMBER": as_twilio.TOKEN}, "TWILIO_NUMBER"),
    Set("SMS, a short secret", {**PUBLIC, **SMS_KEYS, "OUTREACH_SECRET": GOOD[:31]}, "OUTREACH_SECRET is too short"),
    Set("SMS, an example", {**PUBLIC, **SMS_KEYS, "OUTREACH_SECRET": "please-change-me-please-change-me-now"}, "or an example"),
    Set("everything with Telegram", {**PUBLIC, **BOT_KEYS, "OUTREACH_SECRET": GOOD}),
    Set("Telegram is asked, on this machine", {"TELEGRAM_TOKEN": TELEGRAM_TOKEN, "OUTREACH_SECRET": GOOD}),
    Set("Telegram is asked, no secret", {"TELEGRAM_TOKEN": TELEGRAM_TOKEN}, "TELEGRAM_TOKEN lets others in"),
    Set("Telegram sends, no secret", {**PUBLIC, **BOT_KEYS}, "OUTREACH_SECRET is missing"),
    Set("Telegram, a short secret", {**PUBLIC, **BOT_KEYS, "OUTREACH_SECRET": GOOD[:31]}, "OUTREACH_SECRET is too short"),
    Set("Telegram, an example", {**PUBLIC, **BOT_KEYS, "OUTREACH_SECRET": "please-change-me-please-change-me-now"}, "or an example"),
    Set("a bot's token that is none", {"TELEGRAM_TOKEN": TELEGRAM_TOKEN[:20]}, "TELEGRAM_TOKEN"),
    Set("a secret token only", {"TELEGRAM_SECRET_TOKEN": TELEGRAM_SECRET}, "TELEGRAM_TOKEN is missing"),
    Set("a webhook without a secret token",
        {**PUBLIC, "OUTREACH_SECRET": GOOD, "TELEGRAM_TOKEN": TELEGRAM_TOKEN}, "TELEGRAM_SECRET_TOKEN"),
    Set("a short secret token",
        {**PUBLIC, "OUTREACH_SECRET": GOOD, "TELEGRAM_TOKEN": TELEGRAM_TOKEN, "TELEGRAM_SECRET_TOKEN": "short"}, "TELEGRAM_SECRET_TOKEN"),
    Set("a proxy that is none", {"TRUSTED_PROXIES": "everybody"}, "TRUSTED_PROXIES"),
    Set("a site that is none", {"CHAT_ORIGINS": "*"}, "CHAT_ORIGINS"),
]  # fmt: skip
KEYS = (
    GOOD,
    as_twilio.TOKEN,
    TELEGRAM_TOKEN,
    TELEGRAM_TOKEN[:20],
    TELEGRAM_SECRET,
    "please-change-me",
    "hunter2hunter2",
)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[dict[str, str]], None]]:
    """Set variables, and none besides; no .env is read."""
    monkeypatch.setattr(settings_module, "load_dotenv", lambda path: None)
    for name in list(os.environ):
        if name.startswith(("OUTREACH_", "TWILIO_", "TELEGRAM_", "SMS_", "CHAT_", "TRUSTED_")) or name in (
            "PUBLIC_URL",
            "REDIS_URL",
        ):
            monkeypatch.delenv(name)

    def use(variables: dict[str, str]) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    settings.cache_clear()
    yield use
    settings.cache_clear()


@pytest.mark.parametrize("row", SETTINGS, ids=lambda row: row.label)
def test_what_lets_others_in(row: Set, environment: Callable[[dict[str, str]], None]) -> None:
    environment(row.variables)
    if not row.says:
        assert settings().local == ("PUBLIC_URL" not in row.variables)
        return
    with pytest.raises(SettingError, match=row.says) as caught:
        settings()
    said = f"{caught.value} {caught.value!r}"
    assert [key for key in KEYS if key in said] == []
    assert "\n" not in str(caught.value)


def test_no_key_is_shown_with_the_settings(environment: Callable[[dict[str, str]], None]) -> None:
    environment(
        {
            **PUBLIC,
            **SMS_KEYS,
            "OUTREACH_SECRET": GOOD,
            "TELEGRAM_TOKEN": TELEGRAM_TOKEN,
            "TELEGRAM_SECRET_TOKEN": TELEGRAM_SECRET,
            "REDIS_URL": "redis://:hunter2hunter2@127.0.0.1:6379/0",
        }
    )
    own = settings()
    assert own.redis_url
    assert own.twilio
    assert own.telegram
    shown = f"{own!r} {own} {own.twilio!r} {own.telegram!r} {[own]}"
    assert [key for key in KEYS if key in shown] == []
    # Rows of a table in which keys do stand: what a debugger may see is not what is printed.
    assert GOOD in repr(own.__dict__)


@pytest.mark.parametrize(
    "url", ["redis://:hunter2hunter2@127.0.0.1:1/0", "hunter2hunter2://x", "redis://hunter2hunter2@[::bad", "redis://:hunter2hunter2@127.0.0.1:port/0"]
)  # fmt: skip
def test_an_address_of_redis_that_fails_is_not_shown(url: str) -> None:
    with pytest.raises(StoreError) as caught:
        RedisStore(url, Settings(data=Path("var"), retention_hours=24))
    error: BaseException | None = caught.value
    assert "hunter2" not in str(error)
    assert error is not None
    assert error.__suppress_context__, "nor where a traceback is printed"


@dataclass(frozen=True)
class Start:
    """`outreach run` with settings that cannot be used."""

    label: str
    variables: dict[str, str]
    says: str


STARTS = [
    Start("keys on a disk", {"OUTREACH_KEYS": "{disk}"}, "OUTREACH_KEYS"),
    Start("Redis is not there", {"REDIS_URL": "redis://:hunter2hunter2@127.0.0.1:1/0"}, "is it running"),
    Start("data in a file", {"OUTREACH_DATA": "{file}"}, "OUTREACH_DATA must be a folder"),
    Start("no secret", PUBLIC, "OUTREACH_SECRET is missing"),
    Start("SMS, no secret", {**PUBLIC, **SMS_KEYS}, "OUTREACH_SECRET"),
    Start("Telegram, no secret", {**PUBLIC, **BOT_KEYS}, "OUTREACH_SECRET is missing"),
    Start("all channels, a short secret", {**PUBLIC, **SMS_KEYS, **BOT_KEYS, "OUTREACH_SECRET": GOOD[:31]}, "OUTREACH_SECRET is too short"),
    Start("all channels, an example",
          {**PUBLIC, **SMS_KEYS, **BOT_KEYS, "OUTREACH_SECRET": "please-change-me-please-change-me-now"}, "or an example"),
    Start("a token where the number belongs",
          {**PUBLIC, "OUTREACH_SECRET": GOOD, **SMS_KEYS, "TWILIO_NUMBER": as_twilio.TOKEN}, "TWILIO_NUMBER"),
]  # fmt: skip


@pytest.mark.parametrize("row", STARTS, ids=lambda row: row.label)
def test_a_start_that_cannot_be_is_told_in_one_line(row: Start, tmp_path: Path) -> None:
    if row.label == "keys on a disk" and on_tmpfs(tmp_path):
        pytest.skip("this machine has temporary files in memory")
    file = tmp_path / "file"
    file.write_text("x")
    variables = {
        name: value.format(disk=tmp_path, file=file) if value.startswith("{") else value
        for name, value in {"OUTREACH_DATA": str(tmp_path / "var"), **row.variables}.items()
    }
    done = outreach("run", "--port", "8397", environment=variables)
    assert done.returncode == 2
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert row.says in lines[0]
    assert [key for key in KEYS if key in done.stderr + done.stdout] == []


DOCUMENTED = re.findall(
    r"^\| ([A-Z_]{5,}) \|",
    (ROOT / "docs" / "operators.md").read_text("utf-8").partition("## Settings")[2],
    re.MULTILINE,
)
REFUSING = {
    "RETENTION_HOURS", "CONTEXT_MINUTES", "SENSITIVE_MINUTES", "PUBLIC_URL", "OUTREACH_SECRET_BEFORE", "OUTREACH_KEYS",
    "OUTREACH_ORGANISATION", "TWILIO_NUMBER", "SMS_OPT_OUT", "TWILIO_DELETE_AFTER", "CHAT_ORIGINS", "TRUSTED_PROXIES", "TELEGRAM_TOKEN",
}  # fmt: skip
"""Variables that take no key for what they ask."""


@pytest.mark.parametrize("variable", DOCUMENTED)
def test_a_key_in_the_wrong_line_is_not_repeated(
    variable: str, environment: Callable[[dict[str, str]], None], tmp_path: Path
) -> None:
    """Lines of .env are easily exchanged: whatever stands where, an error does not show it."""
    own = {**PUBLIC, **SMS_KEYS, **BOT_KEYS, "OUTREACH_SECRET": GOOD, "OUTREACH_DATA": str(tmp_path / "var")}
    said: dict[str, str] = {}
    for key in (as_twilio.TOKEN, TELEGRAM_TOKEN, TELEGRAM_SECRET, GOOD[:31], "/" + GOOD):
        environment({**own, variable: key})
        settings.cache_clear()
        try:
            if keys := settings().keys:
                day_keys(tmp_path, keys)
        except (SettingError, KnowledgeError) as error:
            said[key] = f"{error} {error!r}"
    assert [key for key, error in said.items() if key in error] == []
    assert all(variable in error for error in said.values())
    assert said or variable not in REFUSING


def test_help_shows_no_key(capsys: pytest.CaptureFixture[str], environment: Callable[[dict[str, str]], None]) -> None:
    environment(
        {
            **PUBLIC,
            **SMS_KEYS,
            **BOT_KEYS,
            "OUTREACH_SECRET": GOOD,
            "REDIS_URL": "redis://:hunter2hunter2@127.0.0.1:6379/0",
        }
    )
    for arguments in ([], ["--help"], *([command, "--help"] for command in COMMANDS)):
        with contextlib.suppress(SystemExit):
            main(arguments)
    said = capsys.readouterr()
    assert said.out.count("usage:") == len(COMMANDS) + 2
    assert [key for key in KEYS if key in said.out + said.err] == []


LIVE_KEYS = {
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "an API key of Twilio": r"\bSK[0-9a-f]{32}\b",
    "an account of Twilio": r"\bAC[0-9a-f]{32}\b",
    "a token of Twilio": r"(?i)token[\"']?\s*[:=]\s*[\"']?([0-9a-f]{32})\b",
    "a bot's token": r"\b\d{8,10}:[\w-]{35,}",
    "a secret of ours": r"OUTREACH_SECRET(?:_BEFORE)?[\"']?\s*[:=]\s*[\"']?([\w+/=-]{16,})",
    "the webhook's secret": r"TELEGRAM_SECRET(?:_TOKEN)?[\"']?\s*[:=]\s*[\"']?([\w-]{16,})",
    "a password of Redis": r"\brediss?://[^\s/@\"']*:([^\s/@\"'{}]+)@",
    "a key of Amazon": r"\bAKIA[A-Z0-9]{16}\b",
    "a token of GitHub": r"\bgh[pousr]_\w{36}\b",
    "a token of Slack": r"\bxox[abp]-[\w-]{20,}",
}
"""What it is -> how it looks; the group, where there is one, is the value."""
OF_THE_TESTS = {
    as_twilio.TOKEN: "tests/channels/as_twilio.py",
    GOOD: "this file",
    TELEGRAM_SECRET: "this file",
    "telegram-proves-itself-with-this-too": "tests/test_no_trace.py",
    "hunter2hunter2": "this file",
    "please-change-me-please-change-me-now": "this file",
    "123456789:AAExampleExampleExampleExampleExample01": "tests/channels/test_telegram.py",
    "123456789:AAExampleExampleExampleExampleExample02": "tests/test_no_trace.py",
    "123456789:AAExampleExampleExampleExampleExample03": "this file, tests/test_refusals.py",
}
"""Values that look like keys and are none -> where they come from."""


def _keys_in(text: str) -> list[tuple[str, str]]:
    """(what it is, value) of everything that looks like a key, but for the values of the tests."""
    found = [(what, match) for what, look in LIVE_KEYS.items() for match in re.finditer(look, text)]
    values = [(what, match.group(match.lastindex or 0)) for what, match in found]
    return [(what, value) for what, value in values if value not in OF_THE_TESTS]


def test_no_key_is_in_the_repository() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    paths = [ROOT / name for name in listed.stdout.split("\0") if name] or [
        path for folder in ("bot", "actions", "tests", "deployment", "docs") for path in (ROOT / folder).rglob("*")
    ]
    assert len(paths) > 200
    assert not any(path.name.startswith(".env") or path.suffix in (".pem", ".key", ".p12") for path in paths)
    found = {
        path.relative_to(ROOT).as_posix(): keys
        for path in paths
        if path.is_file() and (keys := _keys_in(path.read_text("utf-8", "replace")))
    }
    assert found == {}


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("a private key", "-----BEGIN " + "RSA PRIVATE KEY-----"),
        ("an API key of Twilio", "SK" + "1" * 32),
        ("an account of Twilio", "x = 'AC" + "1" * 32 + "'"),
        ("a token of Twilio", "TWILIO_AUTH_TOKEN=" + "0a" * 16),
        ("a token of Twilio", '"auth_token": "' + "0a" * 16 + '"'),
        ("a bot's token", "123456789:AA" + "x" * 33),
        ("a secret of ours", "OUTREACH_SECRET=" + "Zm9v" * 16),
        ("a secret of ours", "OUTREACH_SECRET_BEFORE: " + "Zm9v" * 16),
        ("the webhook's secret", "TELEGRAM_SECRET_TOKEN=" + "f0" * 32),
        ("a password of Redis", "REDIS_URL=redis://:" + "s3cret@10.0.0.7:6379/0"),
        ("a password of Redis", "rediss://user:" + "s3cret@redis/0"),
        ("a key of Amazon", "AKIA" + "A" * 16),
        ("a token of GitHub", "ghp_" + "a" * 36),
        ("a token of Slack", "xoxb-" + "1" * 24),
    ],
)
def test_a_key_in_the_repository_would_be_found(what: str, text: str) -> None:
    assert what in [found for found, _ in _keys_in(f"before\n  {text}\nafter")]


SECRET_FILES = (
    ".env",
    ".env.production",
    "var/outreach.db",
    "var/outreach.db-wal",
    "var/withdrawn.yml",
    "opt-outs.txt",
    "opt-outs.new",
)
"""What an operator has in the project's folder, by docs/operators.md and docs/runbook.md."""


def test_git_ignores_what_an_operator_keeps_here() -> None:
    done = subprocess.run(["git", "check-ignore", "--no-index", "--stdin"], cwd=ROOT, capture_output=True, text=True,
                          input="\n".join((*SECRET_FILES, "bot/cli.py", "uv.lock")))  # fmt: skip
    if done.returncode == 128:
        pytest.skip("this is no clone")
    assert done.stdout.split() == list(SECRET_FILES)


def test_no_image_is_built_with_what_an_operator_keeps_here() -> None:
    """.dockerignore: https://docs.docker.com/build/concepts/context/#dockerignore-files"""
    patterns = [line for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line and line[0] != "#"]

    def left_out(name: str) -> bool:
        parts = name.split("/")
        beginnings = ["/".join(parts[: length + 1]) for length in range(len(parts))]
        return any(fnmatch.fnmatchcase(start, pattern) for pattern in patterns for start in beginnings)

    for name in (*SECRET_FILES, ".git/config", ".venv/bin/python"):
        assert left_out(name), name
    for name in ("bot/cli.py", "uv.lock", "models/model.json", "deployment/organisation.example.yml", "pyproject.toml"):
        assert not left_out(name), name


# --- this machine -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Swap:
    """A line of /proc/swaps, what the kernel says of the device, and whether it is told."""

    label: str
    line: str
    files: dict[str, str]
    told: bool = True


SWAPS = [
    Swap("a partition", "/dev/sda2 partition 8388604 0 -2", {}),
    Swap("a file", "/swapfile file 2097148 512 -2", {}),
    Swap("a volume group", "/dev/dm-1 partition 8388604 0 -2", {"dm-1/dm/uuid": "LVM-abcdef"}),
    Swap("an encrypted partition", "/dev/dm-0 partition 8388604 0 -2", {"dm-0/dm/uuid": "CRYPT-PLAIN-swap"}, told=False),
    Swap("LUKS", "/dev/dm-3 partition 8388604 0 -2", {"dm-3/dm/uuid": "CRYPT-LUKS2-0123-swap\n"}, told=False),
    Swap("zram", "/dev/zram0 partition 8388604 0 100", {"zram0/backing_dev": "none\n"}, told=False),
    Swap("zram of a kernel without writeback", "/dev/zram0 partition 8388604 0 100", {}, told=False),
    Swap("zram with a disk behind it", "/dev/zram0 partition 8388604 0 100", {"zram0/backing_dev": "/dev/sda3\n"}),
]  # fmt: skip


@pytest.mark.parametrize("row", SWAPS, ids=lambda row: row.label)
def test_swap_that_may_lie_on_a_disk_is_told(row: Swap, tmp_path: Path) -> None:
    swaps, blocks = tmp_path / "swaps", tmp_path / "block"
    swaps.write_text("Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n" + row.line + "\n")
    for name, text in row.files.items():
        (blocks / name).parent.mkdir(parents=True)
        (blocks / name).write_text(text)
    assert remarks.swap_on_disks(swaps, blocks) == ([row.line.split()[0]] if row.told else [])
    assert remarks.swap_on_disks(tmp_path / "nowhere", blocks) == []
    told = list(remarks.of_settings(Settings(data=tmp_path, retention_hours=24), swaps, tmp_path / ".env"))
    if row.line.startswith("/swapfile"):
        assert [line.split(" and ")[0] for line in told] == ["Swap is on (/swapfile)"]


def test_no_swap_is_not_told(tmp_path: Path) -> None:
    (tmp_path / "swaps").write_text("Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n")
    assert remarks.swap_on_disks(tmp_path / "swaps", tmp_path) == []


@pytest.mark.parametrize(("mode", "told"), [(0o600, False), (0o400, False), (0o640, True), (0o644, True)])
def test_an_env_that_others_can_read_is_told(mode: int, told: bool, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("")
    (tmp_path / ".env").chmod(mode)
    own = Settings(data=tmp_path, retention_hours=24)
    said = list(remarks.of_settings(own, tmp_path / "swaps", tmp_path / ".env"))
    assert ["chmod 600" in line for line in said] == ([True] if told else [])
