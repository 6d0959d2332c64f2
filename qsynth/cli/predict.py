"""`qsynth predict`: a predictor's answers to new rows, pictures or arrays."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from qsynth.cli.options import Options, parse
from qsynth.cli.own_data import own_data
from qsynth.errors import ConfigError, DataError, printable
from qsynth.report.folder import MINE

PREDICTOR = "predictor.pt"


def main(words: list[str]) -> int:
    """Write predictions, and say how good they are where the data tell."""
    options = parse(words, ("--out", "--label", "--prior", "--node"), (MINE,))
    named = options.take_named()
    if len(named) == 1 and Path(named[0]).is_dir() and not options.overrides:
        return _of_run(options, Path(named[0]).expanduser().absolute())
    if len(named) != 2:
        raise ConfigError(
            "predict: needs a predictor and data, e.g. qsynth predict "
            "runs/NAME/nodes/site-0/predictor.pt new.csv --out predictions.csv"
        )
    prior = options.own.get("--prior", "own")
    if prior not in ("own", "uniform"):
        raise ConfigError(f"--prior={prior}: must be own or uniform")
    path = find_predictor(Path(named[0]).expanduser(), options.own.get("--node"))
    data = own_data("predict", options, named[1])
    from qsynth.inference.new_data import read_new
    from qsynth.inference.predict import predict
    from qsynth.training.export import load_predictor

    predictor = load_predictor(path, trust=options.trusted)
    new = read_new(data, predictor.inputs)
    out = Path(options.own["--out"]) if "--out" in options.own else None
    for note in new.notes:
        print(f"qsynth: {printable(note)}", file=sys.stderr)
    with _opened(out, options.json) as file:
        made = predict(predictor, new, file, prior)
    _tell(options, path, out, made)
    return 0


def _of_run(options: Options, folder: Path) -> int:
    """Write the answers of a run's nodes to the test samples that they were measured on."""
    for name in ("--prior", "--label"):
        if name in options.own:
            raise ConfigError(f"{name}: a run says it itself")
    from qsynth.config.groups import validate
    from qsynth.evaluation.evaluate import Evaluator
    from qsynth.experiment.build import build
    from qsynth.experiment.lock import check_data
    from qsynth.host.artifacts import read_predictor
    from qsynth.inference.new_data import test_data
    from qsynth.inference.predict import predict
    from qsynth.recipe.received import read_received
    from qsynth.training.fit import single_threaded
    from qsynth.training.provenance import check_same

    single_threaded()
    values = read_received(folder, MINE in options.own, options.trusted)
    plan = build(validate(values), folder)
    check_data(plan)
    check_same(plan)
    wanted = options.own.get("--node")
    nodes = [node for node in plan.nodes if wanted in (None, node.name)]
    if not nodes:
        raise ConfigError(
            f"--node={wanted}: must be one of {', '.join(n.name for n in plan.nodes)}"
        )
    rows, measures = Evaluator(plan), []
    told: dict[str, dict[str, Any]] = {}
    out = Path(options.own["--out"]) if "--out" in options.own else None
    with _opened(out, options.json) as file:
        for node in nodes:
            try:
                predictor = read_predictor(plan, node)
            except DataError:
                print(f"qsynth: {node.name} has left no predictor", file=sys.stderr)
                continue
            data = test_data(plan, node.final, rows.rows(node))
            made = predict(predictor, data, file, titled=not told)
            told[node.name] = {"rows": made.count, **made.measures}
            measures.append(made.measures)
    if not told:
        raise DataError(f"{folder}: no node has left a predictor")
    means = {key: sum(m[key] for m in measures) / len(measures) for key in measures[0]}
    if options.json:
        print(json.dumps({"nodes": told, "mean": means} | ({"out": str(out)} if out else {})))
    elif not options.quiet:
        for name, values in told.items():
            print(f"qsynth: {name}: {_spoken(values)}", file=sys.stderr)
        where = f" in {out}" if out else ""
        print(f"qsynth: mean of {len(told)} nodes{where}: {_spoken(means)}", file=sys.stderr)
    return 0


def _spoken(measures: dict[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:.6g}" for name, value in measures.items())


def find_predictor(path: Path, node: str | None) -> Path:
    """Return the file of a predictor: as named, of a node's folder, or of a run's node.

    Raises DataError.
    """
    if path.is_file():
        return path
    if (path / PREDICTOR).is_file():
        return path / PREDICTOR
    nodes = sorted(each.parent.name for each in path.glob(f"nodes/*/{PREDICTOR}"))
    if not nodes:
        raise DataError(f"{path}: no predictor there")
    if node is None and len(nodes) == 1:
        node = nodes[0]
    if node is None:
        shown = ", ".join(nodes[:8]) + (", ..." if len(nodes) > 8 else "")
        raise DataError(f"{path}: whose predictor? --node NAME, of {shown}")
    if node not in nodes:
        raise ConfigError(f"--node={node}: must be one of {', '.join(nodes)}")
    return path / "nodes" / node / PREDICTOR


@contextlib.contextmanager
def _opened(out: Path | None, quiet: bool) -> Any:
    """Give the file that predictions go to; what breaks off leaves no half of one."""
    if out is None:
        yield None if quiet else sys.stdout
        return
    part = out.with_name(f"{out.name}.part")
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            yield file
        os.replace(part, out)
    finally:
        part.unlink(missing_ok=True)


def _tell(options: Options, path: Path, out: Path | None, made: Any) -> None:
    if options.json:
        told = {"predictor": str(path), "rows": made.count, "known": made.known, **made.measures}
        print(json.dumps(told | ({"out": str(out)} if out else {})))
        return
    if options.quiet:
        return
    said = f"{made.count} predictions" + (f" in {out}" if out else "")
    if made.measures:
        said += f"; of {made.known} rows whose answer the data tell: {_spoken(made.measures)}"
    print(f"qsynth: {said}", file=sys.stderr)
