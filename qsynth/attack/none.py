"""No attack."""

from __future__ import annotations

from dataclasses import dataclass

from qsynth.attack.base import Attack
from qsynth.schema import option, setting


@option("attack")
@dataclass(frozen=True)
class NoAttack(Attack):
    """Every node is honest."""

    share: float = setting(0.0, "of the nodes that attack", low=0.0, high=0.0)
    name: str = setting("none", "the option's name", choices=("none",))
