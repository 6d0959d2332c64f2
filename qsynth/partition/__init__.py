"""How data is dealt to nodes: pure functions of a seed."""

from qsynth.partition.deal import Share, deal, held_by_nobody, newcomers

__all__ = ["Share", "deal", "held_by_nobody", "newcomers"]
