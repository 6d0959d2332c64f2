"""A do-no-harm certificate: what a node gained, on samples of its own that served nothing else."""

from __future__ import annotations

import html
import json
import math
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from qsynth.errors import ConfigError, DataError
from qsynth.evaluation.gain import Z
from qsynth.experiment.build import LEAST_AUDITED
from qsynth.experiment.lone_arms import arm_digest, kept, unlogged
from qsynth.files import write_json
from qsynth.host.artifacts import read_predictor
from qsynth.host.plan_node import make_participant
from qsynth.pipeline.participant import Lonely
from qsynth.pipeline.predictor import Predictor
from qsynth.training.fit import begin_worker, fit, quietly
from qsynth.training.plan import NodePlan, RunPlan
from qsynth.training.provenance import check_trained

_shared: list[RunPlan] = []  # what forked workers inherit
Rights = npt.NDArray[np.bool_]


def certify(plan: RunPlan, recipe_sha256: str) -> list[dict[str, Any]]:
    """Return and write a certificate for every node of a run that has left a predictor.

    A node that has left none is told of by `uncertified`.

    Each node is trained once more without peers, by the same recipe and seed, and both predictors
    answer the node's audit samples.  Raises ConfigError where there are none, or where a node was
    trained with other settings than the plan's.
    """
    if not plan.data.task.classified:
        raise ConfigError("certificate: of tasks of classes alone")
    if not any(len(node.final.share.audit) for node in plan.nodes):
        raise ConfigError(
            "partition.audit_share=0.0: a certificate needs samples that served "
            "nothing else; set partition.audit_share=.25"
        )
    missing = uncertified(plan)
    done = [node for node in plan.nodes if node.name not in missing]
    if not done:
        raise DataError(f"{plan.folder}: no node has left a predictor")
    for node in done:
        check_trained(plan, node)
    plan = unlogged(plan)
    only = replace(plan, nodes=tuple(done))
    alone = kept(f"audit-{arm_digest(only, 'alone').hex()}", lambda: {"rights": _alone(plan, done)})
    made = []
    for node, rights in zip(done, alone["rights"], strict=True):
        certificate = _certificate(plan, node, np.array(rights, bool), recipe_sha256)
        folder = plan.node_folder(node)
        write_json(folder / "certificate.json", certificate)
        (folder / "certificate.html").write_text(_page(certificate), encoding="utf-8")
        made.append(certificate)
    return made


def uncertified(plan: RunPlan) -> list[str]:
    """Return the nodes that have left no predictor, and so get no certificate."""
    return [n.name for n in plan.nodes if not (plan.node_folder(n) / "predictor.pt").exists()]


def _alone(plan: RunPlan, nodes: list[NodePlan]) -> list[list[bool]]:
    """Return which audit samples each node answers rightly where it has trained without peers."""
    _shared[:] = [plan]
    try:
        with ProcessPoolExecutor(2, get_context("fork"), initializer=begin_worker) as pool:
            return list(pool.map(_one, nodes))
    finally:
        _shared.clear()


def _one(node: NodePlan) -> list[bool]:
    plan = _shared[0]
    participant = make_participant(plan, node, Lonely())
    network = quietly(lambda: fit(plan, node, participant.exchange))
    rights: list[bool] = _rights(plan, node, participant.predictor(network)).tolist()
    return rights


def _rights(plan: RunPlan, node: NodePlan, predictor: Predictor) -> Rights:
    """Return (n,) whether each audit sample is answered rightly."""
    share = node.final.share
    inputs = share.inputs(plan.data.train_x[share.audit])
    labels = share.labels(plan.data.train_y[share.audit])
    with torch.no_grad():
        answers = predictor.eval()(torch.from_numpy(inputs)).argmax(dim=1).numpy()
    rights: Rights = answers == labels
    return rights


def _certificate(
    plan: RunPlan, node: NodePlan, alone: Rights, recipe_sha256: str
) -> dict[str, Any]:
    folder = plan.node_folder(node)
    mesh = _rights(plan, node, read_predictor(plan, node))
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    gain, low, high = paired_interval(mesh, alone)
    counts = len(mesh)
    verdict = "cannot be excluded: too few audit samples"
    if counts >= LEAST_AUDITED:
        verdict = "excluded" if low >= 0.0 else "found" if high < 0.0 else "not excluded"
    return {
        "node": result["name"],
        "identity": result["id"],
        "recipe_sha256": recipe_sha256,
        "audit_samples": counts,
        "accuracy_alone": float(alone.mean()),
        "accuracy_mesh": float(mesh.mean()),
        "gain": gain,
        "interval_95": [low, high],
        "harm": verdict,
        "authors": result["used"],
        "privacy": result.get("privacy"),
        "cohort": result.get("cohort"),
        "bytes_sent": sum(kind["bytes"] for kind in result["traffic"].values()),
    }


def paired_interval(mesh: Rights, alone: Rights) -> tuple[float, float, float]:
    """Return the difference of two accuracies on the same samples, and its 95 % interval.

    mesh, alone: (n,).  Source: Agresti & Min 2005, section 2.2: half a sample is added to each of
    the four cells.
    """
    gained = float((mesh & ~alone).sum()) + 0.5
    lost = float((~mesh & alone).sum()) + 0.5
    total = len(mesh) + 2.0
    middle = (gained - lost) / total
    spread = Z * math.sqrt(max(gained + lost - (gained - lost) ** 2 / total, 0.0)) / total
    gain = float(mesh.mean() - alone.mean()) if len(mesh) else 0.0
    return gain, max(middle - spread, -1.0), min(middle + spread, 1.0)


def told(made: dict[str, Any]) -> str:
    """Return a certificate in one line."""
    low, high = made["interval_95"]
    return (
        f"{made['node']}: {100 * made['gain']:+.1f} points on {made['audit_samples']} audit "
        f"samples ({100 * low:+.1f} to {100 * high:+.1f}); harm: {made['harm']}"
    )


def _privacy(made: dict[str, Any]) -> str:
    """Return the guarantee under which a node has sent something, spent and left."""
    said, members = made["privacy"], made["cohort"]
    told = [f"its part in one sum over {members} nodes"] if members else []
    if said is None:
        told.append("no epsilon is stated")
    else:
        told.append(
            f"epsilon {said['epsilon']:g} (delta {said['delta']:g}; {said['neighbours']}): "
            f"{said['spent']:.3g} spent in {said['releases']} releases, {said['left']:.3g} left"
        )
    return "; ".join(told)


def _page(made: dict[str, Any]) -> str:
    low, high = made["interval_95"]
    rows = {
        "Node": made["node"],
        "Identity (SHA-256 of its public key)": made["identity"],
        "Recipe (SHA-256)": made["recipe_sha256"],
        "Audit samples": made["audit_samples"],
        "Right alone": f"{100 * made['accuracy_alone']:.1f} %",
        "Right with peers": f"{100 * made['accuracy_mesh']:.1f} %",
        "Gain": f"{100 * made['gain']:+.1f} points, 95 % interval {100 * low:+.1f} to "
        f"{100 * high:+.1f} (Agresti and Min 2005)",
        "Harm": made["harm"],
        "Learned from": ", ".join(author[:16] for author in made["authors"]) or "nobody",
        "Sent, all told": f"{made['bytes_sent'] / 1024:.0f} KiB",
        "Privacy of what was sent": _privacy(made),
    }
    body = "".join(
        f"<tr><th scope=row>{html.escape(k)}</th><td>{html.escape(str(v))}</td></tr>"
        for k, v in rows.items()
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Certificate of {html.escape(str(made["node"]))}</title><style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto;
  padding: 0 1rem; }}
th, td {{ text-align: left; vertical-align: top; padding: .4rem .8rem .4rem 0;
  border-bottom: 1px solid #8886; overflow-wrap: anywhere; }} table {{ border-collapse: collapse; }}
</style></head><body><h1>Do-no-harm certificate</h1>
<p>What one node gained by learning from its peers, on samples of its own that no training, no
choice and no packet has used, against the same node trained alone by the same recipe.</p>
<table>{body}</table></body></html>
"""
