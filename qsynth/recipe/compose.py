"""Compose a run's config with Hydra, and explain every mistake in one line."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, is_dataclass, replace
from pathlib import Path
from typing import Any, get_type_hints

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from qsynth.config.groups import GROUPS, validate
from qsynth.config.run import RunConfig
from qsynth.data.base import layout_of_data
from qsynth.data.dataset import DataSet
from qsynth.data.load import load_data
from qsynth.encoder.config import EncoderOptions
from qsynth.errors import ConfigError, QsynthError, nearest_spelling
from qsynth.recipe import hydra_plugin
from qsynth.recipe.catalog import find_recipe, recipe_files, shipped
from qsynth.recipe.entry_points import installed_options
from qsynth.recipe.inherit import Values, choices, lineage, read_yaml, settings
from qsynth.recipe.lint import OVERRIDE

QUOTES = ("'", '"')
KEY = re.compile(r"^[A-Za-z_][\w.]*(?==)")
DEFAULT_DATA = "digits"


@dataclass(frozen=True)
class Composed:
    """Hold the typed config, its plain values, and the overrides as given.

    data: where it took them to know how many nodes there are.
    """

    config: RunConfig
    values: dict[str, Any]
    overrides: tuple[str, ...]
    recipe_path: Path | None
    data: DataSet | None = None

    @property
    def recipe(self) -> bytes:
        """Return the recipe's file."""
        return self.recipe_path.read_bytes() if self.recipe_path else b""

    def with_data(self) -> Composed:
        """Return the same with all that follows from the data: a node for each of their sites.

        They are read only if something does follow.  Raises ConfigError or DataError.
        """
        fleet = self.config.fleet
        group = next((name for name, each in fleet.items() if each.count is None), None)
        if group is None:
            return self
        key = f"fleet.{group}.count=null"
        if self.config.data.own_code:
            raise ConfigError(f"{key}: how many sites a module has is not known; say a number")
        data = load_data(self.config.data, self.config.task)
        sites = layout_of_data(data).sites
        if sites is None:
            raise ConfigError(f"{key}: the data have no sites; say a number")
        count = sites - self.config.nodes
        if count < 0:
            raise ConfigError(f"fleet: {self.config.nodes} nodes, and the data have {sites} sites")
        values = deepcopy(self.values)
        values["fleet"][group]["count"] = count  # a run's folder says it
        settled = {**fleet, group: replace(fleet[group], count=count)}
        return replace(self, config=replace(self.config, fleet=settled), values=values, data=data)


def compose(arguments: Sequence[str], trusted: Sequence[str] = ()) -> Composed:
    """Return the checked config of overrides such as `+recipe=NAME fleet.small.count=12`.

    Raises ConfigError or RecipeError, one line each.
    """
    hydra_plugin.register()
    hydra_plugin.trust(list(trusted))
    chosen, assignments, recipe = _sort(arguments)
    unnamed = False
    own = next((choice.partition("=")[2] for choice in chosen if choice.startswith("data=")), None)
    if recipe is None:
        recipe = GROUPS["data"][own or DEFAULT_DATA].recipe  # type: ignore[attr-defined]
        unnamed = own is not None
    path = find_recipe(recipe)
    # A name of our own: a file may be called anything, also what Hydra takes for a number.
    name = f"own_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    hydra_plugin.add_recipe(name, path)
    base = _compose([f"+recipe={name}", *chosen])
    _check_fleet(base, assignments)
    if any("@" in choice for choice in chosen):
        _check_models(_compose([f"+recipe={name}"]), chosen, assignments)
    values = _assign(base, [f"++{key}={value}" for _, key, value in assignments])
    values["recipe"] = recipe
    if unnamed and "name" not in {key for _, key, _ in assignments}:
        values["name"] = ""
    assigned = {name for _, key, value in assignments for name in _assigned(key, value)}
    family = lineage(read_yaml(path.read_text(encoding="utf-8")), str(path))
    _drop_inherited(values, [own for _, own in family], assigned)
    _drop_other_options(values, chosen, assigned)
    if own is not None or (values.get("data") or {}).get("name") == "table":
        _keep_inputs(values, assigned)
    try:
        config = validate(values)
    except ConfigError as error:
        raise ConfigError(f"{error}{_place(str(error), family, assigned)}") from None
    values["name"] = config.name
    return Composed(config, values, tuple(arguments), path)


def _keep_inputs(values: dict[str, Any], assigned: set[str]) -> None:
    """Where the user brings other data, send no statistics of raw inputs that only a recipe wants.

    They leave if the user turns them on, by `distill.input_rank` or `synthesis.teach.inputs`.
    Where features are the inputs in other units, packets say of them what they say anyway; only
    what has classes is drawn from them.
    """
    classes = (values.get("data") or {}).get("kind", "classes") == "classes"
    encoder = GROUPS["encoder"].get((values.get("encoder") or {}).get("name", ""))
    invertible = encoder is not None and issubclass(encoder, EncoderOptions) and encoder.invertible
    invertible |= (values.get("data") or {}).get("features") is True
    if invertible and classes and not (values.get("distill") or {}).get("input_rank"):
        return
    teach = (values.get("synthesis") or {}).get("teach") or {}
    own = {"distill.input_rank", "synthesis.teach.inputs"} & assigned
    if teach.get("inputs") == "generated" and not own:
        teach["inputs"] = "own_mix"
        (values.get("distill") or {}).pop("input_rank", None)


def _place(message: str, family: Sequence[tuple[str, Values]], assigned: set[str]) -> str:
    """Return the file and line of the recipe that a message's key came from, if it did."""
    key = KEY.match(message)
    if key is None or any(name.startswith(key[0]) or key[0].startswith(name) for name in assigned):
        return ""
    lines = ((path, _line_of(key[0], path)) for path, _ in reversed(family))
    return next((f" ({path}:{line})" for path, line in lines if line), "")


def _line_of(key: str, path: str) -> int | None:
    """Return the line in which a recipe sets a key; None where it does not."""
    text = Path(path).read_text(encoding="utf-8")
    node: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    line = None
    for part in key.split("."):
        entries = node.value if isinstance(node, yaml.MappingNode) else []
        found = next(((k, v) for k, v in entries if k.value == part), None)
        if found is None:
            return None
        line, node = found[0].start_mark.line + 1, found[1]
    return line


def _sort(arguments: Sequence[str]) -> tuple[list[str], list[tuple[str, str, str]], str | None]:
    """Return group choices, assignments (sign, key, value) and the recipe."""
    choices: list[str] = []
    assignments: list[tuple[str, str, str]] = []
    recipe = None
    for argument in arguments:
        match = OVERRIDE.match(argument)
        if match is None or argument.startswith("-"):
            raise ConfigError(f"{argument}: must be key=value{_meant(argument)}")
        sign, key, value = match["sign"] or "", match["key"], match["value"]
        group = key.split("@")[0]
        if key == "recipe":
            recipe = value
        elif sign == "~":
            raise ConfigError(f"{argument}: nothing can be taken out; set another value instead")
        elif key.split(".")[0].split("/")[0] == "hydra":
            raise ConfigError(f"{argument}: hydra's own settings are not used by qsynth")
        elif group in GROUPS and not value.startswith("{"):
            if value not in GROUPS[group] and value not in installed_options(group):
                known = nearest_spelling(value, [*GROUPS[group], *installed_options(group)])
                raise ConfigError(f"{argument}: no such option of {group}{known}")
            choices.append(f"{key}={value}")
        else:
            _check_syntax(argument)
            assignments.append((sign, key, value))
    return choices, assignments, recipe


def _check_syntax(argument: str) -> None:
    try:
        parsed = OverridesParser.create().parse_override(argument)
        parsed.value()
    except (HydraException, ValueError) as error:
        key, _, value = argument.partition("=")
        rule = _quoting(key, value) or _first_line(error)
        if any(value.count(a) != value.count(b) for a, b in ("[]", "{}", "()")):
            rule = "a bracket is not closed; a list is [a,b], in quotes where a shell reads it"
        elif value[:1] in QUOTES and value.count(value[0]) % 2:
            rule = "a quotation mark is not closed"
        elif value.endswith(","):
            rule = "ends with a comma; a list is [a,b], a sweep is -m key=a,b"
        raise ConfigError(f"{argument}: {rule}") from None
    if parsed.is_sweep_override():
        raise ConfigError(f"{argument}: several values; a list is [a,b], a sweep is -m {argument}")


def _quoting(key: str, value: str) -> str:
    """Return how to write a value whose characters Hydra's grammar keeps for itself, or nothing."""
    if value[:1] in QUOTES or value[:1] in "({":
        return ""
    plain = [value]
    if value.startswith("[") and value.endswith("]"):
        plain = [entry.strip() for entry in value[1:-1].split(",")]
    entries = ", ".join('"' + entry.strip("\"'").replace('"', '\\"') + '"' for entry in plain)
    written = f"{key}=[{entries}]" if value.startswith("[") else f"{key}={entries}"
    try:
        OverridesParser.create().parse_override(written).value()
    except (HydraException, ValueError):
        return ""
    return f"quote it, and again for the shell: {shlex.quote(written)}"


def _meant(argument: str) -> str:
    """Return what was meant by a word that is no override: a recipe's name, perhaps."""
    if argument.startswith("-"):
        return f"; options begin with --: did you mean -{argument}?"
    if argument in recipe_files():
        return f"; did you mean +recipe={argument}?"
    return ", e.g. +recipe=digits_mesh"


def _assigned(key: str, value: str) -> list[str]:
    """Return the keys that an assignment sets: those of a mapping, one by one."""

    def names(path: str, given: Any) -> list[str]:
        if isinstance(given, dict) and given:
            return [
                name for part, inner in given.items() for name in names(f"{path}.{part}", inner)
            ]
        return [path]

    return names(key, OverridesParser.create().parse_override(f"{key}={value}").value())


def _check_fleet(base: dict[str, Any], assignments: list[tuple[str, str, str]]) -> None:
    """A mistyped group must not become a new one: a new one needs a +."""
    fleet = base.get("fleet") or {}
    for sign, key, value in assignments:
        parts = key.split(".")
        if parts[0] == "fleet" and len(parts) > 1 and parts[1] not in fleet and not sign:
            raise ConfigError(
                f"{key}={value}: no such node group{nearest_spelling(parts[1], fleet)}; "
                f"a new one is added by +{key}={value}"
            )


def _check_models(
    recipe: dict[str, Any], choices: list[str], assignments: list[tuple[str, str, str]]
) -> None:
    """A model for a mistyped group must not become a node of its own."""
    fleet = recipe.get("fleet") or {}
    added = {key.split(".")[1] for sign, key, _ in assignments if sign and "." in key}
    for choice in choices:
        _, _, package = choice.partition("=")[0].partition("@")
        parts = package.split(".")
        if parts[0] == "fleet" and len(parts) > 1 and parts[1] not in set(fleet) | added:
            raise ConfigError(
                f"{choice}: no such node group{nearest_spelling(parts[1], fleet)}; "
                f"a new one is added by +fleet.{parts[1]}.count=1"
            )


def _drop_inherited(values: dict[str, Any], family: Sequence[Values], assigned: set[str]) -> None:
    """Where a recipe chooses an option, drop what those it builds on set of another."""
    for at, recipe in enumerate(family[1:], 1):
        later = {key for own in family[at:] for key in settings(own)} | assigned
        chosen = [f"{place}={option}" for place, option in choices(recipe).items()]
        _drop_other_options(values, chosen, later)


def _drop_other_options(values: dict[str, Any], choices: list[str], assigned: set[str]) -> None:
    """Where the user chose another option, leave out the recipe's settings of the first one."""
    for choice in choices:
        key, _, option = choice.partition("=")
        group, _, package = key.partition("@")
        place: Any = values
        for part in (package or group).split("."):
            place = place.get(part) or {}
        schema = GROUPS[group].get(option, GROUPS[group].get("module"))
        assert schema is not None
        _drop_unknown(place, schema, package or group, assigned)


def _drop_unknown(place: dict[str, Any], schema: type, path: str, assigned: set[str]) -> None:
    """Delete from `place` what `schema` does not know, save what the user assigned."""
    hints = get_type_hints(schema)
    for name in list(place):
        key = f"{path}.{name}"
        if name in hints:
            if is_dataclass(hints[name]) and isinstance(place[name], dict):
                _drop_unknown(place[name], hints[name], key, assigned)
        elif not any(a == key or a.startswith(f"{key}.") for a in assigned):
            del place[name]


def _compose(overrides: list[str]) -> dict[str, Any]:
    try:
        return _hydra(overrides)
    except HydraException as error:
        # A model for a new node group stands in no defaults list: it has to be added.
        added = [f"+{o}" if "@" in o.split("=")[0] else o for o in overrides]
        if added == overrides:
            raise _explained(error, overrides) from None
        try:
            return _hydra(added)
        except HydraException as again:
            raise _explained(again, overrides) from None


def _assign(values: dict[str, Any], forced: list[str]) -> dict[str, Any]:
    """Return values with assignments `++key=value`, as Hydra sets them after all options."""
    if not forced:
        return values
    config, parser = OmegaConf.create(values), OverridesParser.create()
    try:
        for word in forced:
            parsed = parser.parse_override(word)
            key = parsed.key_or_group
            OmegaConf.update(config, key, parsed.value(), merge=True, force_add=True)
        return _plain(config)
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise _explained(error, forced) from None


def _plain(config: Any) -> dict[str, Any]:
    made: Any = OmegaConf.to_container(config, resolve=True)
    return {str(key): value for key, value in made.items()}


_known: dict[Any, dict[str, Any]] = {}  # what was composed in this process, the newest last
MOST_KNOWN = 64


def _hydra(overrides: list[str]) -> dict[str, Any]:
    """Return what Hydra composes; the same words and files are composed once in a process."""
    key = (tuple(overrides), str(shipped("conf")), hydra_plugin.state())
    if key not in _known:
        made = _composed_anew(overrides)
        while len(_known) >= MOST_KNOWN:
            del _known[next(iter(_known))]
        _known[key] = made
    return deepcopy(_known[key])


def _composed_anew(overrides: list[str]) -> dict[str, Any]:
    try:
        with initialize_config_dir(str(shipped("conf")), version_base="1.3"):
            composed = hydra_compose("config", overrides=overrides)
            return _plain(composed)
    except OmegaConfBaseException as error:
        raise _explained(error, overrides) from None


def _explained(error: BaseException, overrides: list[str]) -> QsynthError:
    """Return the root cause, one line, instead of Hydra's wrapping of it."""
    root: BaseException = error
    while root.__cause__ is not None or root.__context__ is not None:
        root = root.__cause__ or root.__context__ or root
        if isinstance(root, QsynthError):
            return root
    # A recipe has a name of our own while it is composed: its file says more.
    given = [o for o in overrides if o.startswith("++")] or [
        str(hydra_plugin.file_of(o.removeprefix("+recipe=")) or o) for o in overrides
    ]
    key = getattr(root, "full_key", "")
    said = f"{key}: {_first_line(root)}" if key else _first_line(root)
    if said.startswith("Cannot merge DictConfig"):
        said = "a list stands where a mapping must, or a mapping where a list must"
    return ConfigError(f"{', '.join(given)}: {said}")


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "not valid")
