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
from qsynth.errors import ConfigError, DataError

PREDICTOR = "predictor.pt"


def main(words: list[str]) -> int:
    """Write predictions, and say how good they are where the data tell."""
    options = parse(words, ("--out", "--label", "--prior", "--node"))
    named = [word for word in options.overrides if "=" not in word]
    options.overrides = [word for word in options.overrides if "=" in word]
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
        print(f"qsynth: {note}", file=sys.stderr)
    with _opened(out, options.json) as file:
        made = predict(predictor, new, file, prior)
    _tell(options, path, out, made)
    return 0


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
        values = ", ".join(f"{name.replace('_', ' ')} {v:.4g}" for name, v in made.measures.items())
        said += f"; of {made.known} rows whose answer the data tell: {values}"
    print(f"qsynth: {said}", file=sys.stderr)
