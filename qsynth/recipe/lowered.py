"""What only the owner of the data may lower: their privacy, and their node's defence.

A recipe that somebody sends may raise both.  What is below the defaults is refused until the user
says it on the command line, or confirms its key by name.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from qsynth.dht.config import Rings
from qsynth.distill.analytic import Analytic
from qsynth.distill.mosaic import Mosaic
from qsynth.mesh.tcp import Tcp
from qsynth.recipe.catalog import shipped
from qsynth.recipe.entry_points import installed_recipes
from qsynth.synthesis.analytic_head import AnalyticHead

SHIPPED = "a shipped recipe"  # among what is trusted: has a space, so it is no name of a class
FEW = "of classes of few samples: at 1, of single records"
# By key: the least that anybody may give, and what less of it does.
LEAST: dict[str, tuple[float, str]] = {
    "distill.min_support": (Analytic.min_support, f"sends statistics {FEW}"),
    "similarity.query_support": (Analytic.min_support, f"tells those who are asked {FEW}"),
    "distill.mixed": (Mosaic.mixed, "sends averages of few inputs: at 1, records"),
}
COSTS = "lets peers cost more than by default"
# The most, and what more does.
MOST: dict[str, tuple[float, str]] = {
    "distill.input_rank": (0, "sends statistics of the raw inputs"),
    "synthesis.support_cap": (
        AnalyticHead.support_cap or 0.0,
        "lets one packet count for as many samples as it claims",
    ),
    "synthesis.gate_s": (AnalyticHead.gate_s or 0.0, "lets packets cost any time"),
} | {
    f"{group}.{name}": (getattr(option, name), COSTS)
    for group, option, names in (
        (
            "mesh",
            Tcp,
            (
                "max_message_bytes",
                "max_pending",
                "requests_per_s",
                "relay_most",
                "connections",
                "connections_of_host",
            ),
        ),
        (
            "dht",
            Rings,
            ("max_records", "replication", "record_replicas", "lookup_rpcs", "lookup_s"),
        ),
    )
    for name in names
}
# What anybody may give, of a few; and what any other value does.
HARMLESS: dict[str, tuple[tuple[str, ...], str]] = {
    "synthesis.gate": (("greedy",), "lets every packet count"),
    "publish": (("ask", "never"), "says that packets leave at once"),
}
OPTIONS = {"distill=mosaic": "sends averaged inputs"}
# Where nothing is given there is no cap; elsewhere it is the default, which lowers nothing.
NONE_LOWERS = frozenset({"synthesis.support_cap", "synthesis.gate_s"})


@cache
def _shipped() -> frozenset[bytes]:
    brought = [*shipped("recipes").glob("*.yaml"), *installed_recipes().values()]
    return frozenset(path.read_bytes() for path in brought)


def is_shipped(text: str) -> bool:
    """Return whether a recipe is one that this package, or an installed one, brings."""
    return text.encode() in _shipped()


def lowered(key: str, value: Any) -> tuple[str, str] | None:
    """Return what confirms a recipe's value, and what it lowers; None where it lowers nothing.

    key: dotted, of a setting, or of a group (`distill`, `mosaic`).
    """
    option = f"{key.removesuffix('.name')}={value}"
    if option in OPTIONS:
        return option, OPTIONS[option]
    if key.startswith("trust.") and key != "trust.name":
        return key, "changes whose packets are taken"
    if key in HARMLESS:
        harmless, said = HARMLESS[key]
        return None if value in harmless else (key, said)
    if key not in LEAST | MOST or (value is None and key not in NONE_LOWERS):
        return None
    bound, said = (LEAST | MOST)[key]
    number = isinstance(value, (int, float))
    # What is no number is refused too, and so is NaN, which no bound holds.
    fine = number and (value >= bound if key in LEAST else value <= bound)
    return None if fine else (key, said)
