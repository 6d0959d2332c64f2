"""How wide a joiner looks: for its own id, ring by ring, and among all."""

from __future__ import annotations

from qsynth.dht.config import Rings
from qsynth.kernels import beam

EXACT_WIDTH = 3  # of the search for one id: two that fail do not end it
EXACT_AT_ONCE = 2  # a third request would mostly be one too many
RING_WIDTH = 3
JOIN_PATIENCE = 6


def exact_limits(config: Rings, k: int = 1) -> beam.Limits:
    """Return the limits of a search for an id, or for the k nearest to one."""
    width = max(EXACT_WIDTH, k)
    return beam.limits(k, width, width, min(config.alpha, EXACT_AT_ONCE), config.lookup_rpcs, 0)


def join_limits(config: Rings) -> tuple[beam.Limits, beam.Limits, beam.Limits]:
    """Return the limits of a joiner's searches: for its id, in a ring, and among all nodes."""
    ring = beam.limits(2, RING_WIDTH, RING_WIDTH, config.alpha, config.lookup_rpcs, 0)
    near = beam.limits(
        config.ef, config.ef, config.ef_max // 2, config.alpha, config.lookup_rpcs, JOIN_PATIENCE
    )
    return exact_limits(config), ring, near
