"""No attack."""

from __future__ import annotations

from dataclasses import dataclass

from qsynth.schema import option, setting


@option("attack")
@dataclass(frozen=True)
class NoAttack:
    """Every node is honest."""

    name: str = setting("none", "the option's name", choices=("none",))
    share: float = setting(0.0, "of the nodes that attack", low=0.0, high=0.0)
