"""Dispatch a verb.  Standard library only: help and lists must start at once."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from qsynth.errors import QsynthError, nearest_spelling

HELP = """\
qsynth: nodes that learn from each other, peer to peer, with no coordinator

  run      train a fleet                     qsynth run +recipe=digits_mesh seed=1
  plan     what it will cost, what leaves    qsynth plan +recipe=cifar_mesh
  compare  measure what it is worth          qsynth compare +recipe=digits_mesh seeds=[0,1,2]
  report   a page of a run, or of several    qsynth report runs/NAME
  node     be one node of a fleet            qsynth node up mesh=tcp mesh.join=[tcp://host:7700]
  recipe   list, check and share recipes     qsynth recipe list
  doctor   check what a node needs here      qsynth doctor mesh=tcp

More: runs watch packet explain config bench warmup completion; qsynth VERB --help tells of one.
Any setting can be overridden: qsynth run +recipe=cifar_mesh fleet.small.count=12 dht.ring_size=6
Options of most verbs: --json (data on standard output), --quiet, --trust package.Class (code that a
recipe may name).  Exit codes: 0 well, 1 the run failed, 2 usage or config, 3 an untrusted recipe
was refused, 4 network, 130 interrupted.
"""
# Verbs: where they are, and what they are for; standard library only.
VERBS = {
    "run": """\
qsynth run [+recipe=NAME] [key=value ...]: train a fleet, and say what it has gained

  qsynth run +recipe=digits_mesh seed=1
  qsynth run -m seed=0,1,2 peers.k=3,7 a run for each combination
  qsynth run --resume runs/NAME        go on with an interrupted run
  qsynth run --locked runs/NAME        the same again (or a recipe.lock, or a pack), or not at all
  --json --quiet --trust package.Class
""",
    "plan": """\
qsynth plan [+recipe=NAME] [key=value ...]: what a run will cost, and what leaves each node

  qsynth plan +recipe=cifar_mesh fleet.small.count=12
  --measure   train each network for some steps: also of modules of your own
  --json --trust package.Class
""",
    "compare": """\
qsynth compare [+recipe=NAME] [arms=[...]] [seeds=[...]]: measure what a mesh is worth

  qsynth compare +recipe=digits_mesh arms=[local,alone,semantic,random] seeds=[0,1,2]
  --json --quiet --trust package.Class
""",
    "report": """\
qsynth report RUN [RUN ...]: make a run's summary and page again; several: side by side

  qsynth report runs/NAME
  --certificate   what each node gained on audit samples (partition.audit_share=.25), how surely
  --json --quiet
""",
    "node": """\
qsynth node VERB: be one node of a fleet, on this host

  qsynth node up --home DIR --share 0 mesh=tcp mesh.join=[tcp://host:7700]
  qsynth node id --home DIR            make the identity, and show it
  qsynth node keys init|issue|revoke   certificates of a fleet's own authority
  qsynth node withdraw --home DIR ...  take back what it has published; ... as for `up`
  qsynth node forget AUTHOR --home DIR never learn from it again, and undo what it brought
""",
    "recipe": """\
qsynth recipe VERB: recipes are data, and can be sent, checked and trusted

  list                 all that are here, of installed packages and added ones too
  show NAME            as it is written
  validate FILE        0 well, 2 wrong, 3 not to be trusted; nothing is composed before the lint
  copy NAME [FILE]     to change it
  add SOURCE [--name]  a path, a pack, https://... or git+https://HOST/REPOSITORY[@REV]#PATH:
                       stored as data, shown, and pinned in qsynth.lock
  pack RUN|NAME        one file with recipe, lock and readme [--out FILE]
  lock [key=value ...] what a run would rest on, by hashes [--out FILE]
  diff A B             what two recipes set differently
""",
    "runs": """\
qsynth runs [FOLDER]: the runs that are there, and what has become of them

  qsynth runs
  --json
""",
    "watch": """\
qsynth watch RUN: attach to a run from another terminal; to leave does not end it

  qsynth watch runs/NAME
  --json   a line of JSON for every change
""",
    "explain": """\
qsynth explain WORD: what a setting, a group, an option, a reason of refusal or an exit code means

  qsynth explain dht.ring_size
  qsynth explain peers
  qsynth explain partition=rotations
""",
    "completion": """\
qsynth completion bash|zsh: words that a shell can complete

  source <(qsynth completion bash)
""",
    "packet": """\
qsynth packet VERB: what leaves a node, and what has left it

  audit [+recipe=NAME] [key=value ...]   attack one's own packets, before others do
  show [+recipe=NAME] [--share N]        what a node would publish; --home DIR: what it asks about
  approve --home DIR                     consent to it (publish=ask)
  log --home DIR                         each packet that has left, and to which key: checked
""",
    "config": """\
qsynth config [+recipe=NAME] [key=value ...]: show the composed config

  qsynth config +recipe=cifar_mesh
""",
    "doctor": """\
qsynth doctor [key=value ...]: check ports, clock, files, certificates and data on this host

  qsynth doctor --home DIR mesh=tcp mesh.listen=tcp://0.0.0.0:7700
""",
    "bench": """\
qsynth bench route|kernels|lookup|mesh: measure the routing, the kernels and the mesh

  qsynth bench route --nodes 1000,10000 --strategy rings,exact --dead 0,0.3
""",
    "warmup": """\
qsynth warmup: compile the routing kernels beforehand
""",
}


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
        print(VERBS[verb], end="")
        return 0
    try:
        return _dispatch(verb, rest)
    except QsynthError as error:
        print(f"qsynth: {error}", file=sys.stderr)
        return error.exit_code
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
        print(f"qsynth: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("qsynth: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _dispatch(verb: str, rest: list[str]) -> int:
    """Import the verb's module alone, and run it."""
    home = {"config": "composed"}.get(verb, verb)
    module = importlib.import_module(f"qsynth.cli.{home}")
    code: int = module.main(rest)
    return code
