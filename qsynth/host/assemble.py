"""Put a node together from its configs: for every driver the same node."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from qsynth.cohort.service import Cohorts
from qsynth.dht.config import Rings
from qsynth.distill import read_evidence
from qsynth.identity import Identity
from qsynth.identity.vouchers import Vouchers
from qsynth.mesh.transport import MeshOptions
from qsynth.peers import make_peers
from qsynth.peers.base import adds_statistics
from qsynth.pipeline.publication import Rules
from qsynth.protocol.node import Node
from qsynth.protocol.service import Service
from qsynth.records.service import Records
from qsynth.similarity import fingerprint, fingerprint_size
from qsynth.sums.tree import SumTree
from qsynth.trust import Admission
from qsynth.trust.config import Checks
from qsynth.types import NodeId, Task


def assemble(
    task: Task,
    encoder_digest: bytes,
    rules: Rules,
    *,
    trust: Checks,
    peers: Any,
    dht: Rings,
    mesh: MeshOptions,
    identity: Identity,
    address: str,
    epoch_s: float,
    seed: int,
    rpc_seed: int | None = None,
    wanted: Sequence[NodeId] | None = None,
    vouchers: Vouchers | None = None,
) -> Node:
    """Return a node's state machine.

    address: where others reach it.  epoch_s: seconds since the epoch at 0 of the driver's clock.
    rpc_seed: of request numbers, in simulations.  wanted: the authors that `peers` oracle and
    central name, in simulations.  vouchers: of a fleet with an authority.
    """
    admission = Admission(
        config=trust,
        task=task,
        task_digest=task.digest(),
        encoder_digest=encoder_digest,
        read=partial(read_evidence, rule=rules.reader),
        sketch=partial(fingerprint, rules.similarity),
    )
    return Node(
        identity,
        address,
        fingerprint_size(rules.similarity, task.sketched),
        admission,
        make_peers(peers, seed, wanted, rules.similarity.likeness),
        dht,
        mesh,
        rules.distill.ttl_s,
        epoch_s,
        seed,
        rpc_seed,
        vouchers,
        _services(rules, peers, seed, simulated=rpc_seed is not None),
    )


def _services(
    rules: Rules, peers: Any, seed: int, *, simulated: bool
) -> list[Callable[[Node], Service]]:
    """Return what makes the services of a node."""
    services: list[Callable[[Node], Service]] = [Records]
    if adds_statistics(peers):
        statistics = rules.distill.statistics()
        services.append(
            partial(
                SumTree,
                config=peers,
                alike=rules.similarity.likeness,
                rank=statistics.rank if peers.rank is None else peers.rank,
                input_rank=statistics.input_rank or 0,
                piece_bytes=rules.distill.max_bytes,
                seed=seed,
            )
        )
    if rules.privacy.pooled:
        # In a simulation what is drawn follows from the seed, so that runs can be done again.
        draw = np.random.default_rng([seed, 31]).bytes if simulated else os.urandom
        services.append(partial(Cohorts, alike=rules.similarity.likeness, draw=draw))
    return services
