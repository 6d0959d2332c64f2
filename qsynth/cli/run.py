"""`qsynth run`: compose, check, train, measure, show."""

from __future__ import annotations

import json
import sys

from qsynth.cli.options import parse
from qsynth.cli.show import Display, print_summary
from qsynth.recipe.compose import compose


def main(words: list[str]) -> int:
    """Run a fleet; return 0 if at least one node has finished and none has failed to be named."""
    options = parse(words)
    composed = compose(options.overrides, options.trusted)
    # Only now: a mistake above is answered before torch is imported.
    sys.path.insert(0, "")
    from qsynth.run.execute import execute

    display = Display(options.quiet)
    with display:
        plan, summary = execute(
            composed.config,
            composed.values,
            composed.overrides,
            display.announce,
            display.progress,
        )
    if not options.quiet:
        print_summary(summary, plan.folder, sys.stderr if options.json else sys.stdout)
    if options.json:
        print(json.dumps(summary))
    return 0
