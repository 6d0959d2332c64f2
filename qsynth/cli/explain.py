"""`qsynth explain WORD`: what a setting, an option, a count or an exit code means."""

from __future__ import annotations

import dataclasses
from typing import Any

from qsynth.cli.options import parse
from qsynth.config.groups import GROUPS
from qsynth.config.run import ARMS, RunConfig
from qsynth.errors import ConfigError, nearest_spelling
from qsynth.host.log import LogOptions
from qsynth.schema import default_of

EXIT_CODES = {
    "0": "all is well",
    "1": "the run failed, or a check of doctor did",
    "2": "usage, config or data: the line names key, value, rule and the nearest spelling",
    "3": "a recipe was refused before it was composed: it could run code, or reach for what is the "
    "user's own to say",
    "4": "the network: an address that cannot be listened on or dialled",
    "130": "interrupted",
}
REASONS = {
    "size": "a packet larger than any may be",
    "header": "magic bytes, version or kind are not ours",
    "signature": "some byte is not what its author has signed",
    "schema": "arrays of another task",
    "author": "somebody else's packet than the one asked for",
    "denied": "kept out by trust.allow or trust.deny",
    "task": "of another task",
    "encoder": "made with another encoder",
    "replay": "not newer than the one already held",
    "expired": "older than its time to live",
    "future": "its clock or this one is off",
    "range": "numbers that cannot be",
    "support": "claims more samples than it carries",
    "fingerprint": "its numbers do not give the fingerprint that was announced",
    "withdrawn": "its author has taken it back, or it is forgotten here",
}


def main(words: list[str]) -> int:
    """Print what a word means."""
    options = parse(words)
    if len(options.overrides) != 1:
        raise ConfigError("explain: needs one word, e.g. qsynth explain dht.ring_size")
    word = options.overrides[0]
    for line in explained(word):
        print(line)
    return 0


def explained(word: str) -> list[str]:
    """Return lines on a word.  Raises ConfigError where nothing is known of it."""
    settings = known_settings()
    if word in ("exit", "exits", "exit_code", "exit_codes"):
        return [f"{code:>4}  {meaning}" for code, meaning in EXIT_CODES.items()]
    if word in EXIT_CODES:
        return [f"exit code {word}: {EXIT_CODES[word]}"]
    if word in ARMS:
        return [f"arm {word}: {ARMS[word].doc}"]
    if word in settings:
        return settings[word]
    if word in GROUPS:
        return [f"{word}={name:14} {_first(schema)}" for name, schema in GROUPS[word].items()]
    reason = word.removeprefix("rejected_")
    if reason in REASONS:
        return [f"refused packets, reason {reason}: {REASONS[reason]}"]
    group, _, option = word.partition("=")
    if option in GROUPS.get(group, {}):
        schema = GROUPS[group][option]
        return [
            _first(schema),
            *(
                line
                for f in dataclasses.fields(schema)
                if f.name != "name"
                for line in _field(f"{group}.{f.name}", f)
            ),
        ]
    known = [*settings, *GROUPS, *REASONS, *ARMS]
    raise ConfigError(f"explain {word}: not known{nearest_spelling(word, known)}")


def known_settings() -> dict[str, list[str]]:
    """Return every key of a config with its lines, from the schema."""
    found: dict[str, list[str]] = {}
    for field in dataclasses.fields(RunConfig):
        if field.name not in GROUPS:
            found[field.name] = _field(field.name, field)
    for group, options in GROUPS.items():
        for name, schema in options.items():
            _collect(found, group, schema, name)
    for field in dataclasses.fields(LogOptions):
        found[f"log.{field.name}"] = [*_field(f"log.{field.name}", field), "of `qsynth node up`"]
    return found


def _collect(found: dict[str, list[str]], path: str, schema: type, option: str) -> None:
    for field in dataclasses.fields(schema):
        key = f"{path}.{field.name}"
        default = default_of(field)
        if dataclasses.is_dataclass(default):
            _collect(found, key, type(default), option)
        elif key in found:
            found[key][-1] += f", {option}"
        elif field.name != "name":
            found[key] = [*_field(key, field), f"of {path.split('.')[0]}={option}"]


def _field(key: str, field: Any) -> list[str]:
    rule = field.metadata
    bounds = [f">= {rule['low']:g}"] if rule.get("low") is not None else []
    bounds += [f"<= {rule['high']:g}"] if rule.get("high") is not None else []
    choices = [f"one of {', '.join(rule['choices'])}"] if rule.get("choices") else []
    default = default_of(field)
    shown = "null" if default is None else list(default) if isinstance(default, tuple) else default
    said = "; ".join([*bounds, *choices])
    return [f"{key} = {shown}: {rule.get('doc', '')}" + (f" ({said})" if said else "")]


def _first(schema: type) -> str:
    return (schema.__doc__ or "").strip().splitlines()[0]
