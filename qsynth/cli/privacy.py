"""`qsynth privacy report`: a page on what leaves, under which guarantee, and what attacks find."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from qsynth.cli.options import parse
from qsynth.errors import ConfigError, nearest_spelling
from qsynth.recipe.compose import compose

VERBS = ("report",)
PAGE = "privacy.html"


def main(words: list[str]) -> int:
    """Write and print the report."""
    verb = words[0] if words else ""
    if verb not in VERBS:
        raise ConfigError(f"privacy {verb}: no such verb{nearest_spelling(verb, VERBS)}")
    options = parse(words[1:], ("--home", "--out"))
    composed = compose(options.overrides, options.trusted).with_data()
    from qsynth.data.base import layout_of_data
    from qsynth.experiment.build import build
    from qsynth.experiment.privacy_report import page, privacy_report, rows
    from qsynth.placement.config import Simulate
    from qsynth.training.fit import single_threaded

    home = Path(options.own["--home"]) if "--home" in options.own else None
    if home is not None and not home.is_dir():
        raise ConfigError(f"--home={home}: no such folder")
    single_threaded()
    config = replace(composed.config, placement=Simulate())
    layout = None if composed.data is None else layout_of_data(composed.data)
    made = privacy_report(config, build(config, Path()), layout, home)
    out = Path(options.own.get("--out", PAGE))
    out.write_text(page(made), encoding="utf-8")
    if options.json:
        print(json.dumps(made))
        return 0
    for heading, lines in rows(made):
        print(heading)
        for line in lines:
            print(f"  - {line}")
    print(f"its page is {out}")
    return 0
