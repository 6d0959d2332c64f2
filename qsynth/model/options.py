"""The options of the group `model`: one module each, and those of installed packages.

Named here, since other modules of the package import torch, which help must not load.
"""

from qsynth.model.cnn import CNN
from qsynth.model.linear import Linear
from qsynth.model.mlp import MLP
from qsynth.model.module import Module
from qsynth.model.resnet import ResNet
from qsynth.registry import Options

OPTIONS = Options(
    "model", {"linear": Linear, "mlp": MLP, "cnn": CNN, "resnet": ResNet, "module": Module}
)
