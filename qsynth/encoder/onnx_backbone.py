"""Networks in the ONNX format, run by onnxruntime."""

from __future__ import annotations

import hashlib
import importlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from qsynth.encoder.backbones import Backbone, BackboneEncoder, first_line, library_of
from qsynth.encoder.pretrained import Onnx
from qsynth.errors import ConfigError


class OnnxEncoder(BackboneEncoder):
    """A model in the ONNX format, run by onnxruntime."""

    def _load(self, config: Onnx) -> Backbone:
        library = library_of("onnxruntime", config, "onnxruntime")
        key = f"encoder.file={config.file}"
        try:
            data = Path(config.file).expanduser().read_bytes()
            session = _Session(data, library)
        except OSError as error:
            raise ConfigError(f"{key}: cannot be read ({error.strerror or error})") from None
        except Exception as error:  # onnxruntime has errors of its own
            raise ConfigError(
                f"{key}: not a model in the ONNX format ({first_line(error)})"
            ) from None
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
