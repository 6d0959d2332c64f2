"""`qsynth report RUN`: make a run's summary again from its folder."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from qsynth.cli.options import parse
from qsynth.cli.show import print_summary
from qsynth.config import validate
from qsynth.errors import ConfigError


def main(words: list[str]) -> int:
    """Evaluate the predictors of a run folder; print and write its summary."""
    options = parse(words)
    if len(options.overrides) != 1:
        raise ConfigError("report: needs one run folder, e.g. qsynth report runs/NAME")
    folder = Path(options.overrides[0]).expanduser().absolute()
    sys.path.insert(0, "")  # a module of the user's own may lie in this folder
    from qsynth.run.execute import read_config, report

    config = validate(read_config(folder))
    summary = report(config, folder)
    if not options.quiet and not options.json:
        print_summary(summary, folder)
    if options.json:
        print(json.dumps(summary))
    return 0 if summary["accuracy"] else 1
