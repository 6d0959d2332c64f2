"""Join a mesh from one's own training script: one callback on a stock Trainer.

mesh = qsynth.JoinMesh(task, train=(x, y), validation=(vx, vy), join=["tcp://host:7700"])
pl.Trainer(max_steps=1000, callbacks=[mesh]).fit(module, loader)
mesh.save("predictor.pt")
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy.typing as npt
import pytorch_lightning as pl
from torch import nn

from qsynth.dht.config import Rings
from qsynth.encoder import make_encoder
from qsynth.errors import ConfigError
from qsynth.host.assemble import assemble
from qsynth.host.consent import AUTO, NEVER, Consent
from qsynth.host.history import in_batches
from qsynth.host.ledger import NAME as LEDGER
from qsynth.host.ledger import Ledger
from qsynth.host.mesh_host import MeshHost
from qsynth.host.metrics import MetricsServer, serve_metrics
from qsynth.host.recorder import Recorder
from qsynth.host.script import BEST, Script, checked_script, identity_for, pair_of
from qsynth.host.status import Learning, status_of
from qsynth.host.strangers import unlike
from qsynth.identity.vouchers import Vouchers
from qsynth.mesh.tls import tls_of
from qsynth.model import check_network
from qsynth.pipeline.class_pipeline import ClassPipeline
from qsynth.pipeline.participant import Lonely, Participant
from qsynth.pipeline.predictor import Predictor
from qsynth.pipeline.target_pipeline import TargetPipeline, check_packet, make_pipeline
from qsynth.privacy import Budget, check_home, key_of
from qsynth.protocol.journal import State
from qsynth.protocol.node import Node
from qsynth.protocol.restore import entries_of, restore
from qsynth.similarity.class_sketch import ClassSketch
from qsynth.training.best_weights import BestWeights, copied
from qsynth.training.callback import Callback
from qsynth.training.export import save_predictor
from qsynth.training.learner import TrainerLearner
from qsynth.trust.config import Checks
from qsynth.types import Task


class JoinMesh(Callback):
    """Join a mesh for the length of a fit; the module must give logits by forward(x).

    A Trainer and a module of `lightning.pytorch` will do as well as of `pytorch_lightning`.

    Args:
        task: what all nodes learn.
        train: own samples (x, y) without augmentation: x (n, *task.shape) in the task's range, y
            (n,) class indices or label names, or (n, K) targets.
        validation: others, which neither the module's training nor a packet sees.
        join: addresses of any live nodes; none starts a mesh.  Instead of `mesh.join`.
        listen: `tcp://host:port`, 0 for a free one.  Instead of `mesh.listen`.
        period_steps: optimizer steps between two exchanges.
        seed: of all that the node draws.
        home: folder of the node's key, of what it must not forget, and of the ledger of what has
            left; a second fit goes on as the same node.  None: a node for this object alone.
        identity: file of the key pair alone, made if it is not there; not beside `home`.
        record: file of events, or None.
        publish: `auto`; `ask`: packets leave once `qsynth packet approve` has said so, needs
            `home`; `never`: learn from others alone.
        weights: `best`: the predictor has the best weights, where a ModelCheckpoint or an
            EarlyStopping of the Trainer says which these are; `last`: those of the last step.
        unlabelled: further inputs of one's own (`Teach(inputs="unlabelled")`).
        reference: the public set of `ReferenceLogits`, the same (n, *task.shape) everywhere.

    Raises:
        ConfigError, DataError: a setting or a sample that the command line would refuse, in the
            same words.

    Each of encoder, distill, similarity, synthesis, privacy, peers, trust, dht and mesh is an
    option of that group, e.g. `qsynth.Analytic(rank=8)`; None: as a run has it.

    `update(x, y)` adds samples as they come, in the midst of a fit or between two; a packet tells
    of them once `distill.min_support` of a class have come, or as privacy allows.

    After the fit `predictor` answers with the network and what was learned from peers.  At each
    exchange `mesh/authors`, `mesh/held` and `mesh/gain` go to the Trainer's logger: authors that
    count, packets held, and nats a sample that peers bring to the likelihood of own samples.
    """

    def __init__(
        self,
        task: Task,
        train: Any,
        validation: Any,
        *,
        join: Sequence[str] | None = None,
        listen: str | None = None,
        period_steps: int = 50,
        seed: int = 0,
        home: str | Path | None = None,
        identity: str | Path | None = None,
        record: str | Path | None = None,
        publish: str = AUTO,
        weights: str = BEST,
        encoder: Any = None,
        distill: Any = None,
        synthesis: Any = None,
        peers: Any = None,
        mesh: Any = None,
        similarity: ClassSketch | None = None,
        trust: Checks | None = None,
        dht: Rings | None = None,
        privacy: Any = None,
        unlabelled: npt.ArrayLike | None = None,
        reference: npt.ArrayLike | None = None,
    ) -> None:
        given = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        self._begin(checked_script(**given), lonely=False)

    def _begin(self, script: Script, lonely: bool) -> None:
        self.script, self.lonely = script, lonely
        self.task, self.rules = script.task, script.rules
        self.mesh, self.join = script.mesh, script.mesh.join
        self.identity = identity_for(script)
        self.recorder = Recorder(self.identity.id.hex()[:8], None)
        self.predictor: Predictor | None = None
        self.host: MeshHost | None = None
        self.network_lost = False
        self._participant: Participant | None = None
        self._state: State | None = None
        self._ledger: Ledger | None = None
        self._best: BestWeights | None = None
        self._learner = TrainerLearner(script.period_steps, self._exchange, script.seed)
        self._gain: float | None = None
        self._learning = Learning()
        self._metrics: MetricsServer | None = None
        self._new = False  # samples have come since the pipeline was made

    @property
    def address(self) -> str:
        """Return the address that others can join through, once the fit has started."""
        return self.host.node.address if self.host is not None else ""

    def alone(self) -> JoinMesh:
        """Return the same callback without peers: it opens no socket, and nothing leaves.

        The same pipeline on the same samples; a fit with it tells what the mesh was worth.
        """
        made = type(self).__new__(type(self))
        made._begin(self.script, lonely=True)
        return made

    def update(self, x: Any, y: Any) -> None:
        """Add own training samples: they count from the next exchange on.

        x: (n, *task.shape).  y: (n,) or (n, K), as those of the start.  All that come between two
        exchanges are one batch.  The module trains on what its own loader gives.  Call it in the
        thread of the fit, in a callback of one's own, or between two fits.  Raises DataError, and
        ConfigError where the packet follows the network.
        """
        if self.rules.distill.follows_network:
            name = type(self.rules.distill).__name__
            raise ConfigError(f"update: {name} tells of a network that trains on each new sample")
        more = pair_of(self.task, (x, y), "update", empty=True)
        if len(more[1]):
            # What has come since the newest exchange is in one batch with it.
            anew = self._participant is not None and not self._new
            grown = self.script.samples.grown(*more, anew=anew)
            self.script, self._new = replace(self.script, samples=grown), True

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Begin anew where this object has seen a fit before."""
        if stage != "fit":
            return
        if trainer.world_size > 1:
            raise ConfigError(
                f"Trainer.devices: a node trains in one process, this Trainer has "
                f"{trainer.world_size}; use devices=1"
            )
        self._learner.begin()
        self._best, self._gain = BestWeights(trainer), None

    def state_dict(self) -> dict[str, Any]:
        """Return what a fit that goes on from a checkpoint needs."""
        return self._learner.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self._learner.load_state_dict(state_dict)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the socket and join."""
        check_network(pl_module, self.task, "forward")
        if not any(p.requires_grad for p in pl_module.parameters()):
            _warn("nothing in this network is trained: no parameter requires a gradient")
        pipeline = self._study()
        script = self.script
        self.recorder = Recorder(self.identity.id.hex()[:8], script.record)
        permits = Consent(script.publish, script.home or Path()).permits
        if self.lonely:
            self._participant = Participant(pipeline, Lonely(), self._later)
            return
        self.host = self._host(pipeline)
        budget = Budget(self.rules.privacy, script.home)
        self._participant = Participant(
            pipeline, self.host, self._later, permits=permits, budget=budget
        )
        self.host.start()
        self._learning.tell(state="training")
        source = partial(status_of, self.host, self._learning, script.home)
        self._metrics = serve_metrics(self.mesh.metrics, source, lambda _: None)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Publish what the data say, and begin to look for peers."""
        self._learner.on_train_start(trainer, pl_module)

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any
    ) -> None:
        """Add the teaching's gradient."""
        self._learner.on_before_optimizer_step(trainer, pl_module, optimizer)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """End a period after `period_steps` optimizer steps; log what the mesh brings."""
        before = self._learner.period
        self._learner.on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if self._learner.period != before:
            pl_module.log_dict(self._measures(), on_step=True, on_epoch=False, batch_size=1)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look whether these are the best weights so far."""
        if self._best is not None:
            self._best.watch(trainer, pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look whether these are the best weights so far."""
        if self._best is not None and not trainer.sanity_checking:
            self._best.watch(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Exchange once more and make the predictor."""
        self._learner.on_train_end(trainer, pl_module)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Serve until the others have finished, `mesh.linger_s` at most; make the predictor.

        It holds what has arrived by then: a fast node has trained before others have published.
        """
        assert self._participant is not None
        assert self._best is not None
        network = copied(pl_module)
        best = self._best.of() if self.script.weights == BEST else None
        if best is not None:
            network.load_state_dict(best)
        if self.host is not None:
            self._learning.tell(state="serving")
            self.host.finish(self.mesh.linger_s)
            self._participant.exchange(self._learner.period, network)
            if strange := unlike(self.host, self._participant, self.script.peers):
                _warn(strange)
        self.predictor = self._participant.predictor(network).eval()
        self.network_lost = self.predictor.lost
        if self.network_lost:
            _warn("this network is lost: its answers are no finite numbers; the head answers alone")
        self._close()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Leave the mesh when the training fails; the module is as it was."""
        self._learner.remove()
        self._close()

    def save(self, path: str | Path) -> None:
        """Write the predictor; `qsynth.load_predictor(path, network=...)` reads it."""
        if self.predictor is None:
            raise ConfigError("JoinMesh.save: there is no predictor before the fit has ended")
        save_predictor(self.predictor, Path(path), asdict(self.script.encoder), {})

    def _measures(self) -> dict[str, float]:
        """Return what the newest exchange has brought."""
        assert self._participant is not None
        synthesis = self._participant.synthesized()
        if self._gain is None:
            self._gain = self._participant.pipeline.alone().likelihood
        gain = float(synthesis.likelihood - self._gain)
        self._learning.exchanged(self._learner.period, self._participant, gain)
        return {
            "mesh/authors": float(len(synthesis.authors)),
            "mesh/held": float(len(self._participant.packets)),
            "mesh/gain": gain,
        }

    def _later(self, _period: int) -> ClassPipeline | TargetPipeline | None:
        """Return the pipeline of all samples, where some have come."""
        return self._study() if self._new else None

    def _exchange(self, period: int, network: nn.Module) -> Any:
        assert self._participant is not None
        return self._participant.exchange(period, network)

    def _study(self) -> ClassPipeline | TargetPipeline:
        self._new, self._gain = False, None
        script = self.script
        if script.home is not None and not self.lonely:
            script = replace(
                script,
                samples=in_batches(
                    script.samples, script.rules, script.home, script.publish != NEVER
                ),
            )
            self.script = script
        encoder = make_encoder(script.encoder, self.task)
        key = b""
        if script.home is not None and self.rules.privacy.guarded:
            key = key_of(script.home)
        own = script.samples
        pipeline = make_pipeline(self.task, encoder, self.rules, own, script.seed, key)
        public = own.reference_x
        count = None if public is None else len(public)
        samples = len(own.train_y)
        check_packet(self.task, self.rules, samples, encoder, count)
        return pipeline

    def _host(self, pipeline: ClassPipeline | TargetPipeline) -> MeshHost:
        """Return the node with its socket, and with its memory where it has a home."""
        script, known = self.script, []
        tls = tls_of(self.mesh, script.home)
        transport = self.mesh.transport(self.mesh.listening, tls)
        address = self.mesh.advertise or transport.address
        node = self._node(pipeline, address, tls.vouchers if tls else None)
        node.shadow = script.publish != AUTO
        if script.home is not None:
            self._state, self._ledger = State(script.home), Ledger(script.home / LEDGER)
            node.clock(time.monotonic())
            known = restore(node, self._state.load())
            check_home(self.rules.privacy, node.own_packet is not None, script.home)
            self._state.replace(entries_of(node))
        return MeshHost(
            node,
            transport,
            self.recorder,
            lambda: [*self.join, *known],
            self._state,
            self._ledger,
            tls,
        )

    def _node(
        self, pipeline: ClassPipeline | TargetPipeline, address: str, vouchers: Vouchers | None
    ) -> Node:
        script = self.script
        return assemble(
            self.task,
            pipeline.encoder.digest,
            self.rules,
            trust=script.trust,
            peers=script.peers,
            dht=script.dht,
            mesh=self.mesh,
            identity=self.identity,
            address=address,
            epoch_s=time.time() - time.monotonic(),
            seed=script.seed,
            vouchers=vouchers,
        )

    def _close(self) -> None:
        if self._metrics is not None:
            self._metrics.close()
            self._metrics = None
        if self.host is not None:
            self.host.close()
        if self._state is not None and self.host is not None:
            self._state.replace(entries_of(self.host.node))
        for kept in (self._state, self._ledger):
            if kept is not None:
                kept.close()
        self._state = self._ledger = None
        self.recorder.close()


def _warn(said: str) -> None:
    warnings.warn(f"qsynth: {said}", stacklevel=3)
