"""Read what the nodes of a run have written so far, again and again.  Standard library only."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class NodeState:
    """Hold how far a node is."""

    period: int = 0
    accuracy: float | None = None
    admitted: int = 0
    learns_from: tuple[str, ...] = ()
    sent_bytes: int = 0
    done: bool = False


class Followed:
    """Follow the events of a run's nodes, from where they were read last.

    folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.nodes: dict[str, NodeState] = {}
        self.names: dict[str, str] = {}  # of nodes by id
        self._offsets: dict[str, int] = {}

    def read(self, names: Iterable[str] = ()) -> None:
        """Take what is new.  names: of nodes that there will be, to show them from the start."""
        places = self.folder / "nodes"
        found = sorted(path.name for path in places.iterdir()) if places.is_dir() else []
        for name in [*names, *found]:
            state = self.nodes.setdefault(name, NodeState())
            for event in self._news(name):
                self._take(name, state, event)

    def _news(self, name: str) -> list[dict[str, Any]]:
        try:
            with (self.folder / "nodes" / name / "events.jsonl").open("rb") as file:
                file.seek(self._offsets.get(name, 0))
                data = file.read()
        except OSError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._offsets[name] = self._offsets.get(name, 0) + len(whole)
        events = []
        for line in whole.splitlines():
            try:
                events.append(json.loads(line))
            except ValueError:
                continue  # torn when its writer was killed
        return events

    def _take(self, name: str, state: NodeState, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "started":
            self.names[event["id"]] = name
        elif kind == "period":
            state.period, state.accuracy = event["period"], event["validation_accuracy"]
        elif kind == "admit":
            state.admitted += 1
        elif kind == "synthesis":
            state.learns_from = tuple(event["used"])
        elif kind == "sent":
            state.sent_bytes += event["bytes"]
        elif kind == "finished":
            state.done = True

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
