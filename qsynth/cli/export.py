"""`qsynth export`: a predictor as one file that runs without qsynth."""

from __future__ import annotations

import json
from pathlib import Path

from qsynth.cli.options import parse
from qsynth.cli.own_data import own_data
from qsynth.cli.predict import find_predictor
from qsynth.errors import ConfigError

KINDS = ("--onnx", "--torch")


def main(words: list[str]) -> int:
    """Write the files that are named, each checked against the predictor."""
    options = parse(words, (*KINDS, "--node"))
    named = options.take_named()
    wanted = {kind[2:]: Path(options.own[kind]) for kind in KINDS if kind in options.own}
    if not wanted and named:
        raise ConfigError(f"export {named[0]}: to what? --onnx FILE, or --torch FILE")
    if len(named) not in (1, 2):
        raise ConfigError(
            "export: needs a predictor and a file, e.g. qsynth export runs/NAME/nodes/site-0 "
            "--onnx predictor.onnx"
        )
    path = find_predictor(Path(named[0]).expanduser(), options.own.get("--node"))
    data = own_data("export", options, named[1]) if len(named) == 2 else None
    from qsynth.inference.export import CHECKED, export
    from qsynth.inference.new_data import read_new
    from qsynth.training.export import load_predictor

    predictor = load_predictor(path, trust=options.trusted)
    rows = None
    if data is not None:
        new = read_new(data, predictor.inputs)
        rows = new.inputs(0, min(CHECKED, new.count))
    made = {}
    for kind, out in wanted.items():
        made[kind] = {"file": str(out), "apart": export(predictor, out, kind, rows)}
    if options.json:
        print(json.dumps(made))
    elif not options.quiet:
        what = "rows of the data" if rows is not None else "inputs drawn in the task's range"
        count = CHECKED if rows is None else len(rows)
        for kind, told in made.items():
            print(
                f"{told['file']}: {kind}, {told['apart']:.1e} from the predictor on {count} {what}"
            )
    return 0
