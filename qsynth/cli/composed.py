"""`qsynth config`: show what a recipe and overrides compose to."""

from __future__ import annotations

import yaml

from qsynth.cli.options import parse
from qsynth.recipe.compose import compose


def main(words: list[str]) -> int:
    """Print the composed and checked config as YAML."""
    options = parse(words)
    composed = compose(options.overrides, options.trusted)
    print(yaml.safe_dump(composed.values, sort_keys=False), end="")
    return 0
