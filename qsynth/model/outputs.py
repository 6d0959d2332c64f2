"""What a network answers to inputs, whatever its device and precision, and whether it is lost."""

from __future__ import annotations

import torch
from torch import Tensor, nn

BATCH = 500  # inputs that a network is given at once


def fitted(network: nn.Module, inputs: Tensor) -> Tensor:
    """Return inputs on the device, and in the precision, of a network's parameters.

    inputs: (n, *shape) float32.  A network without parameters takes them as they are.
    """
    first = next((p for p in network.parameters() if p.is_floating_point()), None)
    return inputs if first is None else inputs.to(first.device, first.dtype)


def network_outputs(network: nn.Module, inputs: Tensor) -> Tensor:
    """Return (n, C) float32 outputs on the CPU of a network in evaluation mode; its mode is kept.

    inputs: (n, *shape) float32.
    """
    was_training = network.training
    network.eval()
    try:
        with torch.no_grad():
            starts = range(0, max(len(inputs), 1), BATCH)
            parts = [network(fitted(network, inputs[at : at + BATCH])) for at in starts]
    finally:
        network.train(was_training)
    return torch.cat(parts).float().cpu()


def is_lost(network: nn.Module, outputs: Tensor) -> bool:
    """Return whether training has diverged: a weight or an output is not a finite number.

    outputs: (n, C) of a network, n may be 0.
    """
    tensors = (outputs, *network.parameters())
    return not all(bool(torch.isfinite(tensor).all()) for tensor in tensors)
