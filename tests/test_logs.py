"""Logging is an allow-list: what comes out of a process, and what does not, whoever tries."""

from __future__ import annotations

import ast
import ctypes
import logging
import os
import re
import resource
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from bot.privacy import logs
from tests.conftest import ROOT, free_port
from tests.mischief import ROWS, Mischief

TEXT = "qaxuvilo +13055550142 brimzotte"
"""Stands for a resident's words in this file."""


# --- what comes out of a process ----------------------------------------------------------------------


@dataclass(frozen=True)
class Said:
    """What the process of tests/mischief.py said."""

    out: str
    err: str
    lines: dict[str, list[str]]
    """label -> lines on standard error."""
    folder: Path


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> Said:
    """All mischief, done once."""
    folder = tmp_path_factory.mktemp("mischief")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from tests import mischief; mischief.main(*sys.argv[1:])",
            TEXT,
            str(folder / "var"),
        ],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=ROOT,
        env={
            **os.environ,
            "LOG_LEVEL": "DEBUG",
            "PYTHONASYNCIODEBUG": "1",
            "PYTHONFAULTHANDLER": "1",
            "SSLKEYLOGFILE": str(folder / "keys"),
        },
    )
    assert done.returncode == 1, done.stderr
    lines: dict[str, list[str]] = {}
    for line in done.stderr.splitlines():
        if line.startswith("== "):
            lines[line[3:]] = []
        else:
            lines.setdefault(next(reversed(lines), ""), []).append(line)
    return Said(done.stdout, done.stderr, lines, folder)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.label)
def test_what_comes_out(row: Mischief, said: Said) -> None:
    lines = said.lines[row.label]
    if not row.says:
        assert lines == []
        return
    assert len(lines) == 1, lines
    assert re.fullmatch(row.says, lines[0]), lines[0]


def test_an_error_that_nobody_catches(said: Said) -> None:
    assert len(said.lines["the end"]) == 1
    assert re.fullmatch(r"ERROR uncaught: ValueError at [\w. ]+:\d+", said.lines["the end"][0])


def test_nothing_of_the_words_comes_out(said: Said) -> None:
    assert said.out == ""
    for part in TEXT.split():
        assert part not in said.err
    for path in said.folder.rglob("*"):
        assert not path.is_file() or not any(part.encode() in path.read_bytes() for part in TEXT.split()), path
    assert not (said.folder / "keys").exists()


def test_without_the_allow_list_the_words_come_out(tmp_path: Path) -> None:
    """Else the tests above could not fail."""
    code = (
        "import sys; from tests.mischief import ROWS\n"
        "for row in ROWS:\n    if 'hand' not in row.label and 'keys' not in row.label and 'debugging' not in row.label: row.do(sys.argv[1])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, TEXT],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert done.stdout.count(TEXT) > 5
    assert done.stderr.count(TEXT) > 20


# --- no core dumps ------------------------------------------------------------------------------------


def _limit() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))


@pytest.mark.parametrize("guarded", [False, True], ids=["as usual", "under the allow-list"])
def test_a_process_that_dies_leaves_no_image_of_its_memory(guarded: bool, tmp_path: Path) -> None:
    code = ("from bot.privacy import logs; logs.install()\n" if guarded else "") + "import os; os.abort()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        timeout=60,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=_limit,
    )
    assert done.returncode == -signal.SIGABRT
    left = [path.name for path in tmp_path.iterdir()]
    if guarded:
        assert left == []
        assert b"Fatal Python error: Aborted" in done.stderr, "the interpreter's own last words name places only"
    elif left == []:
        pytest.skip("this machine makes no core dumps, or makes them elsewhere")


def test_the_kernel_is_told_so() -> None:
    code = (
        "import ctypes, resource; from bot.privacy import logs; logs.install()\n"
        "logs.say(f'{resource.getrlimit(resource.RLIMIT_CORE)} {ctypes.CDLL(None).prctl(3)}')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT)
    if sys.platform == "linux":
        assert ctypes.CDLL(None).prctl(3) == 1, "this one may be dumped"
        assert done.stdout.strip() == "(0, 0) 0"
    else:
        assert done.stdout.startswith("(0, 0)")


# --- a log that is not read, a variable that comes late --------------------------------------------------

UNREAD = """
import logging, os, sys
from bot.privacy import logs
logs.install()
for _ in range(4000):
    logs.event(logging.getLogger("bot"), logging.WARNING, "an event of which many come")
os.write(int(sys.argv[1]), b"still there")
sys.stdin.read()
logs.event(logging.getLogger("bot"), logging.WARNING, "the last event")
"""


def has_data(file: Any, seconds: float) -> bool:
    """Whether there is something to read before long; select() knows no descriptor beyond 1,023."""
    looked = select.poll()
    looked.register(file, select.POLLIN)
    return bool(looked.poll(1000 * seconds))


def test_a_log_that_nobody_reads_holds_nothing_up() -> None:
    """A pipe takes 64 KB. What writes into a full one waits; in a server everybody would wait with it."""
    told, telling = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", UNREAD, str(telling)],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=[telling],
        cwd=ROOT,
    ) as process:
        try:
            assert process.stdin
            assert process.stderr
            assert has_data(told, 30), "it waits for somebody who reads its log"
            while has_data(process.stderr, 0.5):
                os.read(process.stderr.fileno(), 65_536)
            process.stdin.close()
            after = process.stderr.read().decode().splitlines()
        finally:
            process.kill()
            os.close(told)
            os.close(telling)
    assert after == ["WARNING lines are missing here: nobody read the log", "WARNING bot: the last event"]


FROM_DOTENV = """
import os, ssl, sys
from pathlib import Path
from bot.privacy import logs
logs.install()
from bot import server, settings
settings.ROOT = Path(sys.argv[1])
def store(own):
    assert os.environ["READ"] == "yes"
    context = ssl.create_default_context()
    os._exit(3 if context.keylog_filename or "PYTHONASYNCIODEBUG" in os.environ else 0)
server.open_store = store
server.run(int(sys.argv[2]), 0.0)
"""


def test_what_the_environment_may_not_switch_on_the_file_of_settings_may_not_either(tmp_path: Path) -> None:
    """Python writes the keys of connections, with which what goes to Telegram and Twilio can be read, wherever SSLKEYLOGFILE says."""
    keys = tmp_path / "keys"
    (tmp_path / ".env").write_text(f"SSLKEYLOGFILE={keys}\nPYTHONASYNCIODEBUG=1\nREAD=yes\n")
    port = str(free_port())
    done = subprocess.run([sys.executable, "-c", FROM_DOTENV, str(tmp_path), port], cwd=ROOT, timeout=60)
    assert (done.returncode, keys.exists()) == (0, False)


# --- words of ours ------------------------------------------------------------------------------------


class Colour(Enum):
    """An enumeration as modules have them."""

    RED = "red as a rose"
    NUMBERED = "number 7"


@dataclass(frozen=True)
class Written:
    """A value in a gap."""

    label: str
    value: Any
    shown: str


WRITTEN = [
    Written("a class of errors", KeyError, "KeyError"),
    Written("a member of an enumeration", Colour.RED, "red as a rose"),
    Written("an enumeration with digits", Colour.NUMBERED, "?"),
    Written("a small number", 1440, "1440"),
    Written("a number of five digits", 33142, "many"),
    Written("a negative number", -33142, "many"),
    Written("a place", logs.Place("bot.desk:12"), "bot.desk:12"),
    Written("an incident's number", logs.Number("0a1b2c3d"), "0a1b2c3d"),
    Written("a text", "help", "?"),
    Written("a text of digits", "3055550100", "?"),
    Written("a text that looks like an incident", "30555501", "?"),
    Written("bytes", b"help", "?"),
    Written("a truth", True, "?"),
    Written("a list", ["help"], "?"),
    Written("an error instead of its class", KeyError("help"), "?"),
    Written("a class that is no error", dict, "?"),
    Written("nothing", None, "?"),
]


@pytest.mark.parametrize("row", WRITTEN, ids=lambda row: row.label)
def test_what_stands_in_a_gap(row: Written, caplog: pytest.LogCaptureFixture) -> None:
    logs.event(logging.getLogger("bot.test"), logging.ERROR, "seen: {value}", value=row.value)
    assert caplog.messages == [f"seen: {row.shown}"]
    assert logs.reduced(caplog.records[0]) == f"ERROR bot: seen: {row.shown}"


def test_a_gap_without_a_value(caplog: pytest.LogCaptureFixture) -> None:
    logs.event(logging.getLogger("bot.test"), logging.ERROR, "seen: {value}", other=KeyError)
    assert caplog.messages == ["seen: ?"]


@pytest.mark.parametrize(
    "sentence", ["call 305", "two\nlines", "x" * 241, "", "accents é", "{0}", "{value!r}", "{value.name}", "100 %"]
)
def test_a_sentence_that_is_none(sentence: str, caplog: pytest.LogCaptureFixture) -> None:
    logs.event(logging.getLogger("bot.test"), logging.ERROR, sentence, value=7)
    assert caplog.messages == ["an event whose words are not allowed"]


def test_an_incident_names_class_place_and_our_own_line(caplog: pytest.LogCaptureFixture) -> None:
    from bot.privacy.records import from_json

    try:
        from_json({"used": TEXT})
    except ValueError as error:
        number = logs.incident(logging.getLogger("bot.test"), error, "while reading")
    told = rf"incident {number}: ValueError while reading at bot\.privacy\.records:\d+"
    assert re.fullmatch(told, caplog.messages[0]), caplog.messages
    try:
        tempfile.mkdtemp(dir=f"/nowhere/{TEXT}")
    except OSError as error:
        logs.incident(logging.getLogger("bot.test"), error, "while making a folder")
    assert caplog.messages[1].endswith(caplog.messages[1].split(" at ")[1])
    assert "FileNotFoundError while making a folder at tempfile:" in caplog.messages[1]
    assert TEXT not in caplog.text


CALLS = {"event": 2, "incident": 1}
"""Function -> which argument is the sentence (bot.assistant.incident is called without a logger)."""
EXEMPT = {
    "bot/nlu/components.py": "progress of the training, on the project's own messages",
    "bot/privacy/logs.py": "the allow-list itself",
    "bot/assistant.py": "hands sentences on",
}


def _sources() -> Iterator[tuple[str, ast.AST]]:
    for folder in ("bot", "actions"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def test_every_sentence_stands_in_the_code() -> None:
    """No sentence that is logged is put together while running: that is how words of residents get into logs."""
    seen, wrong = 0, []
    for name, tree in _sources():
        for call in ast.walk(tree):
            if not isinstance(call, ast.Call) or name == "bot/privacy/logs.py":
                continue
            called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            if called not in CALLS:
                continue
            through = isinstance(call.func, ast.Attribute) and called == "incident"
            place = 2 if through else CALLS[called]
            if name == "bot/assistant.py" and through:
                continue  # bot.assistant.incident, whose own callers are looked at
            sentence = call.args[place] if len(call.args) > place else None
            seen += 1
            if not isinstance(sentence, ast.Constant) or not logs._SENTENCE.fullmatch(str(sentence.value)):
                wrong.append(f"{name}:{call.lineno}: write the sentence here, in letters, with {{gaps}} for values")
    assert wrong == []
    assert seen > 30


def test_nothing_else_is_logged_or_printed_where_residents_are_answered() -> None:
    wrong = []
    terminal = ("bot/evaluation/", "bot/cli.py", "bot/check.py", "bot/review.py", "bot/train.py")
    for name, tree in _sources():
        if name in EXEMPT or name.startswith(terminal):
            continue
        for call in ast.walk(tree):
            if not isinstance(call, ast.Call):
                continue
            if isinstance(call.func, ast.Name) and call.func.id == "print":
                wrong.append(f"{name}:{call.lineno}: print; use logs.say for operators")
            logs_itself = isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name)
            if logs_itself and call.func.value.id in ("logger", "logging") and call.func.attr in (  # type: ignore[attr-defined, union-attr]
                "debug", "info", "warning", "error", "exception", "critical", "log",
            ):  # fmt: skip
                wrong.append(f"{name}:{call.lineno}: a logger's own method; use logs.event")
    assert wrong == []


# --- records of others ----------------------------------------------------------------------------------


def test_names_are_those_of_modules() -> None:
    assert logs.module_name("asyncio.events.anything") == "asyncio.events"
    assert logs.module_name(TEXT) == "a library"
    assert logs.module_name("") == "a library"
    assert logs.class_name(type(TEXT, (OSError,), {})) == "OSError"
    assert logs.class_name(type(TEXT, (), {})) == "object"
    assert logs.place(None) == "an unknown place"


# --- temporary files ------------------------------------------------------------------------------------


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put back what tells where temporary files go."""
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    monkeypatch.setattr(tempfile, "tempdir", tempfile.gettempdir())
    held = list(logs._held)
    yield
    for descriptor in logs._held[len(held) :]:
        os.close(descriptor)
    logs._held[:] = held


def test_temporary_files_lie_in_the_data_folder_and_go_with_their_process(tmp_path: Path, temporary: None) -> None:
    left = tmp_path / "tmp" / "of-a-killed-process"
    left.mkdir(parents=True)
    (left / "file").write_text(TEXT)
    (tmp_path / "tmp" / "file").write_text(TEXT)
    (tmp_path / "tmp" / "link").symlink_to(tmp_path)
    folder = logs.private_temporary_folder(tmp_path)
    assert list((tmp_path / "tmp").iterdir()) == [folder]
    assert folder.stat().st_mode & 0o077 == 0
    with tempfile.NamedTemporaryFile() as file:
        assert Path(file.name).parent == folder
    shell = subprocess.run(["sh", "-c", 'echo "$TMPDIR"'], capture_output=True, text=True)
    assert Path(shell.stdout.strip()) == folder


def test_another_server_s_temporary_files_are_left_alone(tmp_path: Path, temporary: None) -> None:
    code = (
        "import pathlib, sys; from bot.privacy import logs\n"
        "folder = logs.private_temporary_folder(pathlib.Path(sys.argv[1])); (folder / 'model').touch()\n"
        "print(folder, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as other:
        assert other.stdout
        theirs = Path(other.stdout.readline().strip())
        ours = logs.private_temporary_folder(tmp_path)
        assert (theirs / "model").exists()
        assert theirs != ours
        other.kill()
        other.wait(20)
    logs.private_temporary_folder(tmp_path)
    assert not theirs.exists()
    assert ours.exists(), "this process still has it"
