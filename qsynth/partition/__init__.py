"""How data is dealt to nodes: pure functions of a seed.  Each partition is one module."""

from qsynth.partition.assign import assign_samples
from qsynth.partition.base import Partition
from qsynth.partition.natural import check_sites
from qsynth.partition.share import Share
from qsynth.partition.unlabelled import assign_unlabelled, held_by_nobody

__all__ = [
    "Partition",
    "Share",
    "assign_samples",
    "assign_unlabelled",
    "check_sites",
    "held_by_nobody",
]
