"""`qsynth bench route|lookup|kernels|mesh|learner`: measure routing, mesh and learners."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qsynth.errors import ConfigError, nearest_spelling

VERBS = ("route", "lookup", "kernels", "mesh", "learner")
STRATEGIES = ("rings", "simhash", "full_view", "random_walk", "exact")
STARTS = ("cold", "warm")
MADE = ("clustered", "uniform")
RECIPES = ("fmnist_rotations", "fmnist_swap", "fmnist_labels")
DEFAULTS = {
    "--nodes": "1000",
    "--data": "clustered",
    "--strategy": "rings",
    "--start": "cold",
    "--dead": "0",
    "--queries": "1000",
    "--seed": "0",
    "--root": "",
    "--rows": "1000000",
    "--messages": "20000",
    "--steps": "200",
    "--samples": "60",
    "--model": "mlp",
}
OPTIONS = {
    "route": (
        "--nodes",
        "--data",
        "--strategy",
        "--start",
        "--dead",
        "--queries",
        "--seed",
        "--root",
    ),
    "lookup": ("--nodes", "--data", "--queries", "--seed", "--root"),
    "kernels": ("--rows", "--seed"),
    "mesh": ("--messages",),
    "learner": ("--nodes", "--steps", "--samples", "--model", "--seed"),
}
OF_LEARNERS = {"--nodes": "128"}  # one by one, a thousand take minutes
MODELS = ("linear", "mlp", "cnn", "resnet")
MOST_NODES, MOST_QUERIES = 4_000_000, 1_000_000
MOST_SAMPLES = 2_000_000  # of all networks that learners train: some GB
COLUMNS = (
    "nodes",
    "data",
    "strategy",
    "start",
    "dead",
    "recall",
    "rpcs_mean",
    "rpcs_p95",
    "contacts_mean",
    "bytes_mean",
    "in_degree_median",
    "in_degree_max",
    "busiest_share",
    "join_rpcs_mean",
    "seconds",
)


def main(words: list[str]) -> int:
    """Measure lookups in simulated meshes, the kernels or the mesh beside other libraries."""
    verb = words[0] if words else ""
    if verb not in VERBS:
        raise ConfigError(f"bench {verb}: no such verb{nearest_spelling(verb, VERBS)}")
    values, as_json = parse(verb, words[1:])
    if verb == "mesh":
        return _mesh(values, as_json)
    if verb == "kernels":
        return _kernels(values, as_json)
    if verb == "learner":
        return _learner(values, as_json)
    return _lookup(values, as_json) if verb == "lookup" else _route(values, as_json)


def parse(verb: str, words: list[str]) -> tuple[dict[str, str], bool]:
    """Return the options of a verb by name, and whether --json was among them."""
    values, as_json, rest = dict(DEFAULTS), False, list(words)
    values |= OF_LEARNERS if verb == "learner" else {}
    while rest:
        name, given, value = rest.pop(0).partition("=")
        if name == "--json" and not given:
            as_json = True
        elif name not in OPTIONS[verb]:
            known = (*OPTIONS[verb], "--json")
            raise ConfigError(f"bench {verb} {name}: no such option{nearest_spelling(name, known)}")
        elif not given and not rest:
            raise ConfigError(f"bench {verb} {name}: needs a value")
        else:
            values[name] = value if given else rest.pop(0)
    return values, as_json


def numbers(name: str, text: str, low: float, high: float, whole: bool = True) -> list[Any]:
    """Return the numbers of a comma-separated list.  Raises ConfigError outside [low, high]."""
    made = []
    for word in text.split(","):
        try:
            value = float(word)
        except ValueError:
            value = math.nan
        if not low <= value <= high or (whole and value != int(value)):
            kind = "whole numbers" if whole else "numbers"
            raise ConfigError(f"{name}={word}: must be {kind} from {low:g} to {high:g}")
        made.append(int(value) if whole else value)
    return made


def number(name: str, text: str, low: float, high: float) -> int:
    """Return one whole number.  Raises ConfigError where there are several."""
    if "," in text:
        raise ConfigError(f"{name}={text}: must be one number")
    return int(numbers(name, text, low, high)[0])


def _words(name: str, text: str, known: Sequence[str]) -> list[str]:
    for word in text.split(","):
        if word not in known:
            raise ConfigError(f"{name}={word}: no such {name[2:]}{nearest_spelling(word, known)}")
    return text.split(",")


def _route(values: dict[str, str], as_json: bool) -> int:
    nodes = numbers("--nodes", values["--nodes"], 32, MOST_NODES)
    dead = numbers("--dead", values["--dead"], 0, 0.9, whole=False)
    queries = number("--queries", values["--queries"], 1, MOST_QUERIES)
    seed = number("--seed", values["--seed"], 0, 2**31)
    strategies = _words("--strategy", values["--strategy"], STRATEGIES)
    starts = _words("--start", values["--start"], STARTS)
    data = _data(values)
    from qsynth.bench.route import Mesh, rows_of
    from qsynth.dht.config import Rings

    if not as_json:
        print("  ".join(COLUMNS))
    for count in nodes:
        prints = _prints(data, count, queries, seed, values["--root"])
        mesh = Mesh(prints[:count], Rings(strategy="rings"), seed)
        for row in rows_of(mesh, prints[count:], strategies, starts, dead, data):
            shown = row.json()
            line = json.dumps(shown) if as_json else _aligned(shown)
            print(line, flush=True)
    return 0


def _data(values: dict[str, str]) -> str:
    data = values["--data"]
    if not data.endswith(".npy"):
        known = (*MADE, *RECIPES, "FILE.npy")
        if data not in known[:-1]:
            raise ConfigError(f"--data={data}: no such data{nearest_spelling(data, known)}")
    return data


def _lookup(values: dict[str, str], as_json: bool) -> int:
    nodes = numbers("--nodes", values["--nodes"], 32, MOST_NODES)
    queries = number("--queries", values["--queries"], 1, MOST_QUERIES)
    seed = number("--seed", values["--seed"], 0, 2**31)
    data = _data(values)
    from qsynth.bench.hnsw import compare_lookups
    from qsynth.bench.route import Mesh
    from qsynth.dht.config import Rings

    for count in nodes:
        prints = _prints(data, count, queries, seed, values["--root"])
        mesh = Mesh(prints[:count], Rings(strategy="rings"), seed)
        _print_pairs(compare_lookups(mesh, prints[count:], data, seed), as_json)
    return 0


def _print_pairs(row: dict[str, Any], as_json: bool) -> None:
    print(json.dumps(row) if as_json else "  ".join(f"{k}={v}" for k, v in row.items()), flush=True)


def _prints(data: str, count: int, queries: int, seed: int, root: str) -> Any:
    """Return the fingerprints of the nodes, and behind them those that are asked for."""
    from qsynth.bench import fingerprints

    every = count + queries
    if data.endswith(".npy"):
        return fingerprints.from_file(Path(data), every)
    if data == "clustered":
        return fingerprints.quantised(fingerprints.clustered(every, count, seed))
    if data == "uniform":
        return fingerprints.quantised(fingerprints.uniform(every, seed))
    from qsynth.recipe.compose import compose

    folder = root or os.environ.get("QSYNTH_DATA_DIR", "")
    config = compose([f"+recipe={data}", *([f"data.root={folder}"] if folder else [])], []).config
    return fingerprints.of_recipe(config, every, seed)


def _aligned(row: dict[str, Any]) -> str:
    return "  ".join(
        (f"{row[c]:.3f}" if isinstance(row[c], float) else str(row[c])).rjust(len(c))
        for c in COLUMNS
    )


def _mesh(values: dict[str, str], as_json: bool) -> int:
    messages = number("--messages", values["--messages"], 1000, 10_000_000)
    from qsynth.bench.mesh import measure

    _print_pairs(measure(messages), as_json)
    return 0


def _kernels(values: dict[str, str], as_json: bool) -> int:
    rows = number("--rows", values["--rows"], 1000, 100_000_000)
    seed = number("--seed", values["--seed"], 0, 2**31)
    from qsynth.bench.kernels import compare_kernels

    for row in compare_kernels(rows, seed):
        _print_pairs(row, as_json)
    return 0


def _learner(values: dict[str, str], as_json: bool) -> int:
    nodes = number("--nodes", values["--nodes"], 1, 4096)
    steps = number("--steps", values["--steps"], 1, 1_000_000)
    samples = number("--samples", values["--samples"], 2, MOST_SAMPLES // nodes)
    seed = number("--seed", values["--seed"], 0, 2**31)
    models = _words("--model", values["--model"], MODELS)
    if len(models) != 1:
        raise ConfigError(f"--model={values['--model']}: must be one model")
    from qsynth.bench.learner import measure

    _print_pairs(measure(nodes, steps, samples, models[0], seed), as_json)
    return 0
