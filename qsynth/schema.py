"""Turn a plain mapping into a typed config, or say in one line what is wrong with it.

Standard library only, so that a mistake is found before anything heavy is imported.
"""

from __future__ import annotations

import dataclasses
import importlib
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from qsynth.errors import ConfigError, nearest_spelling

T = TypeVar("T")


def setting(
    default: Any,
    doc: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """Return a dataclass field with its documentation and its rule.

    low, high: inclusive bounds of a number.  choices: the strings allowed.
    """
    metadata = {"doc": doc, "low": low, "high": high, "choices": choices}
    if isinstance(default, list):
        default = tuple(default)
    if isinstance(default, dict):
        return dataclasses.field(default_factory=default.copy, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def build(schema: type[T], values: Mapping[str, Any], path: str) -> T:
    """Return `schema(**values)` after checking every key, type and rule.

    path: dotted key of `values`, for messages.  Raises ConfigError.
    """
    fields = {f.name: f for f in dataclasses.fields(schema)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(schema)
    for key, value in values.items():
        if key not in fields:
            raise _error(_join(path, key), value, f"no such key{_place(path)}", str(key), fields)
    made: dict[str, Any] = {}
    for key, value in values.items():
        full = _join(path, key)
        if dataclasses.is_dataclass(hints[key]) and isinstance(value, Mapping):
            made[key] = build(hints[key], value, full)
            continue
        _check_type(hints[key], value, full)
        _check_rule(fields[key].metadata, value, full)
        made[key] = tuple(value) if isinstance(value, list) else value
    return schema(**made)


def choose(options: Mapping[str, type[T]], values: Any, path: str) -> T:
    """Return the option of a group that `values["name"]` names, built and checked."""
    if not isinstance(values, Mapping):
        raise _error(path, values, f"must be one of the options of {path}", str(values), options)
    name = values.get("name")
    if not isinstance(name, str) or name not in options:
        raise _error(f"{path}.name", name, "no such option", str(name), options)
    known = {f.name for f in dataclasses.fields(options[name])}  # type: ignore[arg-type]
    for key in values:
        others = [
            other for other, schema in options.items()
            if key not in known and key in {f.name for f in dataclasses.fields(schema)}  # type: ignore[arg-type]
        ]  # fmt: skip
        if others:
            raise ConfigError(
                f"{path}.{key}={_shown(values[key])}: no such key in {path}={name}; it is one of "
                f"{path}={', '.join(others)}"
            )
    return build(options[name], values, path)


def changes(config: Any) -> Any:
    """Return what of a config differs from its defaults, and every `name`, as plain values.

    It stands for the config where figures are kept: a new option leaves it what it is.
    """
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        made = {}
        for field in dataclasses.fields(config):
            value, default = getattr(config, field.name), field.default
            if field.default_factory is not dataclasses.MISSING:
                default = field.default_factory()
            if field.name == "name" or value != default:
                made[field.name] = changes(value)
        return made
    if isinstance(config, Mapping):
        return {key: changes(value) for key, value in config.items()}
    return [changes(value) for value in config] if isinstance(config, (list, tuple)) else config


def load_target(key: str, target: str, what: str = "package.Class") -> Any:
    """Return what a dotted name stands for.  Raises ConfigError, one line.

    key: dotted key of the config that holds it.  what: the kind of name that is asked for.
    """
    module, _, name = target.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except Exception as error:  # the user's own code may raise anything
        raise ConfigError(
            f"{key}={target}: cannot be imported ({error}); give {what}, importable from here"
            + (" (qsynth uses pytorch_lightning)" if "'lightning" in str(error) else "")
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
        return isinstance(value, Mapping) and all(_fits(args[1], v) for v in value.values())
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
        return "a mapping"
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    return "null" if hint is type(None) else names.get(hint, "a mapping")


def _check_rule(metadata: Mapping[str, Any], value: Any, path: str) -> None:
    choices = metadata.get("choices", ())
    if isinstance(value, (list, tuple)):
        for entry in value:
            _check_rule(metadata, entry, path)
        return
    if choices and isinstance(value, str) and value not in choices:
        raise _error(path, value, f"must be one of {', '.join(choices)}", value, choices)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return
    low, high = metadata.get("low"), metadata.get("high")
    if value != value or (low is not None and value < low) or (high is not None and value > high):
        bounds = [f">= {low}"] * (low is not None) + [f"<= {high}"] * (high is not None)
        raise ConfigError(f"{path}={value}: must be {' and '.join(bounds) or 'a number'}")
