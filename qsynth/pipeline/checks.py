"""What a node's options must be together.

Whoever makes a node checks them here: a run, a node on its own host, a script.
"""

from __future__ import annotations

from typing import Any

from qsynth.distill import DistillRule
from qsynth.encoder.config import EncoderOptions
from qsynth.errors import ConfigError
from qsynth.peers.base import adds_statistics, check_peers
from qsynth.privacy import PrivacyRule
from qsynth.schema import name_of
from qsynth.similarity import Metric
from qsynth.synthesis import SynthesisRule
from qsynth.synthesis.base import check_rules

PROOF_BYTES = 200  # of a contact, in a fleet with an authority
CONTACT_BYTES = 320  # of a contact beside its fingerprint, and of a message beside its body


def check_node(
    distill: DistillRule,
    similarity: Metric,
    synthesis: SynthesisRule,
    peers: Any,
    dht: Any,
    mesh: Any,
    unlabelled: bool,
    encoder: Any,
    privacy: PrivacyRule,
) -> None:
    """Raise ConfigError where a node's options do not fit together.

    unlabelled: whether it has inputs that nobody has labelled.  encoder: of what its networks are
    given.
    """
    inputs = synthesis.teaching_kind
    check_rules(distill, synthesis)
    invertible = isinstance(encoder, EncoderOptions) and encoder.invertible
    if inputs == "generated" and not (distill.tells_inputs or invertible):
        raise ConfigError(
            "synthesis.teach.inputs=generated: packets must carry input statistics; set "
            "distill.input_rank=8, or encoder=identity, or synthesis.teach.inputs=own_mix"
        )
    if inputs == "unlabelled" and not unlabelled:
        raise ConfigError(
            "synthesis.teach.inputs=unlabelled: nodes have no unlabelled samples; set "
            "partition.unlabelled_per_node=1200, data.unlabelled with data=arrays, or in a script "
            "JoinMesh(unlabelled=x)"
        )
    privacy.check_rules(rule_of_distillation(distill, synthesis), similarity)
    check_peers(peers, distill)
    if privacy.pooled and adds_statistics(peers):
        raise ConfigError(
            f"peers.name={name_of(peers)}: adds packets of single nodes, of which "
            f"privacy={name_of(privacy)} sends none; use peers=semantic"
        )
    # What is too large for a transport closes the connection: it must never be sent.
    beside = CONTACT_BYTES + (PROOF_BYTES if mesh.certificates() else 0)
    answer = 2 * dht.reply_contacts * (similarity.fingerprint_dim + beside)
    needed = max(distill.max_bytes + beside, answer, privacy.message_bytes)
    if mesh.max_message_bytes < needed:
        raise ConfigError(
            f"mesh.max_message_bytes={mesh.max_message_bytes}: must be >= {needed} for "
            "distill.max_bytes, dht.reply_contacts, similarity.fingerprint_dim and privacy"
        )


def rule_of_distillation(distill: DistillRule, synthesis: SynthesisRule) -> DistillRule:
    """Return the rule of distillation without statistics of raw inputs, where nobody uses them.

    They leave a node only where its own network is taught on inputs that are made of them.
    """
    return distill if synthesis.teaching_kind == "generated" else distill.without_inputs()
