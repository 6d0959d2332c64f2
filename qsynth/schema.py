"""Turn a plain mapping into a typed config, or say in one line what is wrong with it.

Standard library only, so that a mistake is found before anything heavy is imported.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import math
import numbers
import os
import sys
import traceback
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from qsynth.errors import ConfigError, QsynthError, choice_rule, nearest_spelling

T = TypeVar("T")
Made = TypeVar("Made")


def setting(
    default: Any,
    doc: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    distinct: bool = False,
) -> Any:
    """Return a dataclass field with its documentation and its rule.

    low, high: inclusive bounds of a number.  choices: the strings allowed.  distinct: whether the
    entries of a list are names, of which none is empty and none stands there twice.
    """
    metadata = {"doc": doc, "low": low, "high": high, "choices": choices, "distinct": distinct}
    if isinstance(default, list):
        default = tuple(default)
    if isinstance(default, dict):
        return dataclasses.field(default_factory=default.copy, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def option(path: str) -> Callable[[type[T]], type[T]]:
    """Return a decorator of a frozen dataclass: its fields are checked wherever it is made.

    path: dotted key of the class in a config, so that a script is told what a command line is.
    What no single field can tell is checked by the class's own method `check`, if it has one.
    Making an instance raises ConfigError.
    """

    def decorated(cls: type[T]) -> type[T]:
        plain = cls.__init__

        @functools.wraps(plain)
        def checked(self: Any, *values: Any, **named: Any) -> None:
            plain(self, *values, **named)
            hints = _hints(type(self))
            for field in dataclasses.fields(self):
                key, value = _join(path, field.name), getattr(self, field.name)
                kept = _checked(hints[field.name], field.metadata, value, key)
                object.__setattr__(self, field.name, kept)
            if hasattr(self, "check"):
                self.check()

        cls.__init__ = checked  # type: ignore[method-assign]
        return cls

    return decorated


def name_of(made: Any) -> str:
    """Return the name of an option, as a config gives it."""
    return str(made.name)


_known: dict[Any, dict[str, Any]] = {}  # the hints of each class: they are resolved once


def _hints(schema: Any) -> dict[str, Any]:
    if schema not in _known:
        _known[schema] = typing.get_type_hints(schema)
    return _known[schema]


def build(schema: type[T], values: Mapping[str, Any], path: str) -> T:
    """Return `schema(**values)` after checking every key, type and rule.

    path: dotted key of `values`, for messages.  Raises ConfigError.
    """
    fields = {f.name: f for f in dataclasses.fields(schema)}  # type: ignore[arg-type]
    hints = _hints(schema)
    for key, value in values.items():
        if key not in fields:
            raise _error(_join(path, key), value, f"no such key{_place(path)}", str(key), fields)
    made: dict[str, Any] = {}
    for key, value in values.items():
        full = _join(path, key)
        if dataclasses.is_dataclass(hints[key]) and isinstance(value, Mapping):
            made[key] = build(hints[key], value, full)
            continue
        made[key] = _checked(hints[key], fields[key].metadata, value, full)
    return schema(**made)


def _checked(hint: Any, metadata: Mapping[str, Any], value: Any, path: str) -> Any:
    """Return a value as its setting keeps it, once type and rule hold."""
    value = _plain(value)
    _check_type(hint, value, path)
    _check_rule(metadata, value, path)
    return tuple(value) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    """Return NumPy's numbers as Python's: a script may compute a setting."""
    if isinstance(value, (bool, int, float, str)) or value is None:
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    return [_plain(entry) for entry in value] if isinstance(value, (list, tuple)) else value


def choose(options: Mapping[str, type[T]], values: Any, path: str) -> T:
    """Return the option of a group that `values["name"]` names, built and checked."""
    if not isinstance(values, Mapping):
        raise _error(path, values, f"must be one of the options of {path}", str(values), options)
    name = values.get("name")
    if not isinstance(name, str) or name not in options:
        raise _error(f"{path}.name", name, "no such option", str(name), options)
    known = {f.name for f in dataclasses.fields(options[name])}  # type: ignore[arg-type]
    for key in values:
        if key in known:
            continue  # no other option is looked at: it may be a package's, and broken
        others = [
            other
            for other, schema in options.items()
            if key in {f.name for f in dataclasses.fields(schema)}  # type: ignore[arg-type]
        ]
        if others:
            raise ConfigError(
                f"{path}.{key}={_shown(values[key])}: no such key in {path}={name}; it is one of "
                f"{path}={', '.join(others)}"
            )
    return build(options[name], values, path)


def default_of(field: dataclasses.Field[Any]) -> Any:
    """Return what a setting is where nothing is said."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def changes(config: Any) -> Any:
    """Return what of a config differs from its defaults, and every `name`, as plain values.

    It stands for the config where figures are kept: a new option leaves it what it is.
    """
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        made = {}
        for field in dataclasses.fields(config):
            value = getattr(config, field.name)
            if field.name == "name" or value != default_of(field):
                made[field.name] = changes(value)
        return made
    if isinstance(config, Mapping):
        return {key: changes(value) for key, value in config.items()}
    return [changes(value) for value in config] if isinstance(config, (list, tuple)) else config


def load_target(key: str, target: str, what: str = "package.Class") -> Any:
    """Return what a dotted name stands for.  Raises ConfigError, one line.

    key: dotted key of the config that holds it.  what: the kind of name that is asked for.  Only
    here modules are looked for in the current folder too, after all other places.
    """
    module, _, name = target.rpartition(".")
    if (here := os.getcwd()) not in sys.path:
        sys.path.append(here)
    try:
        return getattr(importlib.import_module(module), name)
    except Exception as error:  # the user's own code may raise anything
        raise ConfigError(
            f"{key}={target}: cannot be imported ({error}); give {what}, importable from here"
            + (" (qsynth uses pytorch_lightning)" if "'lightning" in str(error) else "")
        ) from None


def run_own(key: str, target: str, call: Callable[[], Made]) -> Made:
    """Return what code of the user's own gives.  Raises ConfigError: its error, file and line.

    key: dotted key of the config that names the code.  target: the name.
    """
    try:
        return call()
    except QsynthError:
        raise  # of ours: it says what to do
    except (Exception, SystemExit) as error:  # the user's own code may raise anything
        last = traceback.extract_tb(error.__traceback__)[-1]
        own = [
            frame
            for frame in traceback.extract_tb(error.__traceback__)
            if "site-packages" not in frame.filename and "/qsynth/" not in frame.filename
        ]
        where, said = own[-1] if own else last, " ".join(str(error).split()) or "no message"
        raise ConfigError(
            f"{key}={target}: {type(error).__name__}: {said} ({where.filename}:{where.lineno})"
        ) from None


def unknown(key: str, value: Any, rule: str, word: str, known: typing.Iterable[str]) -> ConfigError:
    """Return a ConfigError that names key, value, rule and the nearest right spelling."""
    return _error(key, value, rule, word, known)


def _join(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


def _place(path: str) -> str:
    return f" in {path}" if path else ""


def _error(key: str, value: Any, rule: str, word: str, known: typing.Iterable[str]) -> ConfigError:
    outer = key
    while isinstance(value, Mapping) and len(value) == 1:
        part, value = next(iter(value.items()))
        key = f"{key}.{part}"
    # What stood below a mistyped key stands below the right one, too.
    word, known = word + key[len(outer) :], [name + key[len(outer) :] for name in known]
    shown = "{...}" if isinstance(value, Mapping) else _shown(value)
    return ConfigError(f"{key}={shown}: {rule}{nearest_spelling(word, known)}")


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _check_type(hint: Any, value: Any, path: str) -> None:
    if not _fits(hint, value):
        raise ConfigError(f"{path}={_shown(value)}: must be {_spoken(hint)}")


def _fits(hint: Any, value: Any) -> bool:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return True
    if origin in (typing.Union, types.UnionType):
        return any(_fits(a, value) for a in args)
    if origin is typing.Literal:
        return value in args
    if origin is tuple:
        return isinstance(value, (list, tuple)) and all(_fits(args[0], v) for v in value)
    if origin is dict:
        whole = isinstance(value, Mapping) and all(isinstance(key, str) for key in value)
        return whole and all(_fits(args[1], v) for v in value.values())
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is type(None):
        return value is None
    return isinstance(hint, type) and isinstance(value, hint)


def _spoken(hint: Any) -> str:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_spoken(a) for a in args)
    if origin is typing.Literal:
        return " or ".join(str(a) for a in args)
    if origin is tuple:
        return f"a list of {_spoken(args[0])} ([] for none)"
    if origin is dict:
        return "a mapping whose keys are text (a number in quotes is text)"
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    return "null" if hint is type(None) else names.get(hint, "a mapping")


def _check_rule(metadata: Mapping[str, Any], value: Any, path: str) -> None:
    choices = metadata.get("choices", ())
    if isinstance(value, (list, tuple)):
        if metadata.get("distinct") and (len(set(value)) < len(value) or "" in value):
            raise ConfigError(f"{path}={list(value)}: names must differ, and none may be empty")
        for entry in value:
            _check_rule(metadata, entry, path)
        return
    if choices and isinstance(value, str) and value not in choices:
        raise ConfigError(f"{path}={_shown(value)}: {choice_rule(value, choices)}")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return
    low, high = metadata.get("low"), metadata.get("high")
    if isinstance(value, float) and math.isinf(value):
        raise ConfigError(f"{path}={value}: must be a finite number")
    if value != value or (low is not None and value < low) or (high is not None and value > high):
        bounds = [f">= {low}"] * (low is not None) + [f"<= {high}"] * (high is not None)
        raise ConfigError(f"{path}={value}: must be {' and '.join(bounds) or 'a number'}")
