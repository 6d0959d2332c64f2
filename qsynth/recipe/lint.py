"""Lint a recipe's raw YAML before it is composed: a recipe is data, never code.

Beside code, a recipe that somebody sends must not reach for what is the user's own to say: where
files are read and written, and whom a node talks to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from qsynth.config import GROUPS
from qsynth.errors import RecipeError
from qsynth.recipe.installed import installed_options, installed_targets

MAX_BYTES = 64 * 1024
FORBIDDEN_KEYS = ("_target_", "_args_", "_partial_", "_recursive_", "_convert_", "_self_")
CODE_KEYS = ("target", "logger")  # options that import the user's own class
LOGGERS = ("none", "csv", "tensorboard")
# What only the user's own command line may say.
OWN_KEYS = frozenset({
    "folder", "mesh.host", "mesh.listen", "mesh.advertise", "mesh.join", "mesh.tls",
    "mesh.insecure", "trust.allow", "trust.deny", "placement.address", "placement.account",
    "placement.partition",
})  # fmt: skip
PATH_KEYS = frozenset({"data.path", "data.root", "data.unlabelled", "distill.file"})
# Of Lightning's Trainer: nothing that writes files or starts processes.
TRAINER_ARGUMENTS = frozenset({
    "accumulate_grad_batches", "benchmark", "detect_anomaly", "deterministic",
    "gradient_clip_algorithm", "limit_train_batches", "precision",
})  # fmt: skip
MOST_DEEP = 32
MOST_DEFAULTS = 128  # each is composed: many take minutes
OVERRIDE = re.compile(r"^(?P<sign>\+\+|\+|~)?(?P<key>[^=]+?)=(?P<value>.*)$", re.DOTALL)
NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
TOKENS = {
    yaml.AnchorToken: "an anchor",
    yaml.AliasToken: "an alias",
    yaml.TagToken: "a tag",
    yaml.DirectiveToken: "a directive",
}


def lint(path: Path, trusted: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Return a recipe's values.  Raises RecipeError, one line, where it could run code.

    trusted: package.Class names that the user's own command line allows.
    """
    return lint_text(_read(path), str(path), trusted)


def lint_text(
    text: str, source: str, trusted: frozenset[str] = frozenset()
) -> dict[str, Any]:  # fmt: skip
    """Return the values of a recipe's text; `source` is named where it is refused."""
    size = len(text.encode())
    if size > MAX_BYTES:
        raise RecipeError(f"{source}: {size} bytes, a recipe has at most {MAX_BYTES}")
    try:
        for token in yaml.scan(text, Loader=yaml.SafeLoader):
            for kind, what in TOKENS.items():
                if isinstance(token, kind):
                    line = token.start_mark.line + 1
                    raise RecipeError(f"{source}:{line}: {what} is not allowed in a recipe")
        values = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise RecipeError(f"{source}: not YAML ({first})") from None
    if not isinstance(values, dict):
        raise RecipeError(f"{source}: a recipe must be a mapping")
    if _depth(values) > MOST_DEEP:
        raise RecipeError(f"{source}: nested more than {MOST_DEEP} deep")
    allowed = trusted | installed_targets()
    for where, key, value in _walk(values, ""):
        _check_key(source, where, key, value, allowed)
    _check_defaults(source, values.get("defaults", []))
    return values


def lint_overrides(
    overrides: Any, source: str, trusted: frozenset[str] = frozenset()
) -> list[str]:  # fmt: skip
    """Return overrides that came with a recipe, once they are as harmless as it must be.

    Raises RecipeError: what somebody sends is not the user's own command line.
    """
    allowed = trusted | installed_targets()
    if not isinstance(overrides, list) or not all(isinstance(word, str) for word in overrides):
        raise RecipeError(f"{source}: overrides must be a list of key=value")
    for word in overrides:
        match = OVERRIDE.match(word)
        if match is None or match["sign"] == "~":
            raise RecipeError(f"{source}: {word}: must be key=value")
        key, text = match["key"], match["value"]
        group = key.partition("@")[0]
        if group in GROUPS and not text.startswith("{"):
            _check_default(source, f"/{key}", text)
            continue
        try:
            value = OverridesParser.create().parse_override(f"{key}={text}").value()
        except (HydraException, ValueError) as error:
            first = str(error).splitlines()[0]
            raise RecipeError(f"{source}: {word}: {first}") from None
        nested: Any = value
        for part in reversed(key.split(".")):
            nested = {part: nested}
        if isinstance(value, str) and "${" in text:
            raise RecipeError(f"{source}: {word}: interpolation is not allowed in a recipe")
        for where, name, inner in _walk(nested, ""):
            _check_key(source, where, name, inner, allowed)
    return list(overrides)


def _depth(values: Any) -> int:
    """Return how deep values are nested; at most one more than is allowed is looked at."""
    level, deep = [values], 0
    while level and deep <= MOST_DEEP:
        level = [inner for value in level if isinstance(value, (dict, list))
                 for inner in (value.values() if isinstance(value, dict) else value)]  # fmt: skip
        deep += 1
    return deep


def needed_trust(text: str) -> list[str]:
    """Return the code that a recipe would import: what it takes to trust it."""
    found = []
    for _, key, value in _walk(yaml.safe_load(text), ""):
        if key in CODE_KEYS and isinstance(value, str) and value and value not in LOGGERS:
            found.append(value)
    return sorted(set(found))


def _read(path: Path) -> str:
    data = path.read_bytes()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise RecipeError(f"{path}: not UTF-8 text") from None


def _walk(values: Any, where: str) -> Iterator[tuple[str, str, Any]]:
    if isinstance(values, dict):
        for key, value in values.items():
            full = f"{where}.{key}" if where else str(key)
            yield full, str(key), value
            yield from _walk(value, full)
    elif isinstance(values, list):
        for at, value in enumerate(values):
            yield f"{where}[{at}]", "", value
            yield from _walk(value, f"{where}[{at}]")


def _check_key(source: str, where: str, key: str, value: Any, trusted: frozenset[str]) -> None:
    plain = where.split("@")[0]
    if key in FORBIDDEN_KEYS or key == "hydra" or plain.split(".")[0] == "hydra":
        raise RecipeError(f"{source}: {where} is not allowed in a recipe")
    # Also plain ones: what they stand for would be looked up after this has been read.
    if "${" in key or (isinstance(value, str) and "${" in value):
        raise RecipeError(f"{source}: {where}: interpolation is not allowed in a recipe")
    code = key in CODE_KEYS and isinstance(value, str) and value and value not in LOGGERS
    if code and value not in trusted:
        raise RecipeError(f"{source}: {where}={value} imports code; allow it with --trust {value}")
    own = plain in OWN_KEYS or plain.startswith("placement.arguments.")
    if own and value not in (None, "", [], False):
        raise RecipeError(
            f"{source}: {where}: is the user's own to say; give it on the command line"
        )
    if plain in PATH_KEYS and isinstance(value, str) and _leaves(value):
        raise RecipeError(
            f"{source}: {where}={value}: a recipe may name files below the current folder alone"
        )
    if plain == "name" and not (isinstance(value, str) and NAME.match(value)):
        raise RecipeError(f"{source}: name={value}: must be a plain word, it names a folder")
    inside = plain.startswith("trainer.arguments.")
    if inside and (plain.split(".")[2] not in TRAINER_ARGUMENTS or isinstance(value, (dict, list))):
        raise RecipeError(
            f"{source}: {where}: of the Trainer's arguments a recipe may set "
            f"{', '.join(sorted(TRAINER_ARGUMENTS))}"
        )


def _leaves(name: str) -> bool:
    """Return whether a path leads out of the current folder."""
    parts = name.replace("\\", "/").split("/")
    return name.startswith(("/", "~", "\\")) or ".." in parts or ":" in parts[0]


def _check_defaults(source: str, defaults: Any) -> None:
    if not isinstance(defaults, list):
        raise RecipeError(f"{source}: defaults must be a list")
    if len(defaults) > MOST_DEFAULTS:
        raise RecipeError(f"{source}: {len(defaults)} defaults, at most {MOST_DEFAULTS}")
    for entry in defaults:
        if not isinstance(entry, (str, dict)):
            raise RecipeError(f"{source}: defaults: {entry}: must be group: option")
        pairs = entry.items() if isinstance(entry, dict) else [(entry, None)]
        for named, option in pairs:
            _check_default(source, str(named), option)


def _check_default(source: str, named: str, option: Any) -> None:
    """Refuse a defaults entry that is not an option of a group, or another recipe."""
    shown = named if option is None else f"{named}: {option}"
    words = named.split()
    if words[:-1] not in ([], ["override"], ["optional"]):
        raise RecipeError(f"{source}: defaults: {shown}: is no group")
    bare = (words or [""])[-1]
    if ".." in shown or "://" in shown or "\\" in shown:
        raise RecipeError(f"{source}: defaults: {shown}: paths are not allowed")
    group, _, package = bare.removeprefix("/").partition("@")
    if group.split("/")[0] == "hydra" or package.split(".")[0] == "hydra":
        raise RecipeError(f"{source}: defaults: {shown}: hydra is not configured by a recipe")
    if bare == "_self_" and option is None:
        return
    if option is None:
        raise RecipeError(f"{source}: defaults: {shown}: must be group: option")
    if group not in GROUPS or group == "recipe":
        raise RecipeError(f"{source}: defaults: {shown}: {group} is no group of options")
    options = option if isinstance(option, list) else [option]
    for name in options:
        if not isinstance(name, str):
            raise RecipeError(f"{source}: defaults: {shown}: must be group: option")
        if name not in GROUPS[group] and name not in installed_options(group):
            raise RecipeError(f"{source}: defaults: {shown}: no such option of {group}")
    if not all(part.isidentifier() for part in package.split(".") if package):
        raise RecipeError(f"{source}: defaults: {shown}: {package} is no place in a config")
