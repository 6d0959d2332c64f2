"""`qsynth part`: hold some nodes of a run on this machine, as a cluster's scheduler asks for."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from qsynth.cli.options import parse
from qsynth.config.groups import validate
from qsynth.errors import ConfigError
from qsynth.placement.supervisor import TAKEN
from qsynth.report.folder import MINE, read_own


def main(words: list[str]) -> int:
    """Be nodes of a run until they end; return 0 where all have ended well, else 1.

    75 (of sysexits.h: try again) where other processes have them.
    """
    parent = os.getppid()
    options = parse(words, ("--within",), ("--mortal", MINE))
    if len(options.overrides) < 2:
        raise ConfigError("part: needs the folder of a run and names of its nodes")
    folder, names = Path(options.overrides[0]).expanduser().absolute(), options.overrides[1:]
    config = validate(read_own(folder, MINE in options.own))
    from qsynth.experiment.part import hold, within
    from qsynth.training.fit import die_with_parent

    if "--mortal" in options.own:
        die_with_parent(parent)
    if "--within" in options.own:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        within(config, folder, names, Path(options.own["--within"]))
        return 0
    codes = hold(config, folder, names)
    if codes is None:
        return TAKEN
    if not options.quiet:
        for name, code in codes.items():
            print(f"{name}: {'ended well' if code == 0 else f'ended with {code}'}", flush=True)
    return int(any(codes.values()))
