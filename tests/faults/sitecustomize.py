"""Makes parts of the product fail when a test asks for it. Python loads this file at its start (PYTHONPATH), the product knows nothing
of it.

TEST_FAULTS names a file, in JSON: {"fault": which part fails, "text": what its exception says}. Each fault that happens is added to the
file of the same name with .happened behind it.
"""

from __future__ import annotations

import functools
import importlib.abc
import importlib.machinery
import inspect
import json
import os
import sqlite3
import sys
from collections.abc import Sequence
from typing import Any

FILE = os.environ.get("TEST_FAULTS", "")


def _fail(fault: str) -> None:
    """Raise, if this is the part that is to fail now."""
    try:
        with open(FILE, encoding="utf-8") as file:
            told = json.load(file)
    except (OSError, ValueError):
        return
    if told.get("fault") != fault:
        return
    with open(f"{FILE}.happened", "a", encoding="utf-8") as file:
        file.write(f"{fault}\n")
    if fault == "mischief":
        from tests.mischief import ROWS

        for row in ROWS:
            try:
                row.do(told["text"])
            except AssertionError:
                raise
            except Exception:
                continue
        return
    raise KINDS.get(fault, RuntimeError)(told["text"])


KINDS = {
    "the store's file": sqlite3.OperationalError,
    "Rasa's parser": type("ParsingError", (ValueError,), {}),
    "sending on Telegram": type("NetworkError", (OSError,), {}),
}


def _failing(function: Any, fault: str) -> Any:
    """A function that fails first, if asked to."""
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def later(*arguments: Any, **options: Any) -> Any:
            _fail(fault)
            return await function(*arguments, **options)

        return later

    @functools.wraps(function)
    def now(*arguments: Any, **options: Any) -> Any:
        _fail(fault)
        return function(*arguments, **options)

    return now


PARTS = {
    # module: (what in it, which fault)
    "actions.actions": [("answering", "the action")],
    "bot.assistant": [("render", "the words"), ("Assistant.turn", "the engine")],
    "bot.channels.sms.twiml": [("joined", "the text of an SMS")],
    "bot.channels.telegram.send": [("Sender.send", "sending on Telegram")],
    "bot.desk": [("Desk.answer", "the desk"), ("Desk.answer", "mischief")],
    "bot.nlu.components": [("TopicFeatures.process", "the classifier")],
    "bot.nlu.language": [("identify", "the language")],
    "bot.privacy.store_file": [
        ("FileStore.commit", "keeping a turn"),
        ("FileStore.get", "looking up a conversation"),
        ("FileStore._transaction", "the store's file"),
    ],
    "bot.privacy.store_redis": [
        ("RedisStore.commit", "keeping a turn"),
        ("RedisStore.get", "looking up a conversation"),
    ],
    "rasa.core.processor": [("MessageProcessor.parse_message", "Rasa's parser")],
    "rasa.shared.core.trackers": [("DialogueStateTracker.current_slot_values", "reducing a conversation")],
    "rasa_sdk.executor": [("ActionExecutor.run", "the action's executor")],
}


class _Loader(importlib.abc.Loader):
    """Loads a module, then puts failing functions into it."""

    def __init__(self, real: importlib.abc.Loader):
        self.real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> Any:
        return self.real.create_module(spec)

    def exec_module(self, module: Any) -> None:
        self.real.exec_module(module)
        for path, fault in PARTS[module.__name__]:
            holder, _, name = path.rpartition(".")
            where = getattr(module, holder) if holder else module
            setattr(where, name, _failing(getattr(where, name), fault))


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name: str, path: Sequence[str] | None, target: Any = None) -> Any:
        if name not in PARTS:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec and spec.loader:
            spec.loader = _Loader(spec.loader)
        return spec


if FILE:
    sys.meta_path.insert(0, _Finder())
