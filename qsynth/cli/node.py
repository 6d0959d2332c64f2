"""`qsynth node up|id`: one node on one host."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from qsynth.cli.options import parse
from qsynth.errors import ConfigError, nearest_spelling
from qsynth.mesh.address import check_address, is_any, is_loopback
from qsynth.mesh.config import Tcp
from qsynth.placement.config import Processes
from qsynth.run.config import RunConfig

VERBS = ("up", "id")
DEFAULT_HOME = "node"


def main(words: list[str]) -> int:
    """Run one node, or show who it is."""
    verb = words[0] if words else ""
    if verb not in VERBS:
        raise ConfigError(f"node {verb}: no such verb{nearest_spelling(verb, VERBS)}")
    return _id(words[1:]) if verb == "id" else _up(words[1:])


def _id(words: list[str]) -> int:
    options = parse(words, ("--home",))
    if options.overrides:
        raise ConfigError(f"node id {options.overrides[0]}: takes --home alone")
    from qsynth.identity.file import identity_of

    print(identity_of(Path(options.own.get("--home", DEFAULT_HOME))).id.hex())
    return 0


def _up(words: list[str]) -> int:
    options = parse(words, ("--home", "--share"))
    home, share = Path(options.own.get("--home", DEFAULT_HOME)), options.own.get("--share", "0")
    if not share.isdecimal():
        raise ConfigError(f"--share={share}: must be a whole number, whose data it has")
    from qsynth.recipe.compose import compose

    config = compose(options.overrides, options.trusted).config
    check_mesh(config)
    sys.path.insert(0, "")
    from qsynth.placement.one import run_one
    from qsynth.run.build import build

    plan = build(replace(config, placement=Processes()), home)  # whatever a run would do
    if int(share) >= len(plan.nodes):
        raise ConfigError(f"--share={share}: the fleet has {len(plan.nodes)} shares, from 0")

    def tell(line: str) -> None:
        if not options.quiet:
            print(line, flush=True)

    run_one(plan, plan.nodes[int(share)], tell)
    return 0


def check_mesh(config: RunConfig) -> None:
    """Raise ConfigError where a node on a host of its own could not be reached, or by anyone."""
    mesh = config.mesh
    if not isinstance(mesh, Tcp):
        raise ConfigError(f"mesh.name={mesh.name}: `node up` needs mesh=tcp")
    if config.peers.name in ("oracle", "central"):
        raise ConfigError(f"peers.name={config.peers.name}: knows more than a node can")
    check_address("mesh.listen", mesh.listening, free_port=True)
    host = mesh.listening.removeprefix("tcp://").rpartition(":")[0]
    if mesh.advertise:
        check_address("mesh.advertise", mesh.advertise)
    elif is_any(host):
        raise ConfigError(
            f"mesh.listen={mesh.listen}: others cannot dial {host}; set mesh.advertise="
            "tcp://NAME:PORT, where they reach this host"
        )
    for address in mesh.join:
        check_address("mesh.join", address)
    if not is_loopback(host) and not mesh.insecure:
        raise ConfigError(
            f"mesh.listen={mesh.listening}: beyond loopback anyone could read and join, there is "
            "no TLS yet; set mesh.insecure=true where the network itself is trusted"
        )
