"""`qsynth packet`: what leaves a node, what it gives away, consent to it, and what has left."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from qsynth.cli.options import DEFAULT_HOME, Options, parse
from qsynth.errors import ConfigError, nearest_spelling
from qsynth.host.consent import PENDING, approve
from qsynth.host.ledger import NAME as LEDGER
from qsynth.host.ledger import read_ledger
from qsynth.recipe.compose import compose

VERBS = ("audit", "show", "approve", "log")


def main(words: list[str]) -> int:
    """Look at packets."""
    verb = words[0] if words else ""
    if verb not in VERBS:
        raise ConfigError(f"packet {verb}: no such verb{nearest_spelling(verb, VERBS)}")
    return {"audit": _audit, "show": _show, "approve": _approve, "log": _log}[verb](words[1:])


def _home(options: Options, verb: str) -> Path:
    if options.overrides:
        raise ConfigError(f"packet {verb} {options.overrides[0]}: takes --home alone")
    return Path(options.own.get("--home", DEFAULT_HOME))


def _show(words: list[str]) -> int:
    """Print what a node would publish: of a recipe's share, or what a node asks about."""
    options = parse(words, ("--home", "--share"))
    if "--home" in options.own:
        made = _pending(_home(options, "show"))
    else:
        composed = compose(options.overrides, options.trusted).with_data()
        from qsynth.experiment.build import build
        from qsynth.host.consent import described
        from qsynth.host.plan_node import make_pipeline
        from qsynth.placement.config import Simulate
        from qsynth.training.fit import single_threaded

        single_threaded()
        share = options.own.get("--share", "0")
        plan = build(replace(composed.config, placement=Simulate()), Path())
        if not share.isdecimal() or int(share) >= len(plan.nodes):
            raise ConfigError(f"--share={share}: must be from 0 to {len(plan.nodes) - 1}")
        made = described(make_pipeline(plan, plan.nodes[int(share)]).distil())
    if options.json:
        print(json.dumps(made))
        return 0
    print(
        f"{made['payload_bytes']} bytes of {made['samples']} samples, digest {made['digest'][:16]}"
    )
    if made["samples_by_class"] is not None:
        print(f"samples by class: {', '.join(map(str, made['samples_by_class']))}")
    for name, shape in made["arrays"].items():
        print(f"  {name:16} {shape}")
    if made["privacy"] is not None:
        print(f"noise of {made['privacy']:.3f} sensitivities is in all that leaves")
    if made.get("members") is not None:  # of a node that asked before there were cohorts: none
        print(
            f"nothing of this leaves but {sum(made['numbers'])} numbers under masks, which cancel "
            f"in the sum of at least {made['members']} nodes"
        )
        return 0
    print(
        "around it: task and encoder hashes, the author's public key, a number, times, a signature"
    )
    return 0


def _pending(home: Path) -> dict[str, Any]:
    try:
        made: dict[str, Any] = json.loads((home / PENDING).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ConfigError(f"--home={home}: no packet waits there for consent") from None
    return made


def _approve(words: list[str]) -> int:
    """Consent to what a node with publish=ask wants to publish."""
    home = _home(parse(words, ("--home",)), "approve")
    digest = approve(home)
    if digest is None:
        raise ConfigError(f"--home={home}: no packet waits there for consent")
    print(f"approved: {digest[:16]}; it leaves in the next period")
    return 0


def _log(words: list[str]) -> int:
    """Check and print the ledger of a node: each packet that has left it, and to which key."""
    options = parse(words, ("--home",))
    home = _home(options, "log")
    path = home / LEDGER
    if not path.exists():
        raise ConfigError(f"--home={home}: no ledger there ({LEDGER})")
    lines = read_ledger(path)
    if options.json:
        print(json.dumps(lines))
        return 0
    for line in lines:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(line["time"]))
        numbers = line.get("payload", "")[:16]
        print(
            f"{at}  packet {line['version']} ({line['bytes']} bytes, numbers {numbers}) "
            f"{line['how']} by {line['to'][:16]}"
        )
    last = lines[-1]["hash"][:16] if lines else "none"
    print(f"{len(lines)} lines, the chain is whole; its last hash is {last}")
    return 0


def _audit(words: list[str]) -> int:
    """Attack the packets of a recipe's nodes; print how much they give away."""
    options = parse(words)
    composed = compose(options.overrides, options.trusted).with_data()
    from qsynth.experiment.audit import audit
    from qsynth.experiment.build import build
    from qsynth.placement.config import Simulate
    from qsynth.training.fit import single_threaded

    single_threaded()
    made = audit(build(replace(composed.config, placement=Simulate()), Path()))
    if options.json:
        print(json.dumps(made))
        return 0

    def shown(key: str, digits: int = 2) -> str:
        value = made[key]
        return "-" if value is None else f"{value:.{digits}f}"

    def area(key: str) -> str:
        within = made[f"{key}_interval"]
        return shown(key) + (f" ({within[0]:.2f} to {within[1]:.2f})" if within else "")

    print(
        f"{made['name']}: packets of {shown('bytes', 0)} bytes from {shown('samples', 0)} samples, "
        f"{shown('d', 0)} features\n"
        "AUC with its 95 % interval; .5: nothing learned\n"
        f"membership, by class means       AUC {area('membership_auc')}\n"
        f"membership, by the scatter       AUC {area('scatter_auc')}\n"
        f"membership, by the fingerprint   AUC {area('fingerprint_auc')}\n"
        f"membership, by the images        AUC {area('mosaic_auc')}\n"
        f"inversion: a class mean picks a sample out of {made['candidates']} others   "
        f"{shown('inversion_rate')}\n"
        f"difference: the sample between two packets is found   "
        f"{shown('difference_rate')}\n"
        + (
            f"epsilon: {made['epsilon']:g} is stated; who knows all records but one, and sees very "
            f"many packets, refutes each below {shown('epsilon_refuted')}\n"
            if made["epsilon"] is not None
            else ""
        )
        + f"The attacker holds {made['references']} reference samples; stronger attacks may exist."
    )
    return 0
