"""Names that a package gives, each imported when it is first asked for.

Help, config and plans import a package for its `config.py` alone, and must not wait for the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def exports(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a package's `__getattr__`.  homes: the module of each name."""

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{homes[name]}"), name)

    return get


def load(module: str, name: str) -> Any:
    """Return a name of a module that is imported only now: it needs what help must not load."""
    return getattr(import_module(module), name)


class Deferred:
    """A module that is imported when a name of it is first used.

    For what takes a tenth of a second to import, in modules that help and config read as well.
    """

    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        found = getattr(import_module(self._module), name)
        setattr(self, name, found)  # the next use finds it without a call
        return found
