"""What may be written to a log: an allow-list, installed by `outreach run` before anything else is loaded.

Our own modules log events: a sentence that stands in the code, with typed values in its gaps (`event`). Of everybody else's
records level, logger, exception type and place are left, and nothing under WARNING: messages of libraries hold texts, addresses
and tokens (Rasa logs what residents write at DEBUG and at ERROR, httpx the address with the bot's token at INFO). Names and
places are written as the modules of this process have them; what no module is called is not written at all, so that nothing
from outside can pass for one. What others print is dropped (docs/decisions/0011-logs.md).
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import fcntl
import logging
import os
import re
import resource
import secrets
import select
import shutil
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any

OWN = ("bot", "actions")
EVENT = "outreach_event"
"""Name of the record's attribute that carries an event of our own."""
NOT_DUMPABLE = 4
"""PR_SET_DUMPABLE of prctl(2): set to 0, no core dump, not even into a pipe, which RLIMIT_CORE does not stop."""
DEBUGGING = ("SSLKEYLOGFILE", "PYTHONASYNCIODEBUG")
"""Variables that would have Python write connection keys to a file, or asyncio what it works on."""
LEAST_HIDDEN = 10_000
"""From here on a number is written as "many": nothing that is long enough for a phone number."""
_SENTENCE = re.compile(r"(?:[A-Za-z ,.;:'\"()/@_?-]|\{[a-z]+\}){1,240}")
"""Words of ours: no digits, no line breaks; {name} is a gap."""
_FILES: dict[str, str] = {}
"""Source file -> module, as far as it was asked for."""

LINES_LOST = b"WARNING lines are missing here: nobody read the log\n"
_unread: set[int] = set()
_writing = threading.RLock()
_out, _err = 1, 2
"""Descriptors of the real standard output and error."""
_installed = False


class Number(str):
    """An incident's number: random, made here, the same in the log and in what an operator asks about."""


class Place(str):
    """Module and line, made by `place`."""


Value = type[BaseException] | Enum | Number | Place | int
"""What may stand in a gap: the class of an error, a member of an enumeration in the code, a number of an incident, a place, a
small number. Never a text."""


@dataclass(frozen=True)
class Event:
    """A sentence of ours with its values."""

    what: str
    values: Mapping[str, str]

    def __str__(self) -> str:
        return self.what.format(**self.values)


# --- what our own modules say ---------------------------------------------------------------------


def event(logger: logging.Logger, level: int, what: str, /, **values: Value) -> None:
    """Log one event of our own.

    Args:
        logger: the module's.
        level: of the logging module.
        what: a sentence that stands in the code at the call (tests/test_logs.py looks), with gaps: "{error} in a request".
        values: for the gaps; a value of another type than `Value` is written as "?".
    """
    if not logger.isEnabledFor(level):
        return
    if _SENTENCE.fullmatch(what):
        gaps = re.findall(r"\{([a-z]+)\}", what)
        told = Event(what, {name: _written(values.get(name)) for name in gaps})
    else:
        told = Event("an event whose words are not allowed", {})
    logger.log(level, "%s", told, extra={EVENT: told}, stacklevel=2)


def incident(logger: logging.Logger, error: BaseException, where: str, /, **values: Value) -> Number:
    """Log a fault under a number of its own, with its class and place, without a word of its message.

    Args:
        logger: the module's.
        error: what was raised; its text is not read.
        where: what was being done, a sentence that stands in the code, with gaps for `values`.

    Returns:
        the number.
    """
    number = Number(secrets.token_hex(4))
    values = {**values, "number": number, "error": type(error), "place": place(error.__traceback__)}
    event(logger, logging.ERROR, "incident {number}: {error} " + where + " at {place}", **values)
    return number


def _written(value: Any) -> str:
    """A value as it may be written, by its type."""
    if isinstance(value, (Number, Place)):
        return str(value)
    if isinstance(value, Enum):
        return str(value.value) if _SENTENCE.fullmatch(str(value.value)) else "?"
    if isinstance(value, type) and issubclass(value, BaseException):
        return class_name(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if abs(value) < LEAST_HIDDEN else "many"
    return "?"


# --- names that stand in this process's code --------------------------------------------------------


def class_name(kind: type) -> str:
    """The name of a class as a module has it, or of its nearest base: a class made while running may be called anything.

    >>> class_name(KeyError), class_name(type("Somebody", (KeyError,), {}))
    ('KeyError', 'KeyError')
    """
    for known in kind.__mro__:
        if _variables(str(known.__module__)).get(known.__name__) is known:
            return known.__name__
    return "an exception"


def module_name(name: str) -> str:
    """The name of a logger as far as modules are called so.

    >>> module_name("logging.+13055550100"), module_name("nobody")
    ('logging', 'a library')
    """
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        known = ".".join(parts[:length])
        if known and known in sys.modules:
            return known
    return "a library"


def place(trace: TracebackType | None) -> Place:
    """Where an error comes from: the innermost line, and our own line that led there."""
    frames = [(frame, line) for frame, line in traceback.walk_tb(trace)]
    named = [(_module(frame.f_globals), line) for frame, line in frames]
    if not named:
        return Place("an unknown place")
    last = f"{named[-1][0]}:{named[-1][1]}"
    own = [f"{name}:{line}" for name, line in named if name.split(".")[0] in OWN]
    return Place(last if not own or own[-1] == last else f"{last} from {own[-1]}")


def _variables(module: str) -> Mapping[str, Any]:
    """What a loaded module has; looked at as it is, for some modules load others when they are asked."""
    return getattr(sys.modules.get(module), "__dict__", {})


def _module(variables: Mapping[str, Any]) -> str:
    """The module that a frame's global variables belong to."""
    name = variables.get("__name__")
    return name if isinstance(name, str) and _variables(name) is variables else "a library"


def _module_of_file(path: str) -> str:
    if path not in _FILES:
        _FILES.clear()
        for name in list(sys.modules):
            _FILES.setdefault(str(_variables(name).get("__file__")), name)
    return _FILES.get(path, "a library")


def reduced(record: logging.LogRecord) -> str:
    """A record as it may be written: one line."""
    level = next(name for least, name in _LEVELS if record.levelno >= least)
    told = getattr(record, EVENT, None)
    if isinstance(told, Event) and _own(record):
        return f"{level} {module_name(record.name)}: {told}"
    info = record.exc_info
    kind = class_name(info[0]) if isinstance(info, tuple) and info[0] else "no exception"
    trace = info[2] if isinstance(info, tuple) else None
    where = place(trace) if trace else f"{_module_of_file(record.pathname)}:{record.lineno}"
    return f"{level} {module_name(record.name)}: {kind} at {where}"


_LEVELS = ((50, "CRITICAL"), (40, "ERROR"), (30, "WARNING"), (20, "INFO"), (-1_000_000, "DEBUG"))
"""Not `levelname`: a library can give levels any name."""


def _own(record: logging.LogRecord) -> bool:
    return record.name.split(".")[0] in OWN


# --- the only ways out --------------------------------------------------------------------------------


def say(line: str, error: bool = False) -> None:
    """A line of ours for the operator, on the real standard output.

    Args:
        line: what stands in the code, with settings that are no secrets.
        error: on standard error instead.
    """
    if _installed:
        _write(_err if error else _out, " ".join(line.split()))
    else:
        print(line, file=sys.stderr if error else sys.stdout, flush=True)


def _write(descriptor: int, line: str) -> None:
    """One line in one piece, whoever writes at the same time. A log that cannot be written must not stop an answer: nor may one that
    nobody reads any more, a full pipe or a terminal that was halted, in which a write would wait for ever and with it everybody."""
    data = line.encode("utf-8", "replace")
    with contextlib.suppress(OSError), _writing:
        if not _has_room(descriptor):
            _unread.add(descriptor)
            return
        if descriptor in _unread:
            _unread.discard(descriptor)
            data = LINES_LOST + data
        os.write(descriptor, data[: select.PIPE_BUF - 1] + b"\n")


def _has_room(descriptor: int) -> bool:
    """Whether PIPE_BUF bytes are taken at once, or refused at once (https://docs.python.org/3/library/select.html#select.PIPE_BUF)."""
    looked = select.poll()
    looked.register(descriptor, select.POLLOUT)
    return bool(looked.poll(0))


def _handle(logger: logging.Logger, record: logging.LogRecord) -> None:
    """In place of every handler that anybody hangs on any logger, now or later."""
    try:
        if record.levelno >= (logging.INFO if _own(record) else logging.WARNING):
            _write(_err, reduced(record))
    except Exception as error:
        _write(_err, f"ERROR a record that cannot be written: {class_name(type(error))}")


def _uncaught(kind: type[BaseException], trace: TracebackType | None) -> None:
    if not issubclass(kind, (KeyboardInterrupt, SystemExit)):
        _write(_err, f"ERROR uncaught: {class_name(kind)} at {place(trace)}")


def install() -> None:
    """Make the allow-list the only way out of this process. Call it before Rasa is imported, and `seal` after.

    Nothing of it is undone: it is for processes that serve residents.
    """
    global _out, _err, _installed
    for stream in (sys.stdout, sys.stderr):
        if stream:
            stream.flush()
    _out, _err = _duplicate(1), _duplicate(2)
    # Below Python too: what a C library writes, or a child process.
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (1, 2):
        os.dup2(nothing, descriptor)
    os.close(nothing)
    _installed = True
    sys.stdout = sys.__stdout__ = open(os.devnull, "w", encoding="utf-8")  # type: ignore[misc] # noqa: SIM115
    sys.stderr = sys.__stderr__ = sys.stdout  # type: ignore[misc]
    sys.excepthook = lambda kind, error, trace: _uncaught(kind, trace)
    threading.excepthook = lambda told: _uncaught(told.exc_type, told.exc_traceback)
    sys.unraisablehook = lambda told: _uncaught(told.exc_type, told.exc_traceback)
    # Files, functions and lines, should the interpreter itself die; no values.
    faulthandler.enable(file=_err)
    warnings.showwarning = lambda *arguments, **options: None  # type: ignore[assignment]
    logging.Logger.callHandlers = _handle  # type: ignore[method-assign, assignment]
    logging.raiseExceptions = False
    _no_core_dumps()
    os.umask(0o077)
    seal()


def _duplicate(descriptor: int) -> int:
    """A second, private descriptor of a stream; one that leads nowhere when it is closed."""
    try:
        return os.dup(descriptor)
    except OSError:
        return os.open(os.devnull, os.O_WRONLY)


def _no_core_dumps() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux" and ctypes.CDLL(None, use_errno=True).prctl(NOT_DUMPABLE, 0, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "core dumps cannot be switched off")


def seal() -> None:
    """Set every logger that there is to what it may say; again whenever something was loaded that may have set it otherwise: .env too."""
    import structlog

    for name in DEBUGGING:
        os.environ.pop(name, None)
    structlog.configure(
        processors=[_nothing_of_it],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    logging.disable(logging.NOTSET)
    logging.getLogger().setLevel(logging.WARNING)
    for name in list(logging.Logger.manager.loggerDict):
        logger = logging.getLogger(name)
        # Handlers are not called any more; what they hold open is let go.
        logger.handlers.clear()
        logger.setLevel(logging.INFO if name in OWN else logging.NOTSET)
        logger.disabled = False
    for name in OWN:
        logging.getLogger(name).setLevel(logging.INFO)


def _nothing_of_it(logger: Any, method: str, event: Mapping[str, Any]) -> tuple[tuple[str], dict[str, Any]]:
    """structlog's events, of which Rasa's hold what residents write, as records without words."""
    return ("",), {"exc_info": event.get("exc_info")}


# --- temporary files ----------------------------------------------------------------------------------

_held: list[int] = []
"""Open and locked as long as this process lives: its temporary folder."""


def private_temporary_folder(data: Path) -> Path:
    """Make a new folder in OUTREACH_DATA/tmp the one for temporary files, and remove those of processes that are gone.

    Args:
        data: OUTREACH_DATA.
    """
    folder = data / "tmp"
    folder.mkdir(parents=True, mode=0o700, exist_ok=True)
    # One server at a time looks after the folder: between its making and its lock a new one looks like one left behind.
    guard = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(guard, fcntl.LOCK_EX)
        for old in folder.iterdir():
            _remove_unless_held(old)
        own = Path(tempfile.mkdtemp(prefix="", dir=folder))
        held = os.open(own, os.O_RDONLY)
        fcntl.flock(held, fcntl.LOCK_EX)
        _held.append(held)
    finally:
        os.close(guard)
    tempfile.tempdir = str(own)
    for name in ("TMPDIR", "TEMP", "TMP"):
        os.environ[name] = str(own)
    return own


def _remove_unless_held(old: Path) -> None:
    """Remove what a process left. Its lock tells whether it lives, not its number: containers have the same numbers."""
    if old.is_symlink() or not old.is_dir():
        old.unlink(missing_ok=True)
        return
    held = os.open(old, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(old, ignore_errors=True)
    except OSError:
        return  # another server is using it
    finally:
        os.close(held)
