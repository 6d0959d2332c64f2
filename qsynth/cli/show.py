"""What a run shows: a live table on a terminal, plain lines elsewhere, a table at the end."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import IO, Any

from rich.console import Console
from rich.live import Live
from rich.progress import Progress as Bars
from rich.progress import TaskID
from rich.table import Table

from qsynth.errors import printable
from qsynth.report.follow import Followed

LINE_S = 5.0  # between two plain lines
FRAME_ROWS = 8  # of a terminal, around the nodes of a table
SHOWN_AUTHORS = 3


class Display:
    """Show progress on standard error, read from what the nodes have written."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.console = Console(stderr=True)
        self._live: Live | None = None
        self._bar: Bars | None = None
        self._arms: dict[str, TaskID] = {}
        self._next_line = 0.0
        self._followed: Followed | None = None
        self.folder: Path | None = None  # of the run, once it has one

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def announce(self, plan: Any) -> None:
        """Say what is about to happen."""
        self.folder = plan.folder
        if self.quiet:
            return
        architectures = len({node.architecture for node in plan.nodes})
        print(
            f"qsynth: {plan.name}: {counted(len(plan.nodes), 'node')} of "
            f"{counted(architectures, 'architecture')}, "
            f"{plan.trainer.max_steps} steps each, {plan.placement.name} over {plan.mesh.name}; "
            f"{plan.folder}",
            file=sys.stderr,
        )
        for note in plan.notes:
            print(f"qsynth: {printable(note)}", file=sys.stderr)

    def progress(self, plan: Any, seconds: float) -> None:
        """Show how far the nodes are."""
        if self.quiet:
            return
        if self._followed is None:
            self._followed = Followed(plan.folder)
        self._followed.read(node.name for node in plan.nodes)
        periods = plan.trainer.periods
        self.show(self._followed, plan.name, periods, seconds)

    def measured(self, arm: str, done: int, of: int) -> None:
        """Show how many nodes of a baseline are done."""
        if self.quiet:
            return
        if self.console.is_terminal:
            if self._bar is None:
                self._stop()
                # No thread draws it: workers are forked meanwhile.
                self._bar = Bars(console=self.console, transient=True, auto_refresh=False)
                self._bar.start()
            if arm not in self._arms:
                self._arms[arm] = self._bar.add_task(f"without a mesh: {arm}", total=of)
            self._bar.update(self._arms[arm], completed=done, refresh=True)
        elif done < of and time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + LINE_S
            print(
                f"qsynth: without a mesh: {arm}: {done} of {of} nodes", file=sys.stderr, flush=True
            )

    def _stop(self) -> None:
        for drawn in (self._live, self._bar):
            if drawn is not None:
                drawn.stop()
        self._live, self._bar = None, None
        self._arms.clear()

    def show(self, followed: Followed, name: str, periods: int | None, seconds: float) -> None:
        """Show how far the nodes of a run are: a table, or a line every few seconds."""
        if self.console.is_terminal:
            if self._live is None:
                # Drawn only when asked: a slow terminal is not flooded, and a new size is used.
                self._live = Live(console=self.console, transient=True, auto_refresh=False)
                self._live.start()
            title = f"{name}, {seconds:.0f} s"
            self._live.update(table(followed, title, self.console.height), refresh=True)
        elif time.monotonic() >= self._next_line:
            # By this terminal's clock: a run that is watched late has its own.
            self._next_line = time.monotonic() + LINE_S
            print(plain(followed, periods, seconds), file=sys.stderr, flush=True)


def counted(count: int, what: str) -> str:
    """Return a number of things in words: 1 node, 2 nodes."""
    return f"{count} {what}{'s' * (count != 1)}"


def plain(followed: Followed, periods: int | None, seconds: float) -> str:
    """Return one line on how far all nodes are."""
    told = followed.line()
    mean = told["validation_mean"]
    shown = "" if mean is None else f", validation {100 * mean:.1f}"
    of = "" if periods is None else f" of {periods}"
    return (
        f"qsynth: {seconds:5.0f} s: period {told['period_least']}-{told['period_most']}{of}, "
        f"{told['done']} of {told['nodes']} nodes done, {told['admitted']} packets "
        f"admitted, {told['packet_bytes'] / 1024:.0f} KiB of packets sent{shown}"
    )


def table(followed: Followed, title: str, height: int) -> Table:
    """Return a table of as many nodes as a terminal of this height has room for."""
    made = Table(title=title)
    for column in ("node", "period", "validation", "packets", "KiB of packets", "learns from"):
        left = column in ("node", "learns from")
        made.add_column(column, justify="left" if left else "right", overflow="ellipsis")
    names = list(followed.nodes)
    shown = names[: max(4, height - FRAME_ROWS)]
    for name in shown:
        state = followed.nodes[name]
        accuracy = "-" if state.accuracy is None else f"{100 * state.accuracy:.1f}"
        authors = [followed.names.get(a, a[:8]) for a in state.learns_from]
        more = len(authors) - SHOWN_AUTHORS
        told = ", ".join(authors[:SHOWN_AUTHORS]) + (f" and {more} more" if more > 0 else "")
        made.add_row(
            name,
            "done" if state.done else str(state.period),
            accuracy,
            str(state.admitted),
            f"{state.sent_bytes / 1024:.0f}",
            told or "nobody yet",
        )
    all_told = followed.line()
    rest = f"and {len(names) - len(shown)} more; " if len(shown) < len(names) else ""
    made.caption = (
        f"{rest}{all_told['done']} of {all_told['nodes']} nodes done, {all_told['admitted']} "
        f"packets admitted, {all_told['packet_bytes'] / 1024:.0f} KiB of packets sent"
    )
    return made


def print_summary(summary: dict[str, Any], folder: Path, file: IO[str] | None = None) -> None:
    """Print the table, one line on routing and bytes, and the folder that holds everything."""
    from qsynth.evaluation.verdict import gains_line, lost_line, verdict
    from qsynth.report.tables import architecture_table, node_rows, privacy_line, routing_line

    out = file or sys.stdout
    print(verdict(summary), file=out)
    console = Console(file=out, width=None if out.isatty() else 100)
    kinds = {"values": "variance explained", "labels": "balanced accuracy"}
    figure = kinds.get(summary.get("kind", "classes"), "own accuracy")
    made = Table(title=f"{figure}, percent: predictor (alone and in the mesh), then network")
    heads, rows = architecture_table(summary)
    for column in heads:
        first = column == "architecture"
        made.add_column(column, justify="left" if first else "right", no_wrap=first)
    for row in rows:
        made.add_row(*row)
    console.print(made)
    if each := node_rows(summary):
        console.print(_nodes_table(summary, each))
    for line in (
        gains_line(summary),
        lost_line(summary),
        routing_line(summary),
        privacy_line(summary),
    ):
        if line:
            print(line, file=out)
    for failure in summary["failures"]:
        print(f"failed: {failure['node']}: {failure['reason']}", file=out)
    print(f"everything is in {folder}; its page is {folder / 'report.html'}", file=out)


def _nodes_table(summary: dict[str, Any], rows: list[list[str]]) -> Table:
    """Return a table of each node's gain, and of what it rests on."""
    best = summary["gain"]["over_best"]["arm"]
    made = Table(title=f"each node, over {best}; an interval holds 95 %")
    for column in ("node", best, "mesh", "gain", "interval", "test samples"):
        made.add_column(column, justify="left" if column == "node" else "right")
    for row in rows:
        made.add_row(*row)
    return made
