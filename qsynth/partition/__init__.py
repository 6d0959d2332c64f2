"""How data is dealt to nodes: pure functions of a seed."""

from qsynth.partition.deal import Share, deal, newcomers

__all__ = ["Share", "deal", "newcomers"]
