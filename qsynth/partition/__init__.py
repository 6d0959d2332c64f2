"""How data is dealt to nodes: pure functions of a seed."""

from qsynth.partition.deal import Share, check_sites, deal, newcomers
from qsynth.partition.further import deal_further, held_by_nobody

__all__ = ["Share", "check_sites", "deal", "deal_further", "held_by_nobody", "newcomers"]
