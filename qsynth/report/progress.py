"""What nodes have told so far, event by event.  Standard library only: `watch` starts at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

MOST_POINTS = 2000  # of a node's curve; beyond, every second one goes


@dataclass
class NodeProgress:
    """Hold how far a node is.

    points: periods and validation accuracies (None: not measured).  gains: by author's id, in nats
    a sample, of the newest mixture.  fingerprint: of the newest own packet, hex.  rejected: packets
    by reason.
    """

    period: int = 0
    accuracy: float | None = None
    points: list[tuple[int, float]] = field(default_factory=list)
    admitted: int = 0
    learns_from: tuple[str, ...] = ()
    gains: dict[str, float] = field(default_factory=dict)
    fingerprint: str = ""
    rejected: Counter[str] = field(default_factory=Counter)
    sent_bytes: int = 0
    done: bool = False
    _stride: int = 1

    def take(self, event: dict[str, Any]) -> None:
        """Take an event of this node."""
        kind = event["event"]
        if kind == "started":
            self.done = False  # again, perhaps
        elif kind == "period":
            self.period, self.accuracy = event["period"], event.get("validation_accuracy")
            self._point()
        elif kind == "admit":
            self.admitted += 1
        elif kind == "synthesis":
            self.learns_from = tuple(event.get("used", ()))
            self.gains = event.get("gains", {})
        elif kind == "publish":
            self.fingerprint = event.get("fingerprint", "")
        elif kind == "reject":
            self.rejected[event.get("reason", "unknown")] += 1
        elif kind == "sent":
            self.sent_bytes += event.get("bytes", 0)
        elif kind == "finished":
            self.done = True

    def _point(self) -> None:
        if self.accuracy is None or self.period % self._stride:
            return
        while self.points and self.points[-1][0] >= self.period:
            self.points.pop()  # what a killed life had done is done again
        self.points.append((self.period, self.accuracy))
        if len(self.points) > MOST_POINTS:
            self._stride *= 2
            self.points = [p for p in self.points if p[0] % self._stride == 0]


class Progress:
    """Hold how far all nodes are: `nodes` by name, `names` by id, requests of lookups."""

    def __init__(self, events: Iterable[dict[str, Any]] = ()) -> None:
        self.nodes: dict[str, NodeProgress] = {}
        self.names: dict[str, str] = {}
        self.lookups: Counter[int] = Counter()  # by the requests that they took
        for event in events:
            self.take(event["node"], event)

    def take(self, name: str, event: dict[str, Any]) -> None:
        """Take an event of the node of this name."""
        state = self.nodes.setdefault(name, NodeProgress())
        if event["event"] == "started":
            self.names[event["id"]] = name
        elif event["event"] == "lookup":
            self.lookups[event["rpcs"]] += 1
        state.take(event)

    def line(self) -> dict[str, Any]:
        """Return how far all are, in one line's worth of values."""
        states = self.nodes.values()
        known = [s.accuracy for s in states if s.accuracy is not None]
        return {
            "nodes": len(self.nodes),
            "done": sum(s.done for s in states),
            "period_least": min((s.period for s in states), default=0),
            "period_most": max((s.period for s in states), default=0),
            "admitted": sum(s.admitted for s in states),
            "packet_bytes": sum(s.sent_bytes for s in states),
            "validation_mean": sum(known) / len(known) if known else None,
        }
