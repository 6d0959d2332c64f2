"""How data is dealt to nodes: pure functions of a seed."""

from qsynth.partition.assign import Share, assign_samples, check_sites, newcomers
from qsynth.partition.unlabelled import assign_unlabelled, held_by_nobody

__all__ = [
    "Share",
    "check_sites",
    "assign_samples",
    "assign_unlabelled",
    "held_by_nobody",
    "newcomers",
]
