"""What keeps single packets from counting for more than they should.

Copies count once, and claims of many samples are bounded by one's own.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from qsynth.packet import Statistics, scaled
from qsynth.types import NodeId

# Of the squared distance of class sums that two independent samples of the same data would have:
# below it two packets are copies.  8-bit rounding is far below.
COPY = 0.1
LEAST_COPIED = 16  # features by which a copied scatter is told from one that is alike by chance


def distinct(packets: Mapping[NodeId, Statistics], own: Statistics) -> dict[NodeId, Statistics]:
    """Return the packets without copies of one's own evidence or of an earlier author's.

    Nor with one's own scatter under other means: that of all own samples, which would speak for
    the packet wherever some of them judge it.
    """
    kept: dict[NodeId, Statistics] = {}
    for author in sorted(packets):
        packet = packets[author]
        if _same(packet, own, own, part=True) or _of_own_scatter(packet, own):
            continue
        if not any(_same(packet, other, own) for other in kept.values()):
            kept[author] = packet
    return kept


def _same(one: Statistics, other: Statistics, own: Statistics, part: bool = False) -> bool:
    """Return whether two packets are copies.

    own: whose scatter says how far apart independent samples would be.  part: whether the one may
    leave out classes, as a packet does of which there are too few samples.
    """
    told = one.counts > 0
    if not part and not np.array_equal(told, other.counts > 0):
        return False
    if not told.any() or not np.array_equal(np.rint(one.counts[told]), np.rint(other.counts[told])):
        return False
    d = min(one.dimensions, other.dimensions)
    apart = float(np.square(one.sums[told, :d] - other.sums[told, :d]).sum())
    spread = float(np.trace(own.scatter[:d, :d])) / max(float(own.counts.sum()), 1.0)
    if apart > COPY * 2.0 * float(one.counts.sum()) * spread:
        return False
    # Another scatter is another packet; means alone carry none.
    one_total, other_total = (float(np.trace(s.scatter[:d, :d])) for s in (one, other))
    return part or abs(one_total - other_total) <= COPY * max(one_total, other_total)


def _of_own_scatter(packet: Statistics, own: Statistics) -> bool:
    """Return whether a packet's scatter is one's own, at whatever size.

    The log ratio of two independent estimates of a variance has a variance of 2/n + 2/m (delta
    method; Gaussian samples): what spreads far less over the features was copied.
    """
    d = min(packet.dimensions, own.dimensions)
    theirs, mine = np.diag(packet.scatter)[:d], np.diag(own.scatter)[:d]
    if d < LEAST_COPIED or not (theirs > 0).all() or not (mine > 0).all():
        return False
    apart = float(np.var(np.log(theirs / mine)))
    samples = (max(float(each.counts.sum()), 1.0) for each in (packet, own))
    return apart <= COPY * sum(2.0 / n for n in samples)


def capped(packet: Statistics, most: float) -> Statistics:
    """Return a packet that counts as at most so many samples."""
    total = float(packet.counts.sum())
    if total <= most:
        return packet
    return scaled(packet, most / total)


def all_capped(
    packets: Mapping[NodeId, Statistics],
    own: Statistics,
    cap: float | None,
    authors: Mapping[NodeId, int],
) -> dict[NodeId, Statistics]:
    """Return packets, each of which counts as at most `cap` times one's own samples.

    cap: None: as they claim.  authors: how many are behind each packet, where it is a sum.
    """
    if cap is None:
        return dict(packets)
    most = cap * max(float(own.counts.sum()), 1.0)
    return {a: capped(packet, most * authors.get(a, 1)) for a, packet in packets.items()}
