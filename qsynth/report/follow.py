"""Read what the nodes of a run have written so far, again and again.  Standard library only."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from qsynth.report.progress import NodeProgress, Progress

EVENTS = "events.jsonl"
CARD = "card"  # a file that the home of a node on duty has
BY_PARTS = 1 << 22  # bytes of a file that are read at once


class Followed(Progress):
    """Follow the events of a run's nodes, or of one node on duty, from where they were read last.

    folder: of the run, or the home of the node.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self._offsets: dict[Path, int] = {}

    def read(self, names: Iterable[str] = ()) -> None:
        """Take what is new.  names: of nodes that there will be, to show them from the start."""
        for name in names:
            self.nodes.setdefault(name, NodeProgress())
        for name, path in self._files():
            self.nodes.setdefault(name, NodeProgress())
            for event in self._news(path):
                self.take(name, event)

    def _files(self) -> list[tuple[str, Path]]:
        places = self.folder / "nodes"
        found = sorted(p for p in places.iterdir() if p.is_dir()) if places.is_dir() else []
        return [(path.name, path / EVENTS) for path in found]

    def _news(self, path: Path) -> Iterable[dict[str, Any]]:
        while True:
            try:
                with path.open("rb") as file:
                    begin = self._offsets.get(path, 0)
                    if file.seek(0, 2) < begin:
                        begin = 0  # a new file stands in the place of one that had grown too large
                    file.seek(begin)
                    data = file.read(BY_PARTS)
            except OSError:
                return
            whole = data[: data.rfind(b"\n") + 1]
            if not whole:
                return
            self._offsets[path] = begin + len(whole)
            for line in whole.splitlines():
                try:
                    event = json.loads(line)
                except ValueError:
                    continue  # torn when its writer was killed
                if isinstance(event, dict) and "event" in event:
                    yield event
