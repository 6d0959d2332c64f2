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

from qsynth.config.groups import GROUPS
from qsynth.errors import RecipeError, nearest_spelling
from qsynth.recipe.catalog import listed, recipe_files
from qsynth.recipe.entry_points import installed_options, installed_targets
from qsynth.recipe.inherit import base_of, choices, lineage, read_yaml, settings
from qsynth.recipe.lowered import SHIPPED, is_shipped, lowered

MAX_BYTES = 64 * 1024
FORBIDDEN_KEYS = ("_target_", "_args_", "_partial_", "_recursive_", "_convert_", "_self_")
CODE_KEYS = ("target", "logger")  # options that import the user's own class
LOGGERS = ("none", "csv", "tensorboard")
# What only the user's own command line may say.
OWN_KEYS = frozenset(
    {
        "folder",
        "mesh.host",
        "mesh.listen",
        "mesh.advertise",
        "mesh.join",
        "mesh.metrics",
        "mesh.tls",
        "mesh.insecure",
        "trust.allow",
        "trust.deny",
        "placement.address",
        "placement.account",
        "placement.partition",
    }
)
PATH_KEYS = frozenset({"data.path", "data.root", "data.unlabelled", "distill.file"})
# Of Lightning's Trainer: nothing that writes files or starts processes.
TRAINER_ARGUMENTS = frozenset(
    {
        "accumulate_grad_batches",
        "benchmark",
        "detect_anomaly",
        "deterministic",
        "gradient_clip_algorithm",
        "limit_train_batches",
        "precision",
    }
)
MOST_DEEP = 32
MOST_DEFAULTS = 128  # each is composed: many take minutes
HIDDEN = set("\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029")
TEXT, BOOL = "tag:yaml.org,2002:str", "tag:yaml.org,2002:bool"
OCTAL = re.compile(r"^[-+]?0[0-9_]+$")
SIXTIES = re.compile(r"^[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?$")
OVERRIDE = re.compile(r"^(?P<sign>\+\+|\+|~)?(?P<key>[^=]+?)=(?P<value>.*)$", re.DOTALL)
NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
OPENS = (
    yaml.BlockMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.FlowMappingStartToken,
    yaml.FlowSequenceStartToken,
)
ENDS = (yaml.BlockEndToken, yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken)
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


def lint_text(text: str, source: str, trusted: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Return the values of a recipe's text; `source` is named where it is refused."""
    size = len(text.encode())
    if size > MAX_BYTES:
        raise RecipeError(f"{source}: {size} bytes, a recipe has at most {MAX_BYTES}")
    hidden = next(
        (
            number
            for number, line in enumerate(text.split("\n"), 1)
            if HIDDEN & set(line.removesuffix("\r"))
        ),
        None,
    )
    if hidden is not None:
        raise RecipeError(f"{source}:{hidden}: a line break that editors do not show; take it out")
    try:
        deep = 0
        for token in yaml.scan(text, Loader=yaml.SafeLoader):
            deep += isinstance(token, OPENS) - isinstance(token, ENDS)
            if deep > MOST_DEEP:  # on the way: the whole of it would take a parser many seconds
                raise RecipeError(f"{source}: nested more than {MOST_DEEP} deep")
            for kind, what in TOKENS.items():
                if isinstance(token, kind):
                    line = token.start_mark.line + 1
                    raise RecipeError(f"{source}:{line}: {what} is not allowed in a recipe")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        at = "" if error.problem_mark is None else f":{error.problem_mark.line + 1}"
        raise RecipeError(f"{source}{at}: not YAML ({error.problem})") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise RecipeError(f"{source}: not YAML ({first})") from None
    if not isinstance(node, yaml.MappingNode):
        raise RecipeError(f"{source}: a recipe must be a mapping")
    _check_nodes(source, node)
    values = read_yaml(text)
    allowed = trusted | installed_targets() | ({SHIPPED} if is_shipped(text) else set())
    for where, key, value in _walk(values, ""):
        _check_key(source, where, key, value, allowed)
    for group in (*GROUPS, "fleet"):
        if isinstance(values.get(group), list):
            raise RecipeError(f"{source}: {group}: must be a mapping, not a list")
    _check_defaults(source, values.get("defaults", []), allowed)
    if base_of(values, source) is not None:
        _check_inherited(source, values, allowed)
    return values


def _check_inherited(source: str, values: dict[str, Any], allowed: frozenset[str]) -> None:
    """Refuse what a recipe takes over from another, and may not say itself."""
    own = {key.split("@")[0] for key in settings(values)}
    chosen = {place.partition("@")[0] for place in choices(values)}
    for base, inherited in lineage(values, source)[:-1]:
        told = f"{source}: of {Path(base).stem}"
        for where, _, value in _walk(inherited, ""):
            plain = where.split("@")[0]
            if plain not in own and plain.split(".")[0] != "defaults":
                _check_lowered(told, where, plain, value, allowed)
        for place, option in choices(inherited).items():
            if (group := place.partition("@")[0]) not in chosen:
                _check_lowered(told, place, group, option, allowed)


def _check_nodes(source: str, node: yaml.Node, depth: int = 0) -> None:
    """Refuse what YAML's readers take in different ways, or in silence: line by line."""
    if depth > MOST_DEEP:
        raise RecipeError(f"{source}: nested more than {MOST_DEEP} deep")
    if isinstance(node, yaml.ScalarNode):
        _check_scalar(source, node)
    if isinstance(node, yaml.SequenceNode):
        for entry in node.value:
            _check_nodes(source, entry, depth + 1)
    if not isinstance(node, yaml.MappingNode):
        return
    seen: dict[str, int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode) or key.tag != TEXT:
            shown = getattr(key, "value", "") if isinstance(key, yaml.ScalarNode) else "..."
            raise RecipeError(f"{source}:{line}: the key {shown} is no text; write it in quotes")
        if key.value in seen:
            raise RecipeError(
                f"{source}:{line}: duplicate key {key.value}, also in line {seen[key.value]}; join "
                "the two"
            )
        seen[key.value] = line
    for _, value in node.value:
        _check_nodes(source, value, depth + 1)


def _check_scalar(source: str, node: yaml.ScalarNode) -> None:
    line = node.start_mark.line + 1
    if node.value == "???":
        raise RecipeError(f"{source}:{line}: ??? stands for a value that is missing; give one")
    if node.style is not None:
        return  # in quotes: text, whatever it looks like
    if OCTAL.match(node.value):
        plain = node.value.lstrip("+-0_") or "0"
        raise RecipeError(
            f"{source}:{line}: {node.value} would be read as an octal number; write {plain}, or "
            "text in quotes"
        )
    if SIXTIES.match(node.value):
        raise RecipeError(
            f"{source}:{line}: {node.value} would be read as a number to the base of 60; write it "
            "in quotes"
        )
    if node.tag == BOOL and node.value.lower() not in ("true", "false"):
        raise RecipeError(
            f"{source}:{line}: {node.value} would be read as true or false; write that, or "
            f"'{node.value}' for text"
        )


def lint_overrides(overrides: Any, source: str, trusted: frozenset[str] = frozenset()) -> list[str]:
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
            _check_default(source, f"/{key}", text, allowed)
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


def lint_values(values: dict[str, Any], source: str, trusted: frozenset[str]) -> None:
    """Raise RecipeError where the composed values of somebody's run could run code or read files.

    What its nodes listen to and publish is not looked at: none of them is run.
    """
    allowed = trusted | installed_targets() | {SHIPPED}
    for where, key, value in _walk(values, ""):
        if where.split("@")[0] not in OWN_KEYS:
            _check_key(source, where, key, value, allowed)


def needed_trust(text: str) -> list[str]:
    """Return the code that a recipe would import: what it takes to trust it."""
    found = []
    for _, key, value in _walk(read_yaml(text), ""):
        if key in CODE_KEYS and isinstance(value, str) and value and value not in LOGGERS:
            found.append(value)
    return sorted(set(found))


def needed_confirmations(text: str) -> list[str]:
    """Return what a recipe lowers of its user's privacy or defence, as `--trust` takes it."""
    values = read_yaml(text)
    given = [(key, value) for key, _, value in _walk(values, "")]
    for entry in values.get("defaults", []):
        if isinstance(entry, dict):
            given += [
                (str(k).split()[-1].removeprefix("/").split("@")[0], v) for k, v in entry.items()
            ]
    return sorted({found[0] for key, value in given if (found := lowered(key, value))})


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
    _check_lowered(source, where, plain, value, trusted)
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


def _check_lowered(source: str, where: str, key: str, value: Any, trusted: frozenset[str]) -> None:
    found = None if SHIPPED in trusted else lowered(key, value)
    if found is not None and found[0] not in trusted:
        raise RecipeError(
            f"{source}: {where}={value}: {found[1]}, which is for the owner of the data to say: on "
            f"the command line, or confirmed with --trust {found[0]}"
        )


def _leaves(name: str) -> bool:
    """Return whether a path leads out of the current folder."""
    parts = name.replace("\\", "/").split("/")
    return name.startswith(("/", "~", "\\")) or ".." in parts or ":" in parts[0]


def _check_defaults(source: str, defaults: Any, trusted: frozenset[str]) -> None:
    if not isinstance(defaults, list):
        raise RecipeError(f"{source}: defaults must be a list")
    if len(defaults) > MOST_DEFAULTS:
        raise RecipeError(f"{source}: {len(defaults)} defaults, at most {MOST_DEFAULTS}")
    seen: set[str] = set()
    for entry in defaults:
        if not isinstance(entry, (str, dict)):
            raise RecipeError(f"{source}: defaults: {entry}: must be group: option")
        pairs = list(entry.items()) if isinstance(entry, dict) else [(entry, None)]
        if len(pairs) != 1:
            raise RecipeError(f"{source}: defaults: {entry}: must be one group: option an entry")
        for named, option in pairs:
            if option is None and isinstance(entry, dict):
                raise RecipeError(
                    f"{source}: defaults: {named}: names no option; the option none is 'none', text"
                )
            _check_default(source, str(named), option, trusted)
            place = named.split()[-1].removeprefix("/")
            if place in seen:
                raise RecipeError(f"{source}: defaults: {place} stands there twice; keep one")
            seen.add(place)


def _check_default(source: str, named: str, option: Any, trusted: frozenset[str]) -> None:
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
    if option is None and (named == "_self_" or named in recipe_files()):
        return
    if option is None and NAME.match(named) and named not in GROUPS:
        known = nearest_spelling(named, listed())
        raise RecipeError(f"{source}: defaults: {named}: no such recipe{known}")
    if option is None:
        raise RecipeError(f"{source}: defaults: {shown}: must be group: option")
    if group not in GROUPS or group == "recipe":
        raise RecipeError(f"{source}: defaults: {shown}: {group} is no group of options")
    if not isinstance(option, str):
        raise RecipeError(f"{source}: defaults: {shown}: must be group: option, one name")
    if option not in GROUPS[group] and option not in installed_options(group):
        known = nearest_spelling(option, [*GROUPS[group], *installed_options(group)])
        raise RecipeError(f"{source}: defaults: {shown}: no such option of {group}{known}")
    _check_lowered(source, shown, group, option, trusted)
    if not all(part.isidentifier() for part in package.split(".") if package):
        raise RecipeError(f"{source}: defaults: {shown}: {package} is no place in a config")
