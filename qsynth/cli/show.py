"""What a run shows: a live table on a terminal, plain lines elsewhere, a table at the end."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import IO, Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

LINE_S = 5.0  # between two plain lines


class Display:
    """Show progress on standard error, read from what the nodes have written."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.console = Console(stderr=True)
        self._live: Live | None = None
        self._next_line = 0.0
        self._offsets: dict[str, int] = {}
        self._state: dict[str, dict[str, Any]] = {}
        self.folder: Path | None = None  # of the run, once it has one

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def announce(self, plan: Any) -> None:
        """Say what is about to happen."""
        self.folder = plan.folder
        if self.quiet:
            return
        architectures = len({node.architecture for node in plan.nodes})
        print(
            f"qsynth: {plan.name}: {len(plan.nodes)} nodes of {architectures} architectures, "
            f"{plan.trainer.max_steps} steps each, {plan.placement.name} over {plan.mesh.name}; "
            f"{plan.folder}",
            file=sys.stderr,
        )
        for note in plan.notes:
            print(f"qsynth: {note}", file=sys.stderr)

    def progress(self, plan: Any, seconds: float) -> None:
        """Show how far the nodes are."""
        if self.quiet:
            return
        self._read(plan)
        if self.console.is_terminal:
            if self._live is None:
                self._live = Live(console=self.console, transient=True, auto_refresh=False)
                self._live.start()
            self._live.update(self._table(plan, seconds), refresh=True)
        elif seconds >= self._next_line:
            self._next_line = seconds + LINE_S
            print(self._line(plan, seconds), file=sys.stderr, flush=True)

    def _read(self, plan: Any) -> None:
        for node in plan.nodes:
            state = self._state.setdefault(
                node.name, {"period": 0, "accuracy": None, "admitted": 0, "used": 0, "done": False}
            )
            try:
                with (plan.node_folder(node) / "events.jsonl").open("rb") as file:
                    file.seek(self._offsets.get(node.name, 0))
                    data = file.read()
            except OSError:
                continue
            whole = data[: data.rfind(b"\n") + 1]
            self._offsets[node.name] = self._offsets.get(node.name, 0) + len(whole)
            for line in whole.splitlines():
                _take(state, json.loads(line))

    def _line(self, plan: Any, seconds: float) -> str:
        states = self._state.values()
        periods = -(-plan.trainer.max_steps // plan.trainer.period_steps)
        known = [s["accuracy"] for s in states if s["accuracy"] is not None]
        mean = f", validation {100 * sum(known) / len(known):.1f}" if known else ""
        return (
            f"qsynth: {seconds:5.0f} s: period {min(s['period'] for s in states)}-"
            f"{max(s['period'] for s in states)} of {periods}, "
            f"{sum(s['done'] for s in states)} of {len(plan.nodes)} nodes done, "
            f"{sum(s['admitted'] for s in states)} packets admitted{mean}"
        )

    def _table(self, plan: Any, seconds: float) -> Table:
        table = Table(title=f"{plan.name}, {seconds:.0f} s")
        for column in ("node", "architecture", "period", "validation", "packets", "learns from"):
            table.add_column(
                column, justify="left" if column in ("node", "architecture") else "right"
            )
        shown = plan.nodes[: max(4, self.console.height - 8)]
        for node in shown:
            state = self._state[node.name]
            accuracy = "-" if state["accuracy"] is None else f"{100 * state['accuracy']:.1f}"
            table.add_row(
                node.name, node.architecture, "done" if state["done"] else str(state["period"]),
                accuracy, str(state["admitted"]), str(state["used"]),
            )  # fmt: skip
        if len(shown) < len(plan.nodes):
            table.caption = f"and {len(plan.nodes) - len(shown)} more"
        return table


def _take(state: dict[str, Any], event: dict[str, Any]) -> None:
    kind = event["event"]
    if kind == "period":
        state["period"], state["accuracy"] = event["period"], event["validation_accuracy"]
    elif kind == "admit":
        state["admitted"] += 1
    elif kind == "synthesis":
        state["used"] = len(event["used"])
    elif kind == "finished":
        state["done"] = True


def print_summary(summary: dict[str, Any], folder: Path, file: IO[str] | None = None) -> None:
    """Print the table, one line on routing and bytes, and the folder that holds everything."""
    from qsynth.run.report import COLUMNS, routing_line, table_rows

    out = file or sys.stdout
    console = Console(file=out, width=None if out.isatty() else 100)
    table = Table(title="own accuracy, percent: predictor (local, alone, mesh), then network")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == "architecture" else "right")
    for row in table_rows(summary):
        table.add_row(*row)
    console.print(table)
    print(routing_line(summary), file=out)
    for failure in summary["failures"]:
        print(f"failed: {failure['node']}: {failure['reason']}", file=out)
    print(f"everything is in {folder}", file=out)
