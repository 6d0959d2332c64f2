"""The report: one page, from data alone, that a browser opens without an error."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from qsynth.report.page import page_data, write_report

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
]


def made_up(count: int, periods: int = 20) -> tuple[dict, list[dict]]:
    """A summary and events of a run that never was."""
    rng = np.random.default_rng(0)
    ids = [f"{n:064x}" for n in range(count)]
    nodes = [
        {
            "name": f"mlp-{n}",
            "id": ids[n],
            "architecture": "mlp",
            "group": n % 4,
            "own": 0.8,
            "network": 0.7,
            "group_accuracy": 0.8,
            "local": 0.6,
            "alone": 0.7 + 0.01 * (n % 3),
            "bytes": 1000 * n,
        }
        for n in range(count)
    ]
    events: list[dict] = []
    for n in range(count):
        print_ = rng.integers(-127, 128, 160).astype(np.int8).tobytes().hex()
        events.append({"event": "publish", "node": f"mlp-{n}", "fingerprint": print_})
        events += [
            {"event": "period", "node": f"mlp-{n}", "period": p, "validation_accuracy": value}
            for p, value in enumerate(rng.random(periods).tolist())
        ]
        used = [ids[(n + 4 * j) % count] for j in (1, 2, 3)]
        gains = {author: 0.1 * j - 0.1 for j, author in enumerate(used)}
        events.append({"event": "synthesis", "node": f"mlp-{n}", "used": used, "gains": gains})
        events.append({"event": "lookup", "node": f"mlp-{n}", "rpcs": 5})
    summary = {
        "per_node": nodes,
        "nodes": count,
        "failures": [{"node": "mlp-0", "reason": "<b>x</b>"}],
        "accuracy": {"own": {"mean": 0.8, "worst": 0.7}},
        "gain": {"over_alone": {"own": {"mean": 0.1, "worst": -0.1}}},
        "by_architecture": [],
        "packets": {"admitted": 3 * count, "rejected": {"replay": 2}, "bytes_mean": 100.0},
        "traffic": {"bytes_total": 1e6, "bytes_per_node_per_period": 100.0},
        "routing": {"lookups": count, "rpcs_mean": 5.0, "recall_at_k": 1.0, "k": 3},
        "pairs": {"possible": count * (count - 1), "realised": 3 * count, "useful": 3 * count},
    }
    return summary, events


def points(count: int, periods: int = 9) -> dict[str, list]:
    """Points of as many nodes: a period and four measures, no group in the mesh."""
    rng = np.random.default_rng(1)
    return {
        f"mlp-{n}": [[p, v, None, v / 2, v / 3] for p, v in enumerate(rng.random(periods))]
        for n in range(count)
    }


def write(folder: Path, count: int = 8, **more) -> str:
    summary, events = made_up(count)
    folder.mkdir(exist_ok=True)
    curves = {"mesh": points(count), "alone": points(count), "whole": True}
    (folder / "curves.json").write_text(json.dumps(curves))
    write_report(folder, summary | more, events, 123_456, "name: x # </pre><script>bad()</script>")
    return (folder / "report.html").read_text()


def test_a_page_needs_nothing_else_and_nothing_in_it_runs(tmp_path) -> None:
    page = write(tmp_path / "<img src=x>{{data}}")
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)", page)
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "<b>x</b>" not in page
    assert "bad()</script>" not in page
    assert "<img src=x>" not in page
    assert page.count('id="data"') == 1
    summary, events = made_up(8)
    summary["per_node"][0]["name"] = "</script><script>bad()"
    write_report(tmp_path, summary, events, None, "")
    page = (tmp_path / "report.html").read_text()
    assert "</script><script>bad()" not in page
    assert "not possible: the networks differ" in page


def test_what_is_drawn_is_what_happened() -> None:
    summary, events = made_up(8)
    data = page_data(summary, events, None, {"mesh": points(8), "alone": points(2)})
    assert len(data["edges"]) == 24
    assert all(0 <= a < 8 and 0 <= b < 8 for a, b, _ in data["edges"])
    assert [n["learns"] for n in data["nodes"]] == [3] * 8
    assert sum(n["teaches"] for n in data["nodes"]) == 24
    assert np.diag(data["similarity"]).tolist() == [100] * 8
    assert [data["nodes"][at]["group"] for at in data["order"]] == sorted(n % 4 for n in range(8))
    assert data["pairs"][0][1] == 56
    assert [len(n["curve"]) for n in data["nodes"]] == [9] * 8
    assert [len(n["curve_alone"]) for n in data["nodes"]] == [9] * 2 + [0] * 6
    empty = page_data(summary | {"per_node": []}, [], None, {"mesh": {}, "alone": {}})
    assert empty["similarity"] == []


def test_figures_are_csv_too(tmp_path) -> None:
    write(tmp_path / "run")
    nodes = (tmp_path / "run" / "figures" / "nodes.csv").read_text().splitlines()
    assert nodes[0].startswith("name,architecture,group,local,alone,linear,own")
    assert len(nodes) == 9
    edges = (tmp_path / "run" / "figures" / "synthesis.csv").read_text().splitlines()
    assert len(edges) == 25
    curves = (tmp_path / "run" / "figures" / "curves.csv").read_text().splitlines()
    assert curves[0] == "node,arm,period,own,group,network_own,network_group"
    assert len(curves) == 1 + 8 * 2 * 9
    assert sum(line.split(",")[1] == "alone" for line in curves) == 8 * 9


def test_a_page_of_sixty_four_nodes_is_small(tmp_path) -> None:
    assert len(write(tmp_path / "run", 64).encode()) < 3_000_000


def opened(page: Path, width: int, more: str = "") -> tuple[str, str]:
    """The page as a browser has made it, and what it said on its console."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: the page is not opened")
    copy = page.with_name(f"opened-{width}.html")
    script = f"<script>{more}</script></body>"
    copy.write_text(page.read_text().replace("</body>", script))
    command = [
        CHROMIUM,
        *FLAGS,
        f"--user-data-dir={page.parent}/profile",
        f"--window-size={width},900",
        "--dump-dom",
        f"file://{copy}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    return done.stdout, "\n".join(x for x in done.stderr.splitlines() if "CONSOLE" in x)


@pytest.mark.slow
@pytest.mark.parametrize("width", [500, 1440])
def test_a_browser_draws_it_and_a_node_can_be_chosen(tmp_path, width) -> None:
    write(tmp_path / "run", 64)
    choosing = (
        "document.querySelectorAll('.node')[5].dispatchEvent(new KeyboardEvent('keydown',"
        "{key: 'Enter'}));"
        "document.title = [document.querySelectorAll('.edge.in').length,"
        "document.querySelectorAll('.edge.out').length,"
        "document.documentElement.scrollWidth <= window.innerWidth].join(' ');"
    )
    page, said = opened(tmp_path / "run" / "report.html", width, choosing)
    assert said == ""
    assert page.count('class="node"') == 64
    assert len(re.findall(r"<path[^>]*class=\"edge", page)) == 192
    assert "<title>3 3 true</title>" in page
    assert "mlp-5 learns from" in page
    assert json.loads(re.search(r'id="data">(.*?)</script>', page, re.S)[1])["edges"]


@pytest.mark.slow
def test_it_is_readable_on_a_phone(tmp_path) -> None:
    """A browser's own window is wider: the page stands in a frame, and tells how wide it is."""
    write(tmp_path / "run", 16)
    page = tmp_path / "run" / "report.html"
    told = "<script>parent.postMessage(document.documentElement.scrollWidth, '*')</script></body>"
    page.write_text(page.read_text().replace("</body>", told))
    outer = tmp_path / "outer.html"
    outer.write_text(
        "<script>onmessage = e => { document.title = 'wide ' + e.data; }</script><body>"
        f"<iframe src='file://{page}' style='width:390px;height:800px;border:0'></iframe></body>"
    )
    made, said = opened(outer, 500)
    assert said == ""
    # With or without a scroll bar: nothing sticks out to the right.
    assert int(re.search(r"<title>wide (\d+)</title>", made)[1]) <= 390


@pytest.mark.slow
def test_accuracy_over_time_is_chosen_and_a_chosen_node_stands_out(tmp_path) -> None:
    write(tmp_path / "run", 16)
    choosing = (
        "const lines = () => document.querySelectorAll('#curves path').length;"
        "const pick = document.getElementById('measure'); const before = lines();"
        "pick.value = 2; pick.dispatchEvent(new Event('change')); const none = lines();"
        "pick.value = 3; pick.dispatchEvent(new Event('change')); choose(4);"
        "const canvas = document.getElementById('matrix');"
        "canvas.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight'}));"
        "document.title = [before, none, lines(), document.querySelectorAll('#rows span').length,"
        "document.getElementById('cell').textContent].join(' ');"
    )
    page, said = opened(tmp_path / "run" / "report.html", 1440, choosing)
    assert said == ""
    assert "<title>34 0 36 16 mlp-0 and mlp-4: " in page
