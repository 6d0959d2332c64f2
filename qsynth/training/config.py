"""The options of the group `trainer`, and what a node's options must be together.

Whoever makes a node checks them here: a run, a node on its own host, a script.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from qsynth.errors import ConfigError
from qsynth.peers.config import check_peers
from qsynth.schema import option, setting
from qsynth.synthesis.config import check_rules

MOST_SEED = 2**31 - 1  # of a run, and of a node that a script makes
PROOF_BYTES = 200  # of a contact, in a fleet with an authority
CONTACT_BYTES = 320  # of a contact beside its fingerprint, and of a message beside its body


@option("trainer")
@dataclass(frozen=True)
class Trainer:
    """Lightning's Trainer for each node."""

    name: str = setting("steps", "the option's name", choices=("steps",))
    max_steps: int = setting(600, "optimizer steps of a node", low=1)
    period_steps: int = setting(50, "optimizer steps between two exchanges", low=1)
    checkpoint_s: float = setting(
        30.0, "seconds of training that may be lost when a node or run is killed", low=1.0
    )
    gradient_clip_norm: float | None = setting(None, "largest norm of a gradient", low=0.0)
    curve_points: int = setting(
        8, "periods of a run whose predictors are kept and measured for its report; 0: none", low=0
    )
    logger: str = setting(
        "none",
        "none, csv, tensorboard, or package.Class of a Lightning logger (save_dir=); in "
        "each node's folder",
    )
    accelerator: str = setting(
        "cpu",
        "where networks train, as Lightning calls it; auto: on the best there is. Other "
        "than cpu needs placement=processes, slurm or ray",
        choices=("cpu", "auto", "gpu", "cuda", "mps"),
    )
    arguments: dict[str, Any] = setting({}, "further keyword arguments of Lightning's Trainer")

    @property
    def periods(self) -> int:
        """Return how many periods a fit has; the last may be shorter."""
        return -(-self.max_steps // self.period_steps)


OPTIONS: dict[str, type] = {"steps": Trainer}


def check_node(
    distill: Any, similarity: Any, synthesis: Any, peers: Any, dht: Any, mesh: Any, unlabelled: bool
) -> None:
    """Raise ConfigError where a node's options do not fit together.

    unlabelled: whether it has inputs that nobody has labelled.
    """
    inputs = getattr(synthesis.teach, "inputs", "none")
    check_rules(distill, synthesis)
    if inputs == "generated" and not getattr(distill, "input_rank", None):
        raise ConfigError(
            "synthesis.teach.inputs=generated: packets must carry input statistics; "
            "set distill.input_rank=8, or synthesis.teach.inputs=own_mix"
        )
    if inputs == "unlabelled" and not unlabelled:
        raise ConfigError(
            "synthesis.teach.inputs=unlabelled: nodes have no unlabelled samples; set "
            "partition.unlabelled_per_node=1200, data.unlabelled with data=arrays, or in a script "
            "JoinMesh(unlabelled=x)"
        )
    check_peers(peers, distill)
    # What is too large for a transport closes the connection: it must never be sent.
    beside = CONTACT_BYTES + (PROOF_BYTES if getattr(mesh, "tls", "") else 0)
    answer = 2 * dht.reply_contacts * (similarity.fingerprint_dim + beside)
    needed = max(distill.max_bytes + beside, answer)
    if mesh.max_message_bytes < needed:
        raise ConfigError(
            f"mesh.max_message_bytes={mesh.max_message_bytes}: must be >= {needed} for "
            "distill.max_bytes, dht.reply_contacts and similarity.fingerprint_dim"
        )


def without_inputs(distill: Any, synthesis: Any) -> Any:
    """Return the rule of distillation without statistics of raw inputs, where nobody uses them.

    They leave a node only where its own network is taught on inputs that are made of them.
    """
    generated = getattr(synthesis.teach, "inputs", "none") == "generated"
    if generated or not getattr(distill, "input_rank", None):
        return distill
    return replace(distill, input_rank=None)
