"""Transformers of images and tokens, from a folder or the cache of this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qsynth.encoder.backbones import Backbone, BackboneEncoder, first_line, library_of
from qsynth.encoder.base import hash_of
from qsynth.encoder.pretrained import SentenceTransformers, Transformers
from qsynth.errors import ConfigError


class TransformersEncoder(BackboneEncoder):
    """A model of transformers: the mean of its last hidden states."""

    def _load(self, config: Transformers) -> Backbone:
        library = library_of("transformers", config, "transformers")
        key = f"encoder.model={config.model}"
        library.logging.set_verbosity_error()
        library.logging.disable_progress_bar()
        try:
            network, told = library.AutoModel.from_pretrained(
                config.model,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
        except Exception as error:  # each format has errors of its own
            raise ConfigError(f"{key}: {first_line(error)}") from None
        # What a checkpoint lacks is drawn by chance; a pooler is not used.
        lacking = [*told["missing_keys"], *told.get("mismatched_keys", ())]
        lacking = [str(name) for name in lacking if "pooler" not in str(name)]
        if lacking:
            raise ConfigError(
                f"{key}: lacks {len(lacking)} weights, the first {sorted(lacking)[0]}"
            )
        centre, spread = _image_units(config.model, library)
        states = _States(network, self.layout == "tokens")
        digest = hash_of(network, _settings(network))
        return Backbone(states, digest, centre, spread)


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
        library = library_of("sentence_transformers", config, "sentence-transformers")
        try:
            model = library.SentenceTransformer(
                config.model, local_files_only=True, trust_remote_code=False, device="cpu"
            )
        except Exception as error:  # each format has errors of its own
            raise ConfigError(f"encoder.model={config.model}: {first_line(error)}") from None
        return Backbone(_Sentences(model), hash_of(model, repr(model)))


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


def _settings(network: Any) -> str:
    """Return a model's settings, without where it lies and what wrote it."""
    values = network.config.to_dict()
    for name in ("_name_or_path", "name_or_path", "transformers_version", "architectures", "dtype"):
        values.pop(name, None)
    return json.dumps(values, sort_keys=True, default=str)


def _image_units(model: str, library: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the centre and spread of a model's images, as its folder or the hub's cache says."""
    try:
        path = library.utils.cached_file(model, "preprocessor_config.json", local_files_only=True)
        told = json.loads(Path(path).read_text(encoding="utf-8"))
        return tuple(told["image_mean"]), tuple(told["image_std"])
    except (OSError, KeyError, TypeError, ValueError):
        return (0.5,), (0.5,)
