"""`qsynth packet audit`: what one's own packets give away."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

from qsynth.cli.options import parse
from qsynth.errors import ConfigError, nearest_spelling
from qsynth.recipe.compose import compose

VERBS = ("audit",)


def main(words: list[str]) -> int:
    """Attack the packets of a recipe's nodes; print how much they give away."""
    verb = words[0] if words else ""
    if verb not in VERBS:
        raise ConfigError(f"packet {verb}: no such verb{nearest_spelling(verb, VERBS)}")
    options = parse(words[1:])
    composed = compose(options.overrides, options.trusted)
    sys.path.insert(0, "")
    from qsynth.placement.config import Simulate
    from qsynth.placement.train import single_threaded
    from qsynth.run.audit import audit
    from qsynth.run.build import build

    single_threaded()
    made = audit(build(replace(composed.config, placement=Simulate()), Path()))
    if options.json:
        print(json.dumps(made))
        return 0

    def shown(key: str, digits: int = 2) -> str:
        value = made[key]
        return "-" if value is None else f"{value:.{digits}f}"

    print(
        f"{made['name']}: packets of {shown('bytes', 0)} bytes from {shown('samples', 0)} samples, "
        f"{shown('d', 0)} features\n"
        f"membership, by class means       AUC {shown('membership_auc')}  (.5: nothing learned)\n"
        f"membership, by the scatter       AUC {shown('scatter_auc')}\n"
        f"membership, by the fingerprint   AUC {shown('fingerprint_auc')}\n"
        f"membership, by the images        AUC {shown('mosaic_auc')}\n"
        f"inversion: a class mean picks a sample out of {made['candidates']} others   "
        f"{shown('inversion_rate')}\n"
        f"difference: the sample between two packets is found   "
        f"{shown('difference_rate')}\n"
        f"The attacker holds {made['references']} reference samples; stronger attacks may exist."
    )
    return 0
