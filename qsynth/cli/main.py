"""Dispatch a verb.  Standard library only: help and lists must start at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from qsynth.errors import ConfigError, QsynthError, nearest_spelling

HELP = """\
qsynth: nodes that learn from each other, peer to peer, with no coordinator

  run      train a fleet                   qsynth run +recipe=digits_mesh seed=1
  compare  measure what it is worth        qsynth compare +recipe=digits_mesh seeds=[0,1,2]
  report   make a run's summary again      qsynth report runs/20260101-120000-digits_mesh-1a2b3c
  node     be one node of a fleet          qsynth node up --share 1 mesh=tcp mesh.join=[tcp://host:7700]
  recipe   list or show recipes            qsynth recipe list
  packet   measure what packets give away  qsynth packet audit +recipe=digits_mesh
  config   show the composed config        qsynth config +recipe=cifar_mesh
  doctor   check what a node needs here    qsynth doctor mesh=tcp mesh.listen=tcp://0.0.0.0:7700
  bench    measure the routing             qsynth bench route --nodes 1000,10000 --dead 0,0.3
  warmup   compile the routing kernels     qsynth warmup

Any setting can be overridden: qsynth run +recipe=cifar_mesh fleet.small.count=12 dht.ring_size=6
An interrupted run goes on: qsynth run --resume runs/NAME
Options of run and compare: --json (data on standard output), --quiet, --trust package.Class
(code that a recipe may name).  Exit codes: 0 well, 1 the run failed, 2 usage or config,
3 an untrusted recipe was refused, 4 network, 130 interrupted.
"""
VERBS = (
    "run",
    "compare",
    "report",
    "node",
    "recipe",
    "packet",
    "config",
    "doctor",
    "bench",
    "warmup",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb and return the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0
    if words[0] == "--version":
        from qsynth import __version__

        print(__version__)
        return 0
    verb, rest = words[0], words[1:]
    if verb not in VERBS:
        print(f"qsynth: {verb}: no such verb{nearest_spelling(verb, VERBS)}", file=sys.stderr)
        return 2
    if "-h" in rest or "--help" in rest:
        print(HELP, end="")
        return 0
    try:
        return _dispatch(verb, rest)
    except QsynthError as error:
        print(f"qsynth: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("qsynth: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _dispatch(verb: str, rest: list[str]) -> int:
    if verb == "recipe":
        from qsynth.cli import recipe

        return recipe.main(rest)
    if verb == "node":
        from qsynth.cli import node

        return node.main(rest)
    if verb == "packet":
        from qsynth.cli import packet

        return packet.main(rest)
    if verb == "config":
        from qsynth.cli import composed

        return composed.main(rest)
    if verb == "doctor":
        from qsynth.cli import doctor

        return doctor.main(rest)
    if verb == "bench":
        from qsynth.cli import bench

        return bench.main(rest)
    if verb == "warmup":
        if rest:
            raise ConfigError(f"warmup {rest[0]}: takes nothing")
        from qsynth.kernels.warm import warm_up, warm_up_batch

        warm_up()
        warm_up_batch()
        print("kernels are compiled")
        return 0
    if verb == "compare":
        from qsynth.cli import compare

        return compare.main(rest)
    if verb == "report":
        from qsynth.cli import report

        return report.main(rest)
    from qsynth.cli import run

    return run.main(rest)
