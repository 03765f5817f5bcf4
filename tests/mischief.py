"""Everything by which a library, a fault or a hurried line of code would bring a resident's words out of a process.

Each row is called with a text that must not come out. tests/test_logs.py runs them under the allow-list in a process of their own,
tests/test_no_trace.py inside a running server.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import logging
import logging.config
import os
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.privacy.logs import Event, event, incident


@dataclass(frozen=True)
class Mischief:
    """One way out."""

    label: str
    do: Callable[[str], Any]
    says: str = ""
    """What may come instead: a pattern for one line; nothing when empty."""


HERE = r"tests\.mischief:\d+"
own = logging.getLogger("bot.mischief")


def _raise(text: str) -> None:
    raise ValueError(text)


def _logged_exception(text: str) -> None:
    try:
        _raise(text)
    except ValueError:
        logging.getLogger("asyncio").exception(text)


def _chained(text: str) -> None:
    try:
        try:
            _raise(text)
        except ValueError as error:
            raise KeyError(text) from error
    except KeyError:
        logging.getLogger("asyncio").error(text, exc_info=True, stack_info=True)


def _printed_traceback(text: str) -> None:
    try:
        _raise(text)
    except ValueError:
        traceback.print_exc()
        traceback.print_exc(file=sys.__stderr__)


def _class_called_so(text: str) -> None:
    try:
        raise type(text, (KeyError,), {"__module__": text})(text)
    except KeyError:
        logging.getLogger("asyncio").exception("x")


def _code_called_so(text: str) -> None:
    try:
        exec(compile("raise ValueError(1)", text, "exec"), {"__name__": text})
    except ValueError:
        logging.getLogger("asyncio").exception("x")


def _level_called_so(text: str) -> None:
    logging.addLevelName(41, text)
    logging.getLogger("asyncio").log(41, text)


def _record_made_by_hand(text: str) -> None:
    logger = logging.getLogger("asyncio")
    logger.handle(
        logging.makeLogRecord({"name": text, "levelno": 40, "levelname": text, "pathname": text, "msg": text})
    )


def _handlers(text: str) -> None:
    logger = logging.getLogger("asyncio")
    for handler in (
        logging.StreamHandler(sys.__stderr__),
        logging.StreamHandler(sys.stdout),
        logging.FileHandler(Path(os.environ["TMPDIR"]) / "library.log"),
    ):
        logger.addHandler(handler)
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    logger.debug(text)
    logger.info(text)


def _configured(text: str) -> None:
    logging.basicConfig(level=logging.DEBUG, force=True)
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {"console": {"class": "logging.StreamHandler", "level": "DEBUG"}},
            "root": {"handlers": ["console"], "level": "DEBUG"},
        }
    )
    logging.getLogger("concurrent").debug(text)
    logging.debug(text)


def _thread(text: str) -> None:
    thread = threading.Thread(target=_raise, args=(text,), name=text)
    thread.start()
    thread.join()


def _finaliser(text: str) -> None:
    class Closing:
        def __del__(self) -> None:
            _raise(text)

    Closing()
    gc.collect()


def _task_nobody_asks(text: str) -> None:
    async def fail() -> None:
        _raise(text)

    async def scene() -> None:
        task = asyncio.get_running_loop().create_task(fail(), name=text)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        del task
        gc.collect()

    _in_a_loop(scene)


def _callback(text: str) -> None:
    async def scene() -> None:
        asyncio.get_running_loop().call_soon(_raise, text)
        await asyncio.sleep(0.01)

    _in_a_loop(scene)


def _exception_handler(text: str) -> None:
    async def scene() -> None:
        asyncio.get_running_loop().call_exception_handler({"message": text, "exception": ValueError(text)})

    _in_a_loop(scene)


def _in_a_loop(scene: Callable[[], Any]) -> None:
    """In a loop of its own, beside the server's."""

    def run() -> None:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(scene())
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


def _structlog(text: str) -> None:
    import structlog

    structlog.get_logger().debug(text, user_text=text)
    structlog.get_logger().info(text, user_text=text)
    structlog.get_logger().error(text, user_text=text)


def _structlog_exception(text: str) -> None:
    import structlog

    try:
        _raise(text)
    except ValueError:
        structlog.get_logger(text).exception(text, user_text=text)


def _c_library(text: str) -> None:
    c = ctypes.CDLL(None)
    c.puts(text.encode())
    c.fflush(None)


def _connection_keys(text: str) -> None:
    import ssl

    assert ssl.create_default_context().keylog_filename is None


def _asyncio_debug(text: str) -> None:
    try:
        assert asyncio.get_running_loop().get_debug() is False
    except RuntimeError:
        loop = asyncio.new_event_loop()
        assert loop.get_debug() is False
        loop.close()


def _incident(text: str) -> None:
    try:
        _raise(text)
    except ValueError as error:
        incident(own, error, "while making mischief")


def _forged_event(text: str) -> None:
    logging.getLogger("asyncio").error("x", extra={"outreach_event": Event(text, {})})


def _words_as_a_name(text: str) -> None:
    event(own, logging.ERROR, "said {what}", what=text)  # type: ignore[arg-type]


def _words_as_a_sentence(text: str) -> None:
    event(own, logging.ERROR, f"somebody wrote 7 {text}")


def _number_as_a_value(text: str) -> None:
    event(own, logging.ERROR, "{number} messages", number=3_055_550_100)


ROWS = [
    Mischief("print", lambda text: print(text)),
    Mischief("print to standard error", lambda text: print(text, file=sys.stderr)),
    Mischief("the first standard output", lambda text: print(text, file=sys.__stdout__, flush=True)),
    Mischief("bytes", lambda text: sys.stdout.buffer.write(text.encode())),
    Mischief("the descriptor", lambda text: os.write(1, text.encode()) and os.write(2, text.encode())),
    Mischief("a C library", _c_library),
    Mischief("a child process", lambda text: subprocess.run(["sh", "-c", 'echo "$0"; echo "$0" >&2', text])),
    Mischief("a library's error", lambda text: logging.getLogger("asyncio").error("%s", text),
             rf"ERROR asyncio: no exception at {HERE}"),
    Mischief("a library's warning", lambda text: logging.getLogger("asyncio").warning(text),
             rf"WARNING asyncio: no exception at {HERE}"),
    Mischief("a library's info", lambda text: logging.getLogger("asyncio").info(text)),
    Mischief("a message that cannot be formatted", lambda text: logging.getLogger("asyncio").error("%d %d", text),
             rf"ERROR asyncio: no exception at {HERE}"),
    Mischief("a library that opens itself", _handlers),
    Mischief("a library that configures all logging", _configured),
    Mischief("an exception with its traceback", _logged_exception, rf"ERROR asyncio: ValueError at {HERE}"),
    Mischief("an exception from another", _chained, rf"ERROR asyncio: KeyError at {HERE}"),
    Mischief("a printed traceback", _printed_traceback),
    Mischief("a class that is called so", _class_called_so, rf"ERROR asyncio: KeyError at {HERE}"),
    Mischief("code that is called so", _code_called_so, r"ERROR asyncio: ValueError at a library:1"),
    Mischief("a logger that is called so", lambda text: logging.getLogger(f"asyncio.{text}\n{text}").error("x"),
             rf"ERROR asyncio: no exception at {HERE}"),
    Mischief("a logger that is called only so", lambda text: logging.getLogger(text).error("x"),
             rf"ERROR a library: no exception at {HERE}"),
    Mischief("a level that is called so", _level_called_so, rf"ERROR asyncio: no exception at {HERE}"),
    Mischief("a record made by hand", _record_made_by_hand, r"ERROR a library: no exception at a library:0"),
    Mischief("a warning", lambda text: warnings.warn(text, stacklevel=1)),
    Mischief("a captured warning", lambda text: logging.captureWarnings(True) or warnings.warn(text, stacklevel=1),
             r"WARNING [\w ]+: no exception at warnings:\d+"),
    Mischief("a thread", _thread, rf"ERROR uncaught: ValueError at {HERE}"),
    Mischief("a finaliser", _finaliser, rf"ERROR uncaught: ValueError at {HERE}"),
    Mischief("the hook for what nobody caught", lambda text: sys.excepthook(ValueError, ValueError(text), None),
             r"ERROR uncaught: ValueError at an unknown place"),
    Mischief("a task that nobody asks", _task_nobody_asks, rf"ERROR asyncio: ValueError at {HERE}"),
    Mischief("a callback", _callback, rf"ERROR asyncio: ValueError at {HERE}"),
    Mischief("the loop's exception handler", _exception_handler, r"ERROR asyncio: ValueError at [\w.]+:\d+"),
    Mischief("structlog", _structlog, rf"ERROR tests\.mischief: no exception at {HERE}"),
    Mischief("structlog with an exception", _structlog_exception, rf"ERROR a library: ValueError at {HERE}"),
    Mischief("keys of connections, by SSLKEYLOGFILE", _connection_keys),
    Mischief("asyncio's debugging, by PYTHONASYNCIODEBUG", _asyncio_debug),
    Mischief("a line of ours that is no event", lambda text: own.error("somebody wrote %s", text),
             rf"ERROR bot: no exception at {HERE}"),
    Mischief("an event with words in its sentence", _words_as_a_sentence, r"ERROR bot: an event whose words are not allowed"),
    Mischief("an event with words as a value", _words_as_a_name, r"ERROR bot: said \?"),
    Mischief("an event with a long number", _number_as_a_value, r"ERROR bot: many messages"),
    Mischief("an event below INFO", lambda text: event(own, logging.DEBUG, "nothing")),
    Mischief("an event of ours from elsewhere", _forged_event, rf"ERROR asyncio: no exception at {HERE}"),
    Mischief("an incident", _incident, rf"ERROR bot: incident [0-9a-f]{{8}}: ValueError while making mischief at {HERE}"),
]  # fmt: skip


def main(text: str, folder: str) -> None:
    """All of it under the allow-list, a line before each; at the end an error that nobody catches."""
    from bot.privacy import logs

    logs.install()
    logs.private_temporary_folder(Path(folder))
    logs.seal()
    for row in ROWS:
        logs.say(f"== {row.label}", error=True)
        try:
            row.do(text)
        except Exception as error:
            logs.say(f"{row.label}: {type(error).__name__}", error=True)
        logs.seal()
        with contextlib.suppress(Exception):
            logging.captureWarnings(False)
    logs.say("== the end", error=True)
    _raise(text)
