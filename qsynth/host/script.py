"""What a script gives to join a mesh, checked by the rules and in the words of a command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from qsynth.data.samples import (
    check_range,
    check_shape,
    check_targets,
    class_indices,
    inputs_of,
    targets,
)
from qsynth.dht.config import OPTIONS as DHT
from qsynth.distill.options import OPTIONS as DISTILL
from qsynth.encoder.config import FITTING
from qsynth.encoder.options import OPTIONS as ENCODER
from qsynth.errors import ConfigError, DataError, choice_rule, nearest_spelling
from qsynth.host.consent import ASK, AUTO, NEVER
from qsynth.identity import Identity
from qsynth.identity.file import identity_of
from qsynth.mesh.options import OPTIONS as MESH
from qsynth.mesh.tcp import Tcp
from qsynth.peers.base import check_live_peers
from qsynth.peers.options import OPTIONS as PEERS
from qsynth.pipeline.checks import check_node, rule_of_distillation
from qsynth.pipeline.publication import MIN_TRAINING, Rules, Samples
from qsynth.pipeline.target_pipeline import check_task
from qsynth.privacy.options import OPTIONS as PRIVACY
from qsynth.registry import with_packages
from qsynth.schema import name_of
from qsynth.similarity.options import OPTIONS as SIMILARITY
from qsynth.synthesis.options import OPTIONS as SYNTHESIS
from qsynth.training.config import MOST_SEED, Trainer
from qsynth.trust.config import OPTIONS as TRUST
from qsynth.types import Floats32, Task

BEST, LAST = "best", "last"
OURS: dict[str, Mapping[str, type]] = {
    "encoder": ENCODER,
    "distill": DISTILL,
    "similarity": SIMILARITY,
    "synthesis": SYNTHESIS,
    "privacy": PRIVACY,
    "peers": PEERS,
    "trust": TRUST,
    "dht": DHT,
    "mesh": MESH,
}
GROUPS = with_packages(OURS)


@dataclass(frozen=True)
class Script:
    """Hold what a script's node is made of: all of it checked."""

    task: Task
    samples: Samples
    rules: Rules
    encoder: Any
    peers: Any
    trust: Any
    dht: Any
    mesh: Tcp
    period_steps: int
    seed: int
    home: Path | None
    identity: Path | None
    record: Path | None
    publish: str
    weights: str

    def __post_init__(self) -> None:
        """Raise ConfigError where two places contradict each other, or one is missing."""
        if self.home is not None and self.identity is not None:
            raise ConfigError(f"identity={self.identity}: home={self.home} has one; give one")
        if self.rules.privacy.guarded and self.home is None:
            name = name_of(self.rules.privacy)
            raise ConfigError(f"privacy={name}: needs home=FOLDER, which keeps what is spent")
        if self.publish == ASK and self.home is None:
            raise ConfigError("publish=ask: needs home=FOLDER, where `qsynth packet approve` looks")


def checked_script(
    *,
    task: Any,
    train: Any,
    validation: Any,
    join: Any,
    listen: Any,
    period_steps: Any,
    seed: Any,
    home: Any,
    identity: Any,
    record: Any,
    publish: Any,
    weights: Any,
    unlabelled: Any,
    reference: Any,
    **options: Any,
) -> Script:
    """Return the script's node.  Raises ConfigError or DataError, one line each."""
    if not isinstance(task, Task):
        raise ConfigError(f"task={type(task).__name__}: must be a qsynth.Task")
    made = {name: _option(name, options[name], task) for name in GROUPS}
    mesh = _mesh(made["mesh"], join, listen)
    made["encoder"].check_layout(task.layout)
    mesh.check_live()
    check_live_peers(made["peers"])
    distill, synthesis = made["distill"], made["synthesis"]
    check_node(
        distill,
        made["similarity"],
        synthesis,
        made["peers"],
        made["dht"],
        mesh,
        unlabelled is not None,
        made["encoder"],
        made["privacy"],
    )
    rule = rule_of_distillation(distill, synthesis)
    rules = Rules(rule, made["similarity"], synthesis, made["privacy"].situated())
    check_task(task, rules)
    if distill.public_set and reference is None:
        raise ConfigError(f"JoinMesh.reference: distill={distill.name} needs a public set")
    return Script(
        task=task,
        samples=_samples(task, train, validation, unlabelled, reference),
        rules=rules,
        encoder=made["encoder"],
        peers=made["peers"],
        trust=made["trust"],
        dht=made["dht"],
        mesh=mesh,
        period_steps=Trainer(period_steps=period_steps).period_steps,
        seed=_seed(seed),
        **_places(home, identity, record),
        publish=_word("publish", publish, (AUTO, ASK, NEVER)),
        weights=_word("weights", weights, (BEST, LAST)),
    )


def _option(group: str, given: Any, task: Task) -> Any:
    """Return an option of a group: as given, or what a run has by default."""
    known = GROUPS[group]
    if given is None:
        name = {
            "encoder": FITTING[task.layout],
            "mesh": "tcp",
            "synthesis": "hierarchical",
            "peers": "semantic",
        }.get(group, next(iter(known)))
        return known[name]()
    if type(given) not in known.values():
        names = [kind.__name__ for kind in known.values()]
        word = given if isinstance(given, str) else type(given).__name__
        nearest = nearest_spelling(word, names)
        again = word in known or nearest.startswith("; known")  # the rule names them already
        raise ConfigError(
            f"{group}={word}: must be an option of the group, qsynth.{', '.join(names)}"
            f"{'' if again else nearest}"
        )
    return given


def _mesh(mesh: Any, join: Any, listen: Any) -> Any:
    """Return the mesh settings with what was given beside them."""
    for key, given in (("join", join), ("listen", listen)):
        if given is None or not isinstance(mesh, Tcp):
            continue
        if getattr(mesh, key):
            raise ConfigError(
                f"mesh.{key}={getattr(mesh, key)}: is given beside {key}={given}; give one of them"
            )
        named: dict[str, Any] = {key: given}
        mesh = replace(mesh, **named)
    return mesh


def _word(key: str, given: Any, known: tuple[str, ...]) -> str:
    if given not in known:
        raise ConfigError(f"{key}={given}: {choice_rule(str(given), known)}")
    return str(given)


def _seed(given: Any) -> int:
    whole = isinstance(given, (int, np.integer)) and not isinstance(given, bool)
    if not whole:
        raise ConfigError(f"seed={given}: must be a whole number")
    if not 0 <= given <= MOST_SEED:
        raise ConfigError(f"seed={given}: must be >= 0 and <= {MOST_SEED}")
    return int(given)


def _places(home: Any, identity: Any, record: Any) -> dict[str, Path | None]:
    made: dict[str, Path | None] = {}
    for key, given in (("home", home), ("identity", identity), ("record", record)):
        if given is not None and not isinstance(given, (str, Path)):
            raise ConfigError(f"{key}={type(given).__name__}: must be a path")
        made[key] = None if given is None else Path(given).expanduser()
    for key in ("identity", "record"):
        path = made[key]
        if path is not None and (path.is_dir() or not path.parent.is_dir()):
            raise ConfigError(f"{key}={path}: must be a file in a folder that is there")
    if made["home"] is not None and made["home"].is_file():
        raise ConfigError(f"home={made['home']}: must be a folder")
    return made


def _samples(task: Task, train: Any, validation: Any, unlabelled: Any, reference: Any) -> Samples:
    x, y = pair_of(task, train, "train")
    if len(y) < MIN_TRAINING:
        raise DataError(f"train: {len(y)} training samples, a node needs {MIN_TRAINING}")
    further = None if unlabelled is None else _inputs(task, unlabelled, "unlabelled")
    public = None if reference is None else _inputs(task, reference, "reference")
    return Samples(x, y, *pair_of(task, validation, "validation", empty=True), further, public)


def _inputs(task: Task, given: Any, source: str, empty: bool = False) -> Floats32:
    x = inputs_of(given, source, empty=empty)
    check_shape(x, task, source)
    check_range(x, task, source)
    return x


def pair_of(task: Task, pair: Any, source: str, empty: bool = False) -> tuple[Floats32, Any]:
    """Return own samples (x, y), as a node keeps them."""
    if not (isinstance(pair, (tuple, list)) and len(pair) == 2):
        told = f"{len(pair)} of them" if isinstance(pair, (tuple, list)) else type(pair).__name__
        raise DataError(f"{source}: must be a pair (x, y) of arrays, got {told}")
    x = _inputs(task, pair[0], source, empty)
    if not len(x):
        none = np.zeros(0, np.int64) if task.classified else np.zeros((0, task.classes), np.float32)
        return x, none
    if task.classified:
        y: Any = class_indices(pair[1], source, names=task.labels, classes=task.classes)
    else:
        y = targets(pair[1], task.kind, source)
        check_targets(y, task, source)
        if y.shape[1] != task.classes:
            raise DataError(f"{source}: y has {y.shape[1]} columns, not the task's {task.classes}")
    if len(y) != len(x):
        raise DataError(f"{source}: x has {len(x)}, y has {len(y)} samples; they must be as many")
    return x, y


def identity_for(script: Script) -> Identity:
    """Return the node's key pair: of its home, of its file, or a new one."""
    if script.home is not None:
        return identity_of(script.home)
    if script.identity is None:
        return Identity.random()
    try:
        if script.identity.exists():
            return Identity.load(script.identity)
        made = Identity.random()
        made.save(script.identity)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"identity={script.identity}: is no key file ({error})") from None
    return made
