"""Many nodes in one process, each with sockets of its own: they learn by turns.

One thread computes at a time.  Nodes of one architecture train in one computation where
`placement.learner` is batched; each of the others has its fit on a thread of its own.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Protocol

import torch
from pytorch_lightning import LightningModule
from torch import nn

from qsynth.errors import StateError
from qsynth.host.live_node import HostedNode, run_node
from qsynth.host.time_slices import ask_long_slices
from qsynth.pipeline.teach import Lesson
from qsynth.simulation.batched import BatchedFit, learners_of
from qsynth.simulation.node import Baton
from qsynth.training.checkpoint import NEVER, Checkpoints, no_checkpoint, put_in_place
from qsynth.training.curve_points import keeping
from qsynth.training.fit import fit, quietly, single_threaded
from qsynth.training.learner import Exchange
from qsynth.training.plan import NodePlan, RunPlan
from qsynth.training.stacked import BatchedLearners


def run_nodes(plan: RunPlan, nodes: Sequence[NodePlan], sockets: Path) -> None:
    """Be these nodes from start to end, in this process.  Raises StateError where one has failed.

    sockets: folder of ipc sockets.
    """
    single_threaded()
    if len(nodes) == 1 and not learners_of(plan, nodes):
        run_node(plan, nodes[0], sockets)
        return
    failed: list[str] = []
    hosted = []
    for node in nodes:
        try:
            hosted.append(HostedNode(plan, node, sockets, len(nodes)))
            hosted[-1].start()
        except Exception:
            failed.append(node.name)
            traceback.print_exc()
    hosted = [each for each in hosted if each.node.name not in failed]
    ask_long_slices()
    quietly(lambda: _learn(plan, hosted, failed))
    with ThreadPoolExecutor(max(len(hosted), 1)) as pool:  # each waits for all nodes that it knows
        list(pool.map(HostedNode.wait, [h for h in hosted if h.node.name not in failed]))
    for each in [h for h in hosted if h.node.name not in failed]:
        try:
            each.leave()
        except Exception:
            failed.append(each.node.name)
            traceback.print_exc()
            each.host.close()
    if failed:
        raise StateError(f"failed: {', '.join(failed)}; its log tells why")


class _Fit(Protocol):
    """A node's training, by turns."""

    def turn(self) -> LightningModule | None:
        """Train a period, and exchange; return the network after the last."""


def _learn(plan: RunPlan, hosted: Sequence[HostedNode], failed: list[str]) -> None:
    """Let nodes take turns until all have trained; one that fails leaves the others."""
    learners = learners_of(plan, [each.node for each in hosted])
    fits: list[tuple[HostedNode, _Fit | None]] = [(each, None) for each in hosted]
    while fits:
        left: list[tuple[HostedNode, _Fit | None]] = []
        for each, begun in fits:
            try:
                own = begun or _begin(plan, each, learners)
                network = own.turn()
                if network is None:
                    left.append((each, own))
                else:
                    each.trained(network)
            except Exception:
                failed.append(each.node.name)
                traceback.print_exc()
                each.host.close()
        fits = left


def _begin(plan: RunPlan, hosted: HostedNode, learners: Mapping[int, BatchedLearners]) -> _Fit:
    exchange = keeping(plan, hosted.node, hosted.participant)
    batch = learners.get(hosted.node.index)
    if batch is None:
        return ThreadedTurns(plan, hosted, exchange)
    return BatchedTurns(BatchedFit(plan, hosted.node, batch), hosted, exchange)


class ThreadedTurns:
    """A fit on a stock Trainer, on a thread that runs only in its turn."""

    def __init__(self, plan: RunPlan, hosted: HostedNode, exchange: Exchange) -> None:
        self.plan, self.hosted, self.exchange = plan, hosted, exchange
        self._baton = Baton()
        self._thread: threading.Thread | None = None
        self._network: LightningModule | None = None
        self._error: BaseException | None = None
        self._first = True

    def turn(self) -> LightningModule | None:
        """Train a period, and exchange; return the network after the last."""
        if self._thread is None:
            name = self.hosted.node.name
            self._thread = threading.Thread(target=self._run, name=name, daemon=True)
            self._thread.start()
        self._baton.give()
        if self._error is not None:
            raise self._error
        return self._network

    def _exchanged(self, period: int, network: nn.Module) -> Lesson | None:
        if not self._first:
            self._baton.give_back()
            self._baton.wait()
        self._first = False
        return self.exchange(period, network)

    def _run(self) -> None:
        self._baton.wait()
        try:
            plan, node = self.plan, self.hosted.node
            path = self.hosted.folder / "fit.ckpt"
            keeper = Checkpoints(path, plan.trainer.checkpoint_s, NEVER)
            network = fit(plan, node, self._exchanged, keeper)
            if self.hosted.participant.synthesis is None:  # it had ended in an earlier life
                self.exchange(plan.trainer.periods, network)
            self._network = network
        except BaseException as error:  # handed to the thread that gives turns, which raises it
            self._error = error
        finally:
            self._baton.give_back()


class BatchedTurns:
    """A fit among those that train in one computation; it keeps a checkpoint of its own."""

    def __init__(self, own: BatchedFit, hosted: HostedNode, exchange: Exchange) -> None:
        self.own, self.exchange = own, exchange
        self.path = hosted.folder / "batched.ckpt"
        self.every_s = own.plan.trainer.checkpoint_s
        self._next = time.monotonic() + self.every_s
        self._begun = False
        if self.path.exists():
            self._restore()

    def turn(self) -> LightningModule | None:
        """Train a period, and exchange; return the network after the last."""
        if self._begun:
            self.own.train()
            last = self.own.period >= self.own.plan.trainer.periods
            if last or time.monotonic() >= self._next:
                self._next = time.monotonic() + self.every_s
                self._save()
        self._begun = True
        # Of its own: it is asked again when others have trained.
        return deepcopy(self.own.network()).eval() if self.own.turn(self.exchange) else None

    def _restore(self) -> None:
        try:
            self.own.restore(torch.load(self.path, map_location="cpu", weights_only=True))
        except Exception as error:  # unpickling may raise anything
            raise no_checkpoint(self.path, error) from None

    def _save(self) -> None:
        put_in_place(self.path, partial(torch.save, self.own.state()))
