"""`report.html`: one self-contained page of a run, that needs no network."""

from __future__ import annotations

import html
import importlib.resources
import json
import math
import os
import re
from pathlib import Path
from typing import Any

from qsynth.evaluation.curve_file import read_curves
from qsynth.report.content import page_content
from qsynth.report.progress import Progress
from qsynth.report.tables import csv_tables

PAGE = importlib.resources.files("qsynth.report") / "page"
# Charts are drawn by Observable Plot, which stands on D3; both stand in the page as they are.
SCRIPTS = ("vendor/d3.min.js", "vendor/plot.min.js", "page.js")


def write_report(
    folder: Path,
    summary: dict[str, Any],
    events: list[dict[str, Any]],
    fedavg_bytes: int | None,
    recipe: str,
) -> None:
    """Write the page, and its figures as CSV, into the run folder.

    events: of all nodes.  fedavg_bytes: that a node would send of its weights; None where models
    differ.  recipe: the resolved config as text.
    """
    curves = read_curves(folder)[0]
    content = page_content(folder.name, summary, Progress(events), fedavg_bytes, curves, recipe)
    part = folder / "report.html.part"  # who watches sees a whole page, or none
    part.write_text(page_of(content), encoding="utf-8")
    os.replace(part, folder / "report.html")
    figures = folder / "figures"
    figures.mkdir(exist_ok=True)
    for name, text in csv_tables(content).items():
        (figures / f"{name}.csv").write_text(text, encoding="utf-8")


def as_json(value: Any) -> str:
    """Return values as a browser reads them: what is no finite number is null."""

    def finite(each: Any) -> Any:
        if isinstance(each, float):
            return each if math.isfinite(each) else None
        if isinstance(each, dict):
            return {key: finite(entry) for key, entry in each.items()}
        return [finite(entry) for entry in each] if isinstance(each, (list, tuple)) else each

    return json.dumps(finite(value), allow_nan=False)


def page_of(content: dict[str, Any]) -> str:
    """Return a page that shows `page_content` or `live_content`."""
    values = {
        "title": html.escape(content["title"]),
        "verdict": html.escape(content["verdict"]),
        "css": (PAGE / "page.css").read_text("utf-8"),
        # "<" cannot end the script that it stands in.
        "data": as_json(content).replace("<", "\\u003c"),
        "scripts": "\n".join(f"<script>{(PAGE / s).read_text('utf-8')}</script>" for s in SCRIPTS),
    }
    # In one pass: what stands in a value is not looked at again.
    page = (PAGE / "page.html").read_text("utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda found: values[found[1]], page)
