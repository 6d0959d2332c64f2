"""The report: one page, from data alone, that a browser opens without an error."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from qsynth.cli.main import main
from qsynth.errors import ConfigError
from qsynth.report.content import live_content, page_content
from qsynth.report.follow import EVENTS, Followed
from qsynth.report.live import LivePage
from qsynth.report.page import page_of, write_report
from qsynth.report.progress import MOST_POINTS, Progress
from qsynth.report.tables import architecture_table

NO_CURVES: dict = {"mesh": {}, "alone": {}}
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
            "gain": 0.1 - 0.01 * (n % 3),
            "gain_low": -0.01 if n % 3 else 0.05,
            "gain_high": 0.2,
            "test_samples": 100,
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
        "seed": 7,
        "failures": [{"node": "mlp-0", "reason": "<b>x</b>"}],
        "accuracy": {"own": {"mean": 0.8, "worst": 0.7}},
        "gain": {
            "over_alone": {"own": {"mean": 0.1, "worst": -0.1}},
            "over_best": {
                "arm": "alone",
                "of": count,
                "mean": 0.1,
                "low": 0.05,
                "high": 0.15,
                "samples": 100 * count,
                "better": count,
            },
        },
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


def outside_scripts(page: str) -> str:
    """A page without its scripts, but for the data."""
    return re.sub(r"<script>.*?</script>", "", page, flags=re.S)


def test_a_page_needs_nothing_else_and_nothing_in_it_runs(tmp_path) -> None:
    page = write(tmp_path / "<img src=x>{{data}}")
    ours = outside_scripts(page)
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)", ours)
    assert "http" not in ours
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
    curves = {"mesh": points(8), "alone": points(2)}
    data = page_content("x", summary, Progress(events), None, curves, "")
    assert len(data["edges"]) == 24
    assert all(0 <= a < 8 and 0 <= b < 8 for a, b, _ in data["edges"])
    assert [n["learns"] for n in data["nodes"]] == [3] * 8
    assert sum(n["teaches"] for n in data["nodes"]) == 24
    assert np.diag(data["similarity"]).tolist() == [100] * 8
    assert [data["nodes"][at]["group"] for at in data["order"]] == sorted(n % 4 for n in range(8))
    assert data["pairs"][0][1] == 56
    assert [len(n["curve"]) for n in data["nodes"]] == [9] * 8
    assert [len(n["curve_alone"]) for n in data["nodes"]] == [9] * 2 + [0] * 6
    assert data["refused"] == [("replay", 2)]
    assert ["seed", "7"] in data["about"]
    assert ["test samples", "800, counted once a node"] in data["about"]
    assert not any("-" in card[0][:1] and len(card[0]) == 1 for card in data["cards"])
    nobody = page_content("x", summary | {"per_node": []}, Progress(), None, NO_CURVES, "")
    assert nobody["similarity"] == []


def test_a_column_of_dashes_is_left_out() -> None:
    summary, _ = made_up(2)
    own = {"own": {"mean": 0.5, "worst": 0.25}}
    mesh = own | {"network": own, "calibration_error": 0.03}
    entry = {"architecture": "mlp", "nodes": 2, "local": own, "alone": None, "linear": None}
    heads, rows = architecture_table(summary | {"by_architecture": [entry | {"mesh": mesh}]})
    assert heads == ["architecture", "nodes", "local", "mesh", "network mesh", "worst node", "ECE"]
    assert rows == [["mlp", "2", "50.0", "50.0", "50.0", "25.0", "3.0"]]
    assert architecture_table(summary) == ([], [])


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
        "document.querySelectorAll('#gains circle').length,"
        "document.querySelectorAll('#matrix rect').length,"
        "document.documentElement.scrollWidth <= window.innerWidth].join(' ');"
    )
    page, said = opened(tmp_path / "run" / "report.html", width, choosing)
    assert said == ""
    assert page.count('class="node"') == 64
    assert len(re.findall(r"<path[^>]*class=\"edge", page)) == 192
    assert "<title>3 3 64 4096 true</title>" in page
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
        "const lines = () => document.querySelectorAll('#curves [aria-label=line] path').length;"
        "const pick = document.getElementById('measure'); const before = lines();"
        "pick.value = 2; pick.dispatchEvent(new Event('change')); const none = lines();"
        "pick.value = 3; pick.dispatchEvent(new Event('change')); choose(4);"
        "document.getElementById('matrix').dispatchEvent("
        "new KeyboardEvent('keydown', {key: 'ArrowRight'}));"
        "document.title = [before, none, lines(),"
        "document.getElementById('cell').textContent].join(' ');"
    )
    page, said = opened(tmp_path / "run" / "report.html", 1440, choosing)
    assert said == ""
    assert "<title>34 0 36 mlp-0 and mlp-4: " in page


def under_way(folder: Path, count: int = 3) -> list[dict]:
    """Events of a run that goes on, in the folders of its nodes; returned too."""
    events = made_up(count)[1]
    for n in range(count):
        events.append({"event": "started", "node": f"mlp-{n}", "id": f"{n:064x}"})
        (folder / "nodes" / f"mlp-{n}").mkdir(parents=True)
        lines = [json.dumps(e) for e in events if e["node"] == f"mlp-{n}"]
        (folder / "nodes" / f"mlp-{n}" / EVENTS).write_text("\n".join(lines) + "\n{torn")
    return events


def test_a_run_under_way_shows_what_its_nodes_have_told(tmp_path) -> None:
    events = under_way(tmp_path)
    followed = Followed(tmp_path)
    followed.read()
    made = live_content("x", followed, 40, 7.0, "recipe")
    assert made["live"]
    assert "0 of 3 nodes have finished, the slowest is at period 19 of 40" in made["verdict"]
    told = [e["validation_accuracy"] for e in events if e["event"] == "period"][:20]
    assert [point[1] for point in made["nodes"][0]["curve"]] == told
    assert len(made["edges"]) == 9
    assert len(made["similarity"]) == 3
    assert made["requests"][0][1] == 5.0
    # Of a node on duty the others are known by their ids alone.
    alone = live_content("x", Progress(e for e in events if e["node"] == "mlp-0"), None, 7.0, "")
    assert [n["name"] for n in alone["nodes"]] == ["mlp-0", "0" * 8, "0" * 8]
    assert alone["verdict"].startswith("On duty: period 19")
    assert page_of(alone).count("On duty") == 2


def test_a_file_that_has_begun_anew_is_read_from_its_start(tmp_path) -> None:
    under_way(tmp_path, 1)
    followed = Followed(tmp_path)
    followed.read()
    (tmp_path / "nodes" / "mlp-0" / EVENTS).write_text(
        json.dumps({"event": "period", "period": 99, "validation_accuracy": None}) + "\n"
    )
    followed.read()
    assert followed.nodes["mlp-0"].period == 99
    assert len(followed.nodes["mlp-0"].points) == 20


def test_a_long_curve_is_thinned_and_a_second_life_draws_over_the_first() -> None:
    def period(at: int, value: float = 0.5) -> dict:
        return {"event": "period", "node": "x", "period": at, "validation_accuracy": value}

    long = Progress(period(at) for at in range(5 * MOST_POINTS)).nodes["x"].points
    assert MOST_POINTS // 2 <= len(long) <= MOST_POINTS
    assert long[0][0] == 0
    assert long[-1][0] >= 5 * MOST_POINTS - 8
    again = Progress([*map(period, range(9)), *(period(at, 0.9) for at in (5, 6))])
    assert [p for p, _ in again.nodes["x"].points] == [0, 1, 2, 3, 4, 5, 6]
    assert again.nodes["x"].points[-1][1] == 0.9


def asked(url: str, **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
            request, timeout=30
        ) as answer:
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_the_live_page_answers_this_machine_alone_and_ends_in_the_report(tmp_path) -> None:
    under_way(tmp_path)
    with LivePage(tmp_path, 40, "recipe", 0) as live:
        assert live.url.startswith("http://127.0.0.1:")
        status, page = asked(live.url)
        assert status == 200
        assert "Under way" in page
        assert json.loads(asked(live.url + "data.json")[1])["live"]
        assert asked(live.url, Host="elsewhere.example:80")[0] == 403
        assert asked(live.url + "../summary.json")[0] == 404
        with pytest.raises(ConfigError, match="--port"):
            LivePage(tmp_path, 40, "", int(live.url.split(":")[2][:-1]))
        write(tmp_path)
        (tmp_path / "summary.json").write_text("{}")
        assert live.ended
        assert json.loads(asked(live.url + "data.json")[1]) == {"live": False}
        assert asked(live.url)[1] == (tmp_path / "report.html").read_text()


def test_what_watch_refuses(tmp_path, capsys) -> None:
    under_way(tmp_path)
    for words, said in (
        (["--web"], "--web needs a run, or the home of a node"),
        (["--port", "80"], "--port 80: needs --web"),
        (["--web", "--json"], "watch --web --json: one of them"),
        (["--web", "--port", "x"], "--port x: must be a number from 0 to 65535"),
    ):
        assert main(["watch", str(tmp_path), *words]) == 2
        assert said in capsys.readouterr().err


@pytest.mark.slow
def test_a_browser_follows_a_run_until_its_report(tmp_path) -> None:
    """The page draws what has come since, and loads the report when the run has ended."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: the page is not opened")
    under_way(tmp_path)
    with LivePage(tmp_path, 40, "recipe", 0) as live:
        looks, content = [], live.content

        def counted() -> dict:
            looks.append(None)
            if len(looks) == 4:  # the first is the page's own, the next two draw it again
                write(tmp_path, 3)
                (tmp_path / "summary.json").write_text("{}")
            return content()

        live.content = counted
        command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path}/profile", "--dump-dom"]
        command += ["--virtual-time-budget=60000", live.url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert "CONSOLE" not in done.stderr
    assert "The mesh helped" in done.stdout
