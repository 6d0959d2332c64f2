"""What a node was trained with, noted beside it: figures are of that, and of nothing else."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np

from qsynth.errors import ConfigError, DataError, StateError
from qsynth.schema import changes
from qsynth.training.plan import NodePlan, RunPlan
from qsynth.types import config_digest

NAME = "trained"  # of a node's folder: a line for each life with settings of its own
# Of the trainer: what says where figures go, and when, but not what is trained.
WATCHING = {"logger": "none", "curve_points": 0, "checkpoint_s": 30.0}


def note_trained(plan: RunPlan, node: NodePlan) -> None:
    """Note, before the first step, what a node is about to be trained with.

    Raises StateError where that cannot be written.
    """
    path, line = plan.node_folder(node) / NAME, " ".join(digests(plan, node))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        known = path.read_text(encoding="ascii").splitlines() if path.exists() else []
        if line not in known:
            with path.open("a", encoding="ascii") as file:
                file.write(line + "\n")
    except (OSError, ValueError) as error:
        raise StateError(f"{path}: cannot be read or written ({error})") from None


def check_trained(plan: RunPlan, node: NodePlan) -> None:
    """Raise ConfigError where a node was trained with other settings, or other data, than a plan's.

    Then what the plan calls audit samples may have been trained on.
    """
    path = plan.node_folder(node) / NAME
    try:
        known = path.read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        raise ConfigError(
            f"certificate: {path} is not there: nothing says what {node.name} was trained with; "
            "train it anew"
        ) from None
    audit, settings = digests(plan, node)
    if any(line.split(" ")[0] != audit for line in known):
        raise ConfigError(
            f"certificate: the audit samples of these settings are not those that {node.name} "
            "left aside when it trained; give the data, the task, partition.*, fleet.*, seed and "
            "--share that it trained with"
        )
    if any(line.split(" ")[-1] != settings for line in known):
        raise ConfigError(
            f"certificate: {node.name} was trained with other settings of its model, trainer, "
            "encoder, distill, synthesis, similarity, peers or trust; give those"
        )


def check_same(plan: RunPlan) -> None:
    """Raise DataError where a node of a run was trained on other data than are found now.

    Then test samples may have been trained on.  What older versions have not noted is not checked.
    """
    for node in plan.nodes:
        path = plan.node_folder(node) / NAME
        if not path.exists():
            continue
        try:
            known = path.read_text(encoding="ascii").splitlines()
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: cannot be read ({error})") from None
        if " ".join(digests(plan, node)) not in known:
            raise DataError(
                f"{plan.folder}: {node.name} was trained on other data, or with other settings, "
                "than its config gives now; give the data back as they were, or run anew"
            )


def digests(plan: RunPlan, node: NodePlan) -> tuple[str, str]:
    """Return what stands for a node's audit samples, and for all that its training depends on."""
    share, data = node.final.share, plan.data
    audit = hashlib.sha256()
    for array in (data.train_x[share.audit], data.train_y[share.audit]):
        audit.update(np.ascontiguousarray(array).tobytes())
    audit.update(repr((share.quarter_turns, share.label_map.tolist())).encode())
    rules, trainer = plan.rules, replace(plan.trainer, **WATCHING)  # type: ignore[arg-type]
    settings: dict[str, Any] = {
        "data": data.digest().hex(),
        "batch_size": plan.batch_size,
        "trainer": changes(trainer),
        "model": [type(node.model).__name__, changes(node.model)],
        "seed": node.seed,
        "shares": [_parts(node), _parts(node.final)],
        "drift_period": plan.drift_period,
        "growth": changes(plan.growth),
        "encoder": plan.encoder.digest.hex(),
        # Whose packets it has learned from: the mesh that a certificate is of.
        "peers": [changes(plan.peers), changes(plan.trust)],
        "rules": [changes(rule) for rule in (rules.distill, rules.synthesis, rules.similarity)],
    }
    return audit.hexdigest(), config_digest(settings).hex()


def _parts(node: NodePlan) -> list[str]:
    share = node.share
    parts = (share.train, share.validation, share.audit, share.unlabelled)
    return [config_digest(part.tolist()).hex() for part in (*parts, np.array(share.ends))]
