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

MOST_BYTES = 2 << 30  # of a file: more is not in this format
NO = "/no/weights/beside/the/file"


class OnnxEncoder(BackboneEncoder):
    """A model in the ONNX format, run by onnxruntime."""

    def _load(self, config: Onnx) -> Backbone:
        library = library_of("onnxruntime", config, "onnxruntime")
        key = f"encoder.file={config.file}"
        path = Path(config.file).expanduser()
        if not path.is_file() or path.stat().st_size > MOST_BYTES:
            raise ConfigError(f"{key}: cannot be read: no file, or one of more than 2 GiB")
        data = path.read_bytes()
        try:
            session = _Session(data, library)
        except Exception as error:  # onnxruntime has errors of its own
            raise ConfigError(
                f"{key}: not a model in the ONNX format ({first_line(error)})"
            ) from None
        digest = hashlib.sha256(data).hexdigest()
        return Backbone(session, digest, config.centre, config.spread, session.channels)


class _Session(nn.Module):
    """A session of onnxruntime as a module; where it is copied or pickled it is opened again."""

    def __init__(self, data: bytes, library: Any) -> None:
        super().__init__()
        options = library.SessionOptions()
        options.log_severity_level = 4  # what is wrong is raised
        # Weights in files beside it are not read: the digest covers this file alone.
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", NO)
        self.data = data
        self.session = library.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        first = self.session.get_inputs()[0]
        self.takes, self.whole = first.name, "int" in first.type
        self.one = first.shape[:1] == [1]  # exported for one input at a time
        wanted = first.shape[1] if len(first.shape) == 4 else None
        self.channels = wanted if isinstance(wanted, int) and wanted > 1 else None

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how it is made again."""
        return _opened, (self.data,)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (n, p) of (n, *shape)."""
        plain = inputs.detach()
        given = plain.long().numpy() if self.whole else plain.float().contiguous().numpy()
        parts = [given[i : i + 1] for i in range(len(given))] if self.one else [given]
        made = [self.session.run(None, {self.takes: part})[0] for part in parts]
        rows: Tensor = torch.from_numpy(np.concatenate(made))
        return rows.flatten(1)


def _opened(data: bytes) -> _Session:
    return _Session(data, importlib.import_module("onnxruntime"))
