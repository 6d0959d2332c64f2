"""`qsynth node`: one node on one host: run it, name it, take back what it has said."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from qsynth.cli.options import DEFAULT_HOME, parse
from qsynth.config.run import RunConfig
from qsynth.errors import ConfigError, MeshError, nearest_spelling, printable
from qsynth.peers.base import check_live_peers
from qsynth.placement.config import Processes
from qsynth.types import config_digest

if TYPE_CHECKING:
    from qsynth.experiment.growing import GrowingFile
    from qsynth.host.log import Log
    from qsynth.host.server import Settings
    from qsynth.recipe.compose import Composed
    from qsynth.training.plan import NodePlan, RunPlan

VERBS = ("up", "id", "keys", "status", "withdraw", "forget", "certificate")
PRIVATE = 0o077  # a node's home holds what it knows and who it is: nobody else reads it
WITHDRAW_S = 60.0  # to find others and to hear from them
# What the mesh side needs to know of the data follows from these settings.
MADE_FROM = ("data", "task", "encoder", "partition", "fleet", "seed")


def main(words: list[str]) -> int:
    """Run one node, or show who it is."""
    verb = words[0] if words else ""
    if verb not in VERBS:
        raise ConfigError(f"node {verb}: no such verb{nearest_spelling(verb, VERBS)}")
    each = {
        "id": _id,
        "keys": _keys,
        "up": _up,
        "status": _status,
        "withdraw": _withdraw,
        "forget": _forget,
        "certificate": _certificate,
    }
    before = os.umask(PRIVATE)
    try:
        return each[verb](words[1:])
    finally:
        os.umask(before)


def _id(words: list[str]) -> int:
    options = parse(words, ("--home",))
    if options.overrides:
        raise ConfigError(f"node id {options.overrides[0]}: takes --home alone")
    from qsynth.identity.file import identity_of

    print(identity_of(Path(options.own.get("--home", DEFAULT_HOME))).id.hex())
    return 0


def _keys(words: list[str]) -> int:
    from qsynth.cli.keys import main as carry_out

    return carry_out(words)


def _status(words: list[str]) -> int:
    """Tell what a node that runs on this machine knows of itself."""
    options = parse(words, ("--home",))
    if options.overrides:
        raise ConfigError(f"node status {options.overrides[0]}: takes --home alone")
    from qsynth.host.status import ask, in_words

    status = ask(Path(options.own.get("--home", DEFAULT_HOME)))
    for line in [json.dumps(status)] if options.json else in_words(status):
        print(printable(line))
    return 0


@dataclass(frozen=True)
class _Given:
    """What a node is told on the command line."""

    home: Path
    share: int
    config: RunConfig
    settings: Settings
    made_from: bytes
    log: Log
    recipe: bytes
    json: bool


def _given(words: list[str]) -> _Given:
    options = parse(words, ("--home", "--share"))
    home, share = Path(options.own.get("--home", DEFAULT_HOME)), options.own.get("--share", "0")
    if not share.isdecimal():
        raise ConfigError(f"--share={share}: must be a whole number, whose data it has")
    from qsynth.host.log import Log, LogOptions
    from qsynth.recipe.compose import compose

    log, overrides = LogOptions.take(options.overrides)
    composed = _known(compose(overrides, options.trusted), home).with_data()
    config = replace(composed.config, placement=Processes())  # whatever a run would do
    config.mesh.check_live()
    config.growth.check_live()
    check_live_peers(config.peers)
    from qsynth.host.server import Settings
    from qsynth.pipeline.publication import Rules

    rules = Rules(config.distill, config.similarity, config.synthesis, config.privacy)
    settings = Settings(rules, config.trust, config.peers, config.dht, config.mesh, config.publish)
    made_from = config_digest([share, *(composed.values[key] for key in MADE_FROM)])
    lines = Log(log, options.quiet)
    return _Given(
        home, int(share), config, settings, made_from, lines, composed.recipe, options.json
    )


def _known(composed: Composed, home: Path) -> Composed:
    """Return the same with no more rows of a file that grows than the home knows of.

    Those that came later may be wrong, or in the writing: they must not keep a node from its start.
    """
    config = composed.config
    if not config.growth.live:
        return composed
    from qsynth.host.history import History

    ends = History.load(home).ends
    data = config.data.ended(ends) if ends else config.data
    return replace(composed, config=replace(config, data=data))


def _planned(given: _Given) -> tuple[RunPlan, NodePlan]:
    """Return the plan, and the node that is meant.  Raises ConfigError where it has none."""
    from qsynth.experiment.build import build

    plan = replace(build(given.config, given.home, whole=False), home=given.home)
    return plan, plan.shared(given.share)


def _certificate(words: list[str]) -> int:
    """Tell and write what the node in --home has gained, on its audit samples."""
    given = _given(words)
    if given.config.growth.live:
        raise ConfigError(
            "growth=file: no certificate: it would be of samples that the node has chosen after it "
            "had trained; certify before rows are added, with growth=none"
        )
    from qsynth.experiment.certificate import certify, told
    from qsynth.host.server import Card
    from qsynth.recipe.pins import sha256

    plan, node = _planned(given)
    plan = replace(plan, publish="auto")  # it asks and sends nothing
    if not (plan.node_folder(node) / "predictor.pt").exists():
        card = Card.load(given.home, None)
        whose = f"it holds {card.name}: give its --share" if card else "no node has trained there"
        raise ConfigError(f"--share={given.share}: {given.home} has no {node.name}; {whose}")
    made = next(m for m in certify(plan, sha256(given.recipe)) if m["node"] == node.name)
    if given.json:
        print(json.dumps(made))
    else:
        given.log.tell(told(made))
        given.log.tell(f"its page is {plan.node_folder(node) / 'certificate.html'}")
    return 0


def _up(words: list[str]) -> int:
    given = _given(words)
    from qsynth.host.server import Card, Serving

    card = Card.load(given.home, given.made_from)
    # Who was killed answers again before torch is imported and the data are read.
    serving = Serving(card, given.settings, given.home, given.log) if card else None
    try:
        from qsynth.host.daemon import card_of, check_card, run_one

        growing = _growing(given)
        if growing is None:
            plan, node = _planned(given)
            fresh = card_of(plan, node, given.made_from)
        else:
            plan = growing.plan()
            node = plan.shared(given.share)
            fresh = card_of(plan, node, given.made_from, growing.origin)
        check_card(fresh, Card.load(given.home, None) or fresh)
        serving = serving or Serving(fresh, given.settings, given.home, given.log)
        fresh.save(given.home)
        run_one(plan, node, serving, growing)
    finally:
        if serving is not None:
            serving.close()
    given.log.tell("ended: asked to; what it knows is kept")
    given.log.close()
    return 0


def _growing(given: _Given) -> GrowingFile | None:
    """Return what looks at a file that grows; None where no rows come."""
    if not given.config.growth.live:
        return None
    from qsynth.experiment.growing import GrowingFile

    return GrowingFile(given.config, given.home, given.share)


def _withdraw(words: list[str]) -> int:
    """Take back what a node has published; return 0 once all whom it knows have confirmed."""
    given = _given(words)
    from qsynth.host.server import Card, Serving

    card = Card.load(given.home, None)
    if card is None:
        raise ConfigError(f"--home={given.home}: no node has lived there")
    serving = Serving(card, given.settings, given.home, given.log)
    try:
        end, told, confirmed = time.monotonic() + WITHDRAW_S, 0, 0
        while time.monotonic() < end and not serving.stop.is_set():
            if not serving.host.node.alone:
                told, confirmed = serving.host.withdraw()
                if told and confirmed == told:
                    break
            serving.stop.wait(1.0)
    finally:
        serving.close()
    told_of = serving.host.node.withdrawals
    for silent in sorted(told_of.asked - told_of.confirmed):
        given.log.tell(f"not confirmed by {silent.hex()[:16]}")
    given.log.tell(
        f"withdrawn; {confirmed} of {told} nodes have confirmed; those who were away are "
        "told by the others; publish=never keeps a node that goes on silent"
    )
    return 0 if told and confirmed == told else MeshError.exit_code


def _forget(words: list[str]) -> int:
    options = parse(words, ("--home",))
    if len(options.overrides) != 1:
        raise ConfigError("node forget: needs an author's id, e.g. qsynth node forget 1a2b3c4d")
    from qsynth.host.forget import forget

    made = forget(Path(options.own.get("--home", DEFAULT_HOME)), options.overrides[0])
    print(json.dumps(made))
    return 0
