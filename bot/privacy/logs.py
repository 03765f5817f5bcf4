"""What may be written to a log: an allow-list, installed once by `outreach run` before anything else is loaded.

Our own modules log events, a fixed sentence and typed fields (`event`). Of everybody else's records only logger, level, exception
type and place are left, and nothing under WARNING: messages of libraries hold texts, addresses and tokens (Rasa logs what residents
write at DEBUG and at ERROR, httpx the address with the bot's token at INFO). What others print is counted and dropped.
"""

from __future__ import annotations

import ctypes
import io
import logging
import re
import resource
import shutil
import sys
import tempfile
import threading
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

OWN = ("bot", "actions")
FIELDS = "fields"
"""Name of the record's attribute that marks an event of our own."""
_SAFE = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,60}|[0-9a-f]{8}|\d{1,4}")
"""Names of classes, incident numbers, small numbers: no field is long enough for a phone number, none is free text."""
_SENTENCE = re.compile(r"[A-Za-z ,;:'()-]{1,120}")
"""What happened, in words of ours: letters and no digits."""
DUMPABLE = 4
"""PR_SET_DUMPABLE of prctl(2): no core dump, no reading of this process's memory by another of the same user."""


def event(logger: logging.Logger, level: int, what: str, **fields: str | int) -> None:
    """Log one event of our own.

    Args:
        logger: the module's.
        level: of the logging module.
        what: a fixed sentence, letters only.
        fields: typed values; what does not look like a class name, an incident number or a small number is left out.
    """
    sentence = what if _SENTENCE.fullmatch(what) else "an event whose words are not allowed"
    kept = {name: str(value) for name, value in fields.items() if _SAFE.fullmatch(str(value))}
    logger.log(level, sentence, extra={FIELDS: kept})


def reduced(record: logging.LogRecord) -> str:
    """A record as it may be written."""
    fields = getattr(record, FIELDS, None)
    if record.name.split(".")[0] in OWN and isinstance(fields, dict):
        told = "".join(f" {name}={value}" for name, value in fields.items())
        return f"{record.levelname} {record.name}: {record.msg}{told}"
    name = record.name if _SAFE.fullmatch(record.name) else "a library"
    kind = record.exc_info[0].__name__ if isinstance(record.exc_info, tuple) and record.exc_info[0] else "no exception"
    return f"{record.levelname} {name}: {kind} at {Path(record.pathname).name}:{record.lineno}"


class AllowList(logging.Handler):
    """The only handler: writes reduced records to the real standard error."""

    def __init__(self, stream: Any):
        super().__init__(logging.INFO)
        self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line, or nothing."""
        own = record.name.split(".")[0] in OWN
        if record.levelno < (logging.INFO if own else logging.WARNING):
            return
        try:
            self._stream.write(reduced(record) + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            return  # a log that cannot be written must not stop an answer


class Dropped(io.TextIOBase):
    """Standard output and error for everybody else: takes everything, keeps nothing."""

    encoding = "utf-8"

    def __init__(self, real: Any):
        self._real = real
        self.characters = 0

    def write(self, text: str) -> int:
        """Count and drop."""
        self.characters += len(text)
        return len(text)

    def writable(self) -> bool:
        """Yes."""
        return True

    def fileno(self) -> int:
        """The real one's, for child processes and terminals."""
        return self._real.fileno()


def say(line: str) -> None:
    """A line of ours for the operator, on the real standard output."""
    print(line, file=sys.__stdout__, flush=True)


def _place(trace: TracebackType | None) -> str:
    frames = traceback.extract_tb(trace)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "an unknown place"


def _told(kind: type[BaseException], trace: TracebackType | None) -> None:
    stream = sys.__stderr__
    if stream is not None:
        stream.write(f"ERROR uncaught: {kind.__name__} at {_place(trace)}\n")
        stream.flush()


def install() -> None:
    """Make the allow-list the only way out of this process. Call it before Rasa is imported, and `seal` after."""
    sys.excepthook = lambda kind, error, trace: _told(kind, trace)
    threading.excepthook = lambda told: _told(told.exc_type, told.exc_traceback)
    sys.unraisablehook = lambda told: _told(told.exc_type, told.exc_traceback)
    sys.stdout = Dropped(sys.__stdout__)  # type: ignore[assignment]
    sys.stderr = Dropped(sys.__stderr__)  # type: ignore[assignment]
    logging.raiseExceptions = False
    logging.captureWarnings(True)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(DUMPABLE, 0, 0, 0, 0)
    seal()


def seal() -> None:
    """Take away every other handler, also those that a library added while it was imported; again whenever one may have been."""
    import structlog

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL), cache_logger_on_first_use=False
    )
    root = logging.getLogger()
    root.handlers = [AllowList(sys.__stderr__)]
    root.setLevel(logging.INFO)
    for name in list(logging.Logger.manager.loggerDict):
        logger = logging.getLogger(name)
        logger.handlers = []
        logger.propagate = True
        own = name.split(".")[0] in OWN
        # Whatever an environment variable asked for: libraries have no DEBUG here.
        logger.setLevel(logging.INFO if own else logging.WARNING)


def private_temporary_folder(data: Path) -> Path:
    """Make OUTREACH_DATA/tmp the folder of temporary files, empty."""
    folder = data / "tmp"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700, exist_ok=True)
    tempfile.tempdir = str(folder)
    return folder
