"""What only the owner of the data may lower: their privacy, and their node's defence.

A recipe that somebody sends may raise both.  What is below the defaults is refused until the user
says it on the command line, or confirms its key by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import cache
from typing import Any

from qsynth.dht.config import Rings
from qsynth.mesh.config import Tcp
from qsynth.recipe.finder import shipped
from qsynth.recipe.installed import installed_recipes

SHIPPED = "a shipped recipe"  # among what is trusted: has a space, so it is no name of a class
SAMPLES = 5  # of a class, before anything is said of it
LEAST_MIXED = 4
Rule = tuple[Callable[[Any], bool], str]


def _below(least: float) -> Callable[[Any], bool]:
    return lambda value: not isinstance(value, (int, float)) or value < least


FEW = "sends statistics of classes of few samples: at 1, of single records"
RULES: dict[str, Rule] = {
    "distill.min_support": (_below(SAMPLES), FEW),
    "similarity.query_support": (
        lambda value: value is not None and _below(SAMPLES)(value),
        "tells those who are asked of classes of few samples: at 1, of single records",
    ),
    "distill.input_rank": (
        lambda value: value not in (None, 0),
        "sends statistics of the raw inputs",
    ),
    "distill.mixed": (_below(LEAST_MIXED), "sends averages of few inputs: at 1, records"),
    "synthesis.gate": (lambda value: value != "greedy", "lets every packet count"),
    "synthesis.support_cap": (
        lambda value: value is None or not isinstance(value, (int, float)) or value > 16.0,
        "lets one packet count for as many samples as it claims",
    ),
    "publish": (lambda value: value != "never", "says when packets leave"),
}
# Limits of what peers may cost: lower ones are anybody's to give.
LIMITS = {
    "mesh": ("max_message_bytes", "max_pending", "requests_per_s", "bytes_per_hour", "relay_most"),
    "dht": ("max_records", "replication", "record_replicas", "lookup_rpcs", "lookup_s"),
}
OPTIONS = {("distill", "mosaic"): "sends averaged inputs"}


@cache
def _limits() -> dict[str, float]:
    """Return the default of each limit, by its key; no limit is infinity."""
    found = {}
    for group, option in (("mesh", Tcp), ("dht", Rings)):
        defaults = {each.name: each.default for each in fields(option)}
        for name in LIMITS[group]:
            value: Any = defaults[name]
            found[f"{group}.{name}"] = float("inf") if value is None else float(value)
    return found


@cache
def _shipped() -> frozenset[bytes]:
    brought = [*shipped("recipes").glob("*.yaml"), *installed_recipes().values()]
    return frozenset(path.read_bytes() for path in brought)


def is_shipped(text: str) -> bool:
    """Return whether a recipe is one that this package, or an installed one, brings."""
    return text.encode() in _shipped()


def lowered(key: str, value: Any) -> str | None:
    """Return what a recipe's value would lower; None where it lowers nothing.

    key: dotted, of a setting, or of a group (`distill=mosaic`).
    """
    group = key.removesuffix(".name")
    if isinstance(value, str) and (group, value) in OPTIONS:
        return OPTIONS[group, value]
    if key in RULES:
        lowers, said = RULES[key]
        return said if lowers(value) else None
    if key.startswith("trust.") and key != "trust.name":
        return "changes whose packets are taken"
    most = _limits().get(key)
    if most is None:
        return None
    more = value is None or not isinstance(value, (int, float)) or value > most
    return "lets peers cost more than by default" if more and most != float("inf") else None
