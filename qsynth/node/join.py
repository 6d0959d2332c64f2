"""Join a mesh from one's own training script: one callback on a stock Trainer.

mesh = qsynth.JoinMesh(task, train=(x, y), validation=(vx, vy), join=["tcp://host:7700"])
pl.Trainer(max_steps=1000, callbacks=[mesh]).fit(module, loader)
mesh.save("predictor.pt")
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytorch_lightning as pl
from torch import nn

from qsynth.data.dataset import targets
from qsynth.dht.config import Rings
from qsynth.distill import check_size, check_target_size
from qsynth.distill.config import Analytic, ReferenceLogits
from qsynth.encoder import make_encoder
from qsynth.encoder.config import SeededConv, SeededConv1d, SeededFourier
from qsynth.errors import ConfigError, ShapeError
from qsynth.identity import Identity
from qsynth.mesh.config import Tcp
from qsynth.mesh.pynng_transport import PynngTransport
from qsynth.mesh.tls import tls_of
from qsynth.model import check_network
from qsynth.node.assemble import assemble
from qsynth.node.export import save_predictor
from qsynth.node.host import MeshHost
from qsynth.node.learner import TrainerLearner
from qsynth.node.node import Node
from qsynth.node.outcome import Rules, Samples
from qsynth.node.participant import Participant
from qsynth.node.recorder import Recorder
from qsynth.node.study import Study
from qsynth.node.target_study import TargetStudy, make_study
from qsynth.peers.config import Semantic, check_peers
from qsynth.similarity.config import ClassSketch
from qsynth.synthesis import Predictor
from qsynth.synthesis.config import AnalyticHead, Ridge, check_rules
from qsynth.trust.config import Checks
from qsynth.types import Task

Pair = tuple[npt.ArrayLike, npt.ArrayLike]


class JoinMesh(pl.Callback):
    """Join a mesh for the length of a fit; the module must give logits by forward(x).

    train, validation: own samples (x, y) without augmentation, x (n, *task.shape) in the task's
    range, y (n,) class indices.  listen: `tcp://host:port` (0 picks a free one) or `ipc://path`.
    unlabelled: further inputs of one's own (teach.inputs=unlabelled).
    reference: the public set of distill=reference_logits, the same (n, *task.shape) everywhere.
    join: addresses of any live nodes; none starts a mesh.  identity: file of the key pair, made
    if it is not there; None makes a new one for this fit.  record: file of events, or None.
    After the fit, `predictor` answers with the network and what was learned from peers.
    Raises ConfigError or ShapeError where samples, task or settings do not fit together.
    """

    def __init__(
        self, task: Task, train: Pair, validation: Pair, *, join: Sequence[str] = (),
        listen: str = "tcp://127.0.0.1:0", period_steps: int = 50, seed: int = 0,
        identity: str | Path | None = None, record: str | Path | None = None,
        encoder: Any = None, distill: Any = None,
        synthesis: Any = None, peers: Any = None, mesh: Any = None,
        similarity: ClassSketch | None = None, trust: Checks | None = None,
        dht: Rings | None = None, unlabelled: npt.ArrayLike | None = None,
        reference: npt.ArrayLike | None = None,
    ) -> None:  # fmt: skip
        self.task, self.join, self.listen, self.seed = task, tuple(join), listen, seed
        self.mesh, self.peers = mesh or Tcp(), peers or Semantic()
        self.trust, self.dht = trust or Checks(), dht or Rings()
        fitting = {"image": SeededConv, "series": SeededConv1d}.get(task.layout, SeededFourier)
        self.encoder_config = encoder or fitting()
        rule = AnalyticHead() if task.classified else Ridge()
        self.rules = Rules(distill or Analytic(), similarity or ClassSketch(), synthesis or rule)
        further = None if unlabelled is None else _checked_inputs(task, unlabelled)
        public = None if reference is None else _checked_inputs(task, reference)
        check_peers(self.peers, self.rules.distill)
        self.samples = Samples(*_checked(task, train), *_checked(task, validation), further, public)
        check_rules(self.rules.distill, self.rules.synthesis)
        if isinstance(self.rules.distill, ReferenceLogits) and public is None:
            raise ConfigError("JoinMesh.reference: distill=reference_logits needs a public set")
        self.identity = _identity(identity)
        self.recorder = Recorder(self.identity.id.hex()[:8], Path(record) if record else None)
        self.predictor: Predictor | None = None
        self.host: MeshHost | None = None
        self._participant: Participant | None = None
        self._learner = TrainerLearner(period_steps, self._exchange, seed)

    @property
    def address(self) -> str:
        """Return the address that others can join through, once the fit has started."""
        return self.host.node.address if self.host is not None else ""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the socket and join."""
        check_network(pl_module, self.task, "forward")
        study = make_study(
            self.task, make_encoder(self.encoder_config, self.task), self.rules, self.samples,
            self.seed,
        )  # fmt: skip
        size = int(np.prod(self.task.shape))
        public = self.samples.reference_x
        count = None if public is None else len(public)
        if self.task.classified:
            samples = len(self.samples.train_y)
            check_size(self.rules.distill, study.d, self.task.classes, size, count, samples)
        else:
            check_target_size(self.rules.distill, study.d, self.task.classes)
        transport = PynngTransport(self.listen, self.mesh.max_message_bytes, tls_of(self.mesh))
        node = self._node(study, transport.address)
        self.host = MeshHost(node, transport, self.recorder, lambda: self.join)
        self._participant = Participant(study, self.host)
        self.host.start()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Publish what the data say, and begin to look for peers."""
        self._learner.on_train_start(trainer, pl_module)

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any
    ) -> None:
        """Add the teaching's gradient."""
        self._learner.on_before_optimizer_step(trainer, pl_module, optimizer)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any,
        batch_idx: int,
    ) -> None:  # fmt: skip
        """End a period after `period_steps` optimizer steps."""
        self._learner.on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Exchange once more and make the predictor."""
        self._learner.on_train_end(trainer, pl_module)
        assert self._participant is not None
        self.predictor = self._participant.predictor(pl_module.cpu()).eval()

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Serve until the others have finished, `mesh.linger_s` at most; then leave."""
        if self.host is not None:
            self.host.finish(self.mesh.linger_s)
            self._close()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Leave the mesh when the training fails."""
        self._close()

    def save(self, path: str | Path) -> None:
        """Write the predictor; `qsynth.load_predictor(path, network=...)` reads it."""
        if self.predictor is None:
            raise ConfigError("JoinMesh.save: there is no predictor before the fit has ended")
        save_predictor(self.predictor, Path(path), asdict(self.encoder_config), {})

    def _exchange(self, period: int, network: nn.Module) -> Any:
        assert self._participant is not None
        return self._participant.exchange(period, network)

    def _node(self, study: Study | TargetStudy, address: str) -> Node:
        return assemble(
            self.task, study.encoder.digest, self.rules, trust=self.trust, peers=self.peers,
            dht=self.dht, mesh=self.mesh, identity=self.identity, address=address,
            epoch_s=time.time() - time.monotonic(), seed=self.seed,
        )  # fmt: skip

    def _close(self) -> None:
        if self.host is not None:
            self.host.close()
        self.recorder.close()


def _identity(path: str | Path | None) -> Identity:
    if path is None:
        return Identity.random()
    file = Path(path)
    if file.exists():
        return Identity.load(file)
    made = Identity.random()
    made.save(file)
    return made


def _checked_inputs(task: Task, inputs: npt.ArrayLike) -> Any:
    x = np.ascontiguousarray(np.asarray(inputs), dtype=np.float32)
    if x.shape[1:] != task.shape:
        raise ShapeError(f"inputs must be (n, {', '.join(map(str, task.shape))}), got {x.shape}")
    if not np.isfinite(x).all():
        raise ShapeError("inputs must be finite numbers")
    return x


def _checked(task: Task, pair: Pair) -> tuple[Any, Any]:
    x = np.ascontiguousarray(np.asarray(pair[0]), dtype=np.float32)
    if not task.classified:
        made = targets(np.asarray(pair[1]), task.kind, "samples")
        if x.shape[1:] != task.shape or made.shape != (len(x), task.classes):
            raise ShapeError(
                f"samples of {task.kind} must be x (n, {', '.join(map(str, task.shape))}) and y "
                f"(n, {task.classes}), got {x.shape} and {made.shape}"
            )
        return x, made
    y = np.asarray(pair[1]).astype(np.int64)
    if x.shape[1:] != task.shape or y.shape != x.shape[:1]:
        raise ShapeError(
            f"samples must be x (n, {', '.join(map(str, task.shape))}) and y (n,), "
            f"got {x.shape} and {y.shape}"
        )
    if len(y) and not 0 <= y.min() <= y.max() < task.classes:
        raise ShapeError(f"labels must be in [0, {task.classes}), got {y.min()} to {y.max()}")
    return x, y
