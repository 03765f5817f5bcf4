"""A stand-in for TensorFlow: every name imports, nothing runs.

Rasa 3.6.21 subclasses TensorFlow's classes while it is imported, also where no component
uses them. Here every attribute and every submodule is an empty class that can be
subclassed, decorated with and used in annotations; creating an instance of one says
plainly what is missing. Measured: environment 2.5 GB to 0.7 GB, serving memory 576 MB to
221 MB, import 16 s to 8 s (docs/decisions/0002-no-tensorflow.md).
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
import types
from typing import Any

__version__ = "2.12.0"

_MISSING = (
    "{name} is part of TensorFlow, which is not installed: this project runs Rasa on a stand-in "
    "(docs/decisions/0002-no-tensorflow.md). Choose a component that does not need TensorFlow, "
    "or install TensorFlow 2.12.0 in its place."
)


class _Anything(type):
    """Metaclass: an attribute of a stand-in class is another stand-in class."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made = _class(f"{cls.__name__}.{name}")
        setattr(cls, name, made)
        return made

    def __getitem__(cls, key: Any) -> Any:
        return cls

    def __or__(cls, other: Any) -> Any:
        return cls

    __ror__ = __or__

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        # A decorator such as @tf.function gives back what it decorates.
        if cls.__dict__.get("_stand_in") and len(args) == 1 and isinstance(args[0], types.FunctionType):
            return args[0]
        if cls.__dict__.get("_stand_in") and "input_signature" in kwargs:
            return lambda function: function
        raise RuntimeError(_MISSING.format(name=cls.__name__))


def _class(name: str) -> type:
    return _Anything(name, (), {"_stand_in": True, "__module__": __name__})


class _Module(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made = _class(f"{self.__name__}.{name}")
        setattr(self, name, made)
        return made


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Answers `import tensorflow.anything` with an empty module."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname.startswith(("tensorflow.", "tensorflow_", "keras.")) or fullname == "keras":
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: Any) -> types.ModuleType:
        module = _Module(spec.name)
        module.__path__ = []
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        return None


sys.meta_path.append(_Finder())


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    made = _class(f"tensorflow.{name}")
    globals()[name] = made
    return made
