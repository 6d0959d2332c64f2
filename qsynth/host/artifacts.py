"""What a node leaves behind: its predictor, its checkpoint, its result."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningModule

from qsynth.cohort.service import Cohorts
from qsynth.encoder.config import ModuleEncoder
from qsynth.encoder.pretrained import Pretrained
from qsynth.errors import StateError
from qsynth.files import write_json
from qsynth.host.recorder import Recorder
from qsynth.model import make_network
from qsynth.model.base import described
from qsynth.pipeline.participant import Participant
from qsynth.pipeline.predictor import Predictor
from qsynth.protocol.node import Node
from qsynth.sums.tree import SumTree
from qsynth.training.export import load_predictor, save_predictor
from qsynth.training.plan import NodePlan, RunPlan


def write_predictor(
    plan: RunPlan, node: NodePlan, participant: Participant, network: LightningModule
) -> float:
    """Write predictor and checkpoint; return the head's weight.  Raises StateError."""
    folder = plan.node_folder(node)
    predictor = participant.predictor(network)
    model = described(node.model)
    try:
        encoder = asdict(plan.encoder_config)
        save_predictor(predictor, folder / "predictor.pt", encoder, model, plan.backbone)
        torch.save({"state_dict": network.state_dict()}, folder / "checkpoint.ckpt")
    except (OSError, RuntimeError) as error:  # torch raises RuntimeError on a full disk
        first = str(error).splitlines()[0]
        raise StateError(f"{folder}: its predictor cannot be written ({first})") from None
    weight: Any = predictor.head_weight
    return float(weight)


def read_predictor(plan: RunPlan, node: NodePlan, path: Path | None = None) -> Predictor:
    """Return what a node has left, or another predictor of it, to take the plan's own inputs.

    Raises DataError.
    """
    own = make_network(node.model, plan.data.task) if node.model.own else None
    # What the run's config names is trusted by now; what a file in its folder names is not.
    config = plan.encoder_config
    trust = [config.target] if isinstance(config, ModuleEncoder) else []
    if isinstance(config, Pretrained):
        trust = list(config.located_files().values())
    path = path or plan.node_folder(node) / "predictor.pt"
    return load_predictor(path, own, trust=trust, on_features=True)


def write_result(
    plan: RunPlan,
    node: NodePlan,
    machine: Node,
    participant: Participant,
    recorder: Recorder,
    **more: Any,
) -> None:
    """Write `result.json`: what happened to a node, in numbers."""
    rejected = Counter(
        {
            key.removeprefix("rejected_"): count
            for key, count in machine.counts.items()
            if key.startswith("rejected_")
        }
    )
    own = machine.own_packet
    tree = machine.service(SumTree)
    sums = [] if tree is None else list(tree.parts().values())
    cohorts = machine.service(Cohorts)
    synthesis = participant.synthesis
    result = {
        "name": node.name,
        "id": machine.me.hex(),
        "architecture": node.architecture,
        "group": node.share.group,
        "published": recorder.events["publish"],
        "packet_bytes": len(own[1]) if own else 0,
        "fetched": recorder.events["fetch"],
        "admitted": recorder.events["admit"],
        "rejected": dict(rejected),
        "authors": sorted(author.hex() for author in machine.authors()),
        "used": sorted(author.hex() for author in synthesis.authors) if synthesis else [],
        "usefulness": {
            author.hex(): {k: round(v, 5) for k, v in asdict(useful).items()}
            for author, useful in participant.usefulness.items()
        },
        "fell_back": participant.fell_back,
        "privacy": participant.budget.told(),
        "cohort": cohorts.told.members if cohorts and cohorts.told else None,
        "network_lost": participant.lost,
        "ever_used": sorted(author.hex() for author in participant.used),
        "sums": {
            "packets": len(sums),
            "authors": sum(len(part.leaves) for part in sums),
            "loss": max((part.loss for part in sums), default=0.0),
        },
        "traffic": recorder.traffic(),
        "counts": {**machine.counts, **{f"rpc_{k}": v for k, v in machine.rpc.counts.items()}},
        **more,
    }
    write_json(plan.node_folder(node) / "result.json", result)
