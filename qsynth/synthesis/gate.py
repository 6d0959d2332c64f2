"""What rules of synthesis share: the gate, and the mean over shrinkages."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from qsynth.packet import Statistics
from qsynth.types import Floats, NodeId

# Nats a sample that a packet may cost: routing has found it alike, and the likelihood of sixty
# samples is no surer than this.  Measured on seeds 5-7: +.002 with like peers, -.001 with others.
GATE_MARGIN = 0.05
RANKING = 0.5  # share of the time after which packets are no longer ranked, but taken or left
GATE_GAIN = 0.005  # nats a sample that others have to bring
ALIKE = 0.7  # share of self-similarity from which routing is trusted that much
LEAST_LOG_SHARE = -50.0  # of a shrinkage in the mean

Reached = Callable[[Mapping[NodeId, Statistics]], float]


class Deadline:
    """How long the gate goes on asking, whatever packets have come.

    seconds: of this thread's CPU, so that a busy machine changes nothing; None: any number.
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds, self._began = seconds, time.thread_time()

    def over(self, share: float = 1.0) -> bool:
        """Return whether a share of the time has passed."""
        if self._seconds is None:
            return False
        return time.thread_time() - self._began >= share * self._seconds


def greedy(
    reached: Reached,
    ranked: Sequence[tuple[float, NodeId, Statistics]],
    alike: Mapping[NodeId, float],
    most: int,
    deadline: Deadline,
) -> tuple[dict[NodeId, Statistics], dict[NodeId, float]]:
    """Return the offers taken: best first, each while the likelihood does not fall too far.

    And what each author asked brought, or would have, on top of those before it.

    reached: gives the likelihood of own samples with some packets, in nats a sample.  ranked:
    packet loss, author and what is taken of the packet.  alike: of each author, as a share of how
    alike a node of the same data would look.  most: authors at most.  deadline: after it the rest
    is not asked.
    """
    best = reached({})
    chosen: dict[NodeId, Statistics] = {}
    gains: dict[NodeId, float] = {}
    for _, author, offer in ranked:
        if len(chosen) == most or deadline.over():
            break
        likelihood = reached(chosen | {author: offer})
        gains[author] = likelihood - best
        forgiven = GATE_MARGIN if alike.get(author, 1.0) >= ALIKE else -GATE_GAIN
        if likelihood > best - forgiven:
            best = max(best, likelihood)
            chosen[author] = offer
    return chosen, gains


def first_asked(packets: Iterable[NodeId], alike: Mapping[NodeId, float]) -> list[NodeId]:
    """Return authors in the order in which the gate looks at them: the most alike first."""
    return sorted(packets, key=lambda author: (-alike.get(author, 0.0), author))


def each_alone(
    reached: Reached,
    packets: Mapping[NodeId, Statistics],
    alike: Mapping[NodeId, float],
    deadline: Deadline,
) -> dict[NodeId, float]:
    """Return what each packet alone brings to own samples, in nats a sample; the most alike first.

    Packets that there is no time for are left out.  reached: as of `greedy`.
    """
    none, gains = reached({}), dict[NodeId, float]()
    for author in first_asked(packets, alike):
        if deadline.over(RANKING):
            break
        gains[author] = reached({author: packets[author]}) - none
    return gains


def posterior_shares(likelihoods: Sequence[float], samples: float) -> Floats:
    """Return what each of some settings counts, adding up to 1 (Hoeting 1999, section 2).

    likelihoods: of own samples, in nats a sample.  samples: how many weigh alike.
    """
    best = max(likelihoods)
    total = np.array([(likelihood - best) * samples for likelihood in likelihoods])
    shares: Floats = np.exp(np.maximum(total, LEAST_LOG_SHARE))
    shares /= shares.sum()
    return shares
