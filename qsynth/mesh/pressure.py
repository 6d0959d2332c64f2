"""What keeps a node from being flooded, and from flooding: token buckets and a budget of bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from qsynth.mesh.rpc import Send

BURST_S = 2.0  # seconds of messages that may come at once
MOST_PEERS = 4096  # remembered; of those heard of last
HOUR_S = 3600.0
RESERVE = 8192  # bytes
# Seconds of a peer's messages that a request counts for: what is checked, and written, for long.
COST_S = {
    "keep": 0.2,
    "hello": 0.02,
    "gossip": 0.005,
    "relay": 0.01,
    "withdraw": 0.005,
    "store": 0.01,
    "cohort_begin": 0.1,
    "cohort_add": 0.02,
    "cohort_open": 0.02,
    "cohort_show": 0.02,
    "cohort_end": 0.02,
}


class Buckets:
    """A token bucket for every peer.

    rate: messages a second.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._left: OrderedDict[str | bytes, tuple[float, float]] = OrderedDict()

    def take(self, now: float, peer: str | bytes, cost: float = 1.0) -> bool:
        """Return whether one more message of a peer is within its rate.

        cost: how many plain messages it counts for; at most what may come at once.
        """
        most = self.rate * BURST_S
        left, since = self._left.pop(peer, (most, now))
        left = min(most, left + (now - since) * self.rate)
        cost = min(cost, most)
        within = left >= cost
        self._left[peer] = (left - cost if within else left, now)
        if len(self._left) > MOST_PEERS:
            self._left.popitem(last=False)
        return within

    def take_more(self, now: float, peer: str | bytes, kind: str) -> bool:
        """Return whether what a request costs beyond a plain message is within its peer's rate."""
        return kind not in COST_S or self.take(now, peer, max(self.rate * COST_S[kind], 1.0) - 1.0)


class Budget:
    """Bytes that a node may send: so many an hour, saved up for at most an hour.

    per_hour: None for any number.
    """

    def __init__(self, per_hour: int | None) -> None:
        self.per_hour = per_hour
        self.left = float(per_hour or 0)
        self._since: float | None = None

    def go_on(self, left: int, passed_s: float) -> None:
        """Go on from what was left some seconds ago, in an earlier life."""
        if self.per_hour is not None:
            grown = max(passed_s, 0.0) * self.per_hour / HOUR_S
            self.left = min(float(self.per_hour), max(left, 0) + grown)

    def spent(self, now: float) -> bool:
        """Return whether too little is left to ask anyone: what is left is for answers."""
        if self.per_hour is None:
            return False
        self.within(now, ())
        return self.left < RESERVE

    def within(self, now: float, sends: Sequence[Send]) -> list[Send]:
        """Return the messages that may be sent, in their order; those too large are left out."""
        if self.per_hour is None:
            return list(sends)
        since = now if self._since is None else self._since
        self._since = now
        self.left = min(self.per_hour, self.left + (now - since) * self.per_hour / HOUR_S)
        kept = []
        for send in sends:
            if len(send.payload) <= self.left:
                self.left -= len(send.payload)
                kept.append(send)
        return kept
