"""The options of the group `trust`."""

from __future__ import annotations

from dataclasses import dataclass

from qsynth.schema import setting


@dataclass(frozen=True)
class Checks:
    """Check every packet: signature, task, age, support, fingerprint."""

    name: str = setting("checks", "the option's name", choices=("checks",))
    max_clock_skew_s: float = setting(300.0, "a packet may come from the future", low=0.0)
    max_support: int = setting(1_000_000, "samples a packet may claim", low=1)
    allow: tuple[str, ...] = setting([], "ids (hex) of the only nodes to deal with; empty: all")
    deny: tuple[str, ...] = setting([], "ids (hex) of nodes not to deal with")
    max_authors: int = setting(64, "authors whose packets are kept", low=1)


OPTIONS: dict[str, type] = {"checks": Checks}
