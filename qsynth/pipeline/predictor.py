"""The predictor: what a node answers with, as one torch module that needs no mesh."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from qsynth.encoder import Encoder
from qsynth.errors import ShapeError
from qsynth.model.outputs import fitted
from qsynth.synthesis.head import Head, log_softmax, sample_weights
from qsynth.types import Floats, Ints, Task

MIN_VALIDATION = 50  # below it, a weight fitted to validation samples is noise
MIN_EACH = 10  # the same of each class, where all classes weigh alike
WEIGHTS = tuple(i / 20 for i in range(21))
NETWORK_TEMPERATURES = tuple(float(t) for t in np.geomspace(0.1, 1.0, 10))


SURE = 2.0  # standard errors by which peers must have done harm before a node falls back


class Predictor(nn.Module):
    """Answer with the product of the node's network and its synthesized head.

    Returns log-probabilities (n, C): (1 - w) * network + w * head, renormalised.  Where the
    network's logits of an input are not finite numbers, the head answers alone.
    lost: whether the network was found to give such numbers when the predictor was made.
    backbone: what makes features of inputs, where network and head take features; None: none does.
    inputs: the task of what it is asked for: its own, or the backbone's.
    half_width: (K,) of values: what nine in ten of the validation samples are no farther from, in
    units of the task's target scale; infinite where too few of them can tell.
    """

    lost = False

    def __init__(self, network: nn.Module, encoder: Encoder | None, task: Task) -> None:
        super().__init__()
        self.network = network
        self.encoder = encoder
        self.backbone: Encoder | None = None
        self.task = self.inputs = task
        d = encoder.dimensions if encoder is not None else 0
        self.register_buffer("head_weights", torch.zeros(d, task.classes))
        self.register_buffer("head_bias", torch.zeros(task.classes))
        self.register_buffer("own_log_prior", torch.zeros(task.classes))
        self.register_buffer("network_log_prior", torch.zeros(task.classes))
        self.register_buffer("head_weight", torch.tensor(0.0))
        self.register_buffer("network_temperature", torch.tensor(1.0))
        self.register_buffer("summed", torch.tensor(False))
        self.register_buffer("half_width", torch.full((task.classes,), torch.inf))

    def set_head(
        self,
        head: Head,
        log_prior: Floats,
        weight: float,
        temperature: float,
        network_log_prior: Floats | None = None,
        summed: bool = False,
    ) -> None:
        """Take over a head, the node's own log prior (C,), w and the network's temperature.

        network_log_prior: of the label shares that the network's answers follow; None: own.
        summed: the network has learned what the head's scores lack (`pipeline/offset.py`).
        """
        self.summed.fill_(summed)  # type: ignore[operator]
        learned = log_prior if network_log_prior is None else network_log_prior
        self.network_log_prior.copy_(torch.from_numpy(learned))  # type: ignore[operator]
        weights: Tensor = self.head_weights  # type: ignore[assignment]
        weights.zero_()
        weights[: head.dimensions] = torch.from_numpy(head.weights)
        self.head_bias.copy_(torch.from_numpy(head.bias))  # type: ignore[operator]
        self.own_log_prior.copy_(torch.from_numpy(log_prior))  # type: ignore[operator]
        self.head_weight.fill_(weight)  # type: ignore[operator]
        self.network_temperature.fill_(temperature)  # type: ignore[operator]

    def forward(
        self, inputs: Tensor, prior: str | Tensor = "own", mask: Tensor | None = None
    ) -> Tensor:
        """Return (n, C) log-probabilities.

        prior: "own" (the node's label shares), "uniform", or (C,) probabilities.
        mask: (C,) bool, the classes that may be answered; None is all.
        """
        inputs = self.seen(inputs)
        logs = self.combine(self.network_logits(inputs), self.head_scores(inputs), prior)
        if mask is not None:
            logs = torch.log_softmax(logs.masked_fill(~mask, -torch.inf), dim=1)
        return logs

    def half_width_in_units(self) -> Floats:
        """Return (K,) what nine in ten answers are no farther from, in the task's own units."""
        width: Tensor = self.half_width  # type: ignore[assignment]
        scale: Floats = np.array(self.task.target_scale or (1.0,))
        return width.double().numpy() * scale

    def seen(self, inputs: Tensor) -> Tensor:
        """Return what network and head take: the inputs, or their features."""
        if self.backbone is None:
            return inputs
        if tuple(inputs.shape[1:]) != tuple(self.backbone.shape):
            raise ShapeError(
                f"inputs must be (n, {', '.join(map(str, self.backbone.shape))}), got "
                f"{tuple(inputs.shape)}"
            )
        made: Tensor = self.backbone(inputs.float())
        return made

    def network_logits(self, inputs: Tensor) -> Tensor:
        """Return the network's (n, C) float32 logits, whatever precision it was trained in."""
        logits: Tensor = self.network(fitted(self.network, inputs))
        return logits.float()

    def head_scores(self, inputs: Tensor) -> Tensor | None:
        """Return the head's (n, C) scores of inputs, or None where there is no head."""
        if self.encoder is None:
            return None
        return self.scores_of(self.encoder(inputs))

    def scores_of(self, features: Tensor) -> Tensor:
        """Return the head's (n, C) scores of (n, D) features."""
        weights: Tensor = self.head_weights  # type: ignore[assignment]
        bias: Tensor = self.head_bias  # type: ignore[assignment]
        scores: Tensor = features @ weights + bias
        return scores

    def combine(self, logits: Tensor, scores: Tensor | None, prior: str | Tensor) -> Tensor:
        """Return (n, C) log-probabilities of the network's logits and the head's scores."""
        weight: Tensor = self.head_weight  # type: ignore[assignment]
        wanted = self._log_prior(prior)
        logs = self.network_answers(logits, scores, wanted)
        if scores is None:
            return logs
        head = torch.log_softmax(scores + wanted, dim=1)
        both = torch.log_softmax((1.0 - weight) * logs + weight * head, dim=1)
        return torch.where(answered(logits), both, head)

    def network_answers(self, logits: Tensor, scores: Tensor | None, wanted: Tensor) -> Tensor:
        """Return (n, C) log-probabilities of the network under the (C,) log prior wanted.

        A network that has learned what the head lacks answers on top of the head's scores.
        """
        learned: Tensor = self.network_log_prior  # type: ignore[assignment]
        temperature: Tensor = self.network_temperature  # type: ignore[assignment]
        # The network has learned some label shares: take them out, put the wanted in.
        logs = torch.log_softmax(logits * temperature, dim=1) - learned + wanted
        if scores is not None:
            summed: Tensor = self.summed  # type: ignore[assignment]
            logs = torch.where(summed, logits * temperature + scores + wanted, logs)
        return torch.log_softmax(logs, dim=1)

    def _log_prior(self, prior: str | Tensor) -> Tensor:
        own: Tensor = self.own_log_prior  # type: ignore[assignment]
        if isinstance(prior, Tensor):
            return torch.log(prior.clamp_min(1e-9))
        return own if prior == "own" else torch.zeros_like(own)


def answered(outputs: Tensor) -> Tensor:
    """Return (n, 1) bool: whether a network's (n, C) outputs of an input are finite numbers."""
    return torch.isfinite(outputs).all(dim=1, keepdim=True)


def harmed(losses: Floats, alone: Floats) -> bool:
    """Return whether a predictor is surely worse than the one of own evidence alone.

    losses, alone: (n,) of the same validation samples.  Too few samples are sure of nothing.
    """
    if len(losses) < MIN_VALIDATION:
        return False
    more = losses - alone
    return bool(more.mean() > SURE * more.std(ddof=1) / np.sqrt(len(more)))


def fit_product(
    network_logits: Floats,
    head_scores: Floats,
    labels: Ints,
    log_prior: Floats,
    weight: float | None,
    network_log_prior: Floats | None = None,
    summed: bool = False,
    balanced: bool = False,
) -> tuple[float, float]:
    """Return w and the network's temperature, both by the likelihood of validation samples.

    network_logits, head_scores: (n, C), of samples that nothing else has seen.
    weight: fixed by the config, or None.  network_log_prior: of the label shares that the
    network's answers follow; None: log_prior.  summed: the network answers on top of the head's
    scores.  balanced: every class weighs alike, and log_prior is uniform.  Below MIN_VALIDATION
    samples w is .5; where balanced, below MIN_EACH of some class.
    """
    if len(labels) == 0:
        return (0.5 if weight is None else weight), 1.0
    rows = np.arange(len(labels))
    heads = log_softmax(head_scores + log_prior)
    candidates = [weight] if weight is not None else list(WEIGHTS)
    weights = sample_weights(labels, balanced)
    fewest = np.bincount(labels, minlength=len(log_prior)).min()
    if weight is None and (len(labels) < MIN_VALIDATION or (balanced and fewest < MIN_EACH)):
        candidates = [0.5]
    shift = 0.0 if network_log_prior is None else log_prior - network_log_prior
    tried = []
    for temperature in NETWORK_TEMPERATURES:
        if summed:
            networks = log_softmax(network_logits * temperature + head_scores + log_prior)
        else:
            networks = log_softmax(log_softmax(network_logits * temperature) + shift)
        for w in candidates:
            logs = log_softmax((1.0 - w) * networks + w * heads)
            tried.append((float(logs[rows, labels] @ weights), w, temperature))
    _, w, temperature = max(tried)
    return w, temperature
