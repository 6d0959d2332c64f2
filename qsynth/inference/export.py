"""A predictor as one file for other programs: encoder, network and head together.

The file takes (n, *shape) float32 inputs, of a table's columns the features that it names, and
gives (n, C) probabilities of classes or labels, or (n, K) values.
"""

from __future__ import annotations

import json
import logging
import os
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from qsynth.errors import ConfigError, DataError
from qsynth.lazy import Deferred
from qsynth.pipeline.predictor import Predictor
from qsynth.types import CATEGORY, Floats32, Task

runtime = Deferred("onnxruntime")
FORMATS = ("onnx", "torch")
INPUTS, OUTPUTS, META = "inputs", "outputs", "qsynth"
CLOSE = 1e-5  # how far a file's probabilities may be from the predictor's
CHECKED = 64  # inputs that a file is checked on


class _Answers(nn.Module):
    """Answer with probabilities or values, and nothing to choose."""

    def __init__(self, predictor: Predictor) -> None:
        super().__init__()
        self.predictor = predictor

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (n, C) probabilities or (n, K) values."""
        answers: Tensor = self.predictor(inputs)
        return torch.softmax(answers, dim=1) if self.predictor.task.classified else answers


def export(predictor: Predictor, path: Path, kind: str, inputs: Floats32 | None = None) -> float:
    """Write a predictor to a file, and return how far its answers are from the predictor's.

    kind: onnx or torch (`torch.export.load`).  inputs: (n, *shape) to check the file on; None:
    drawn in the task's range.  Raises ConfigError where a package is missing, DataError where the
    network cannot be exported, or answers otherwise than the predictor by more than `CLOSE` (of
    values, in units of their scale).
    """
    if kind not in FORMATS:
        raise ConfigError(f"export: {kind}: must be one of {', '.join(FORMATS)}")
    task = predictor.inputs
    rows = drawn(task) if inputs is None else np.asarray(inputs[:CHECKED], np.float32)
    module = _Answers(predictor).eval()
    part = path.with_name(f"{path.name}.part")
    try:
        write = _write_onnx if kind == "onnx" else _write_torch
        write(module, rows, part, json.dumps(described(predictor)))
        apart = _apart(module, part, rows, kind, predictor)
        if not apart <= CLOSE:
            raise DataError(f"{path}: its answers are {apart:.2g} from the predictor's: not kept")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return apart


def described(predictor: Predictor) -> dict[str, Any]:
    """Return what goes with the file: what inputs and outputs are."""
    task, inputs = predictor.task, predictor.inputs
    features = [name for column in inputs.columns for name in column.features()]
    return {
        "task": task.name,
        "kind": task.kind,
        "labels": list(task.labels),
        "shape": list(inputs.shape),
        "features": features,
        "columns": [asdict(column) for column in inputs.columns],
        "missing": list(inputs.missing),
        "imputed": [
            0.0 if column.kind == CATEGORY or at else inputs.location[start]
            for start, column in inputs.columns_at()
            for at in range(column.width)
        ],
    }


def drawn(task: Task) -> Floats32:
    """Return inputs of a task to check a file on: (CHECKED, *shape), the same each time."""
    rng = np.random.default_rng(0)
    size = (CHECKED, *task.shape)
    if task.layout == "tokens":
        return rng.integers(int(task.low), int(task.high) + 1, size).astype(np.float32)
    if task.layout == "vector" and task.scale:
        made = np.asarray(task.location or 0.0) + np.asarray(task.scale) * rng.normal(size=size)
        return made.astype(np.float32)
    return rng.uniform(task.low, task.high, size).astype(np.float32)


def _write_onnx(module: nn.Module, rows: Floats32, path: Path, meta: str) -> None:
    try:
        program = _quietly(module, rows)
        model = program.model_proto
    except ImportError:
        raise ConfigError("export: onnx needs pip install 'qsynth[onnx]'") from None
    entry = model.metadata_props.add()
    entry.key, entry.value = META, meta
    path.write_bytes(model.SerializeToString())


def _quietly(module: nn.Module, rows: Floats32) -> Any:
    """Return the ONNX program of a module, without its exporter's chatter on packages."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.onnx.export(
                module,
                (torch.from_numpy(rows),),
                dynamo=True,
                input_names=[INPUTS],
                output_names=[OUTPUTS],
                dynamic_shapes={"inputs": {0: torch.export.Dim("n", min=1)}},
                verbose=False,
            )
    except ImportError:
        raise
    except Exception as error:  # the exporter raises errors of many kinds of its own
        raise DataError(f"export: onnx: {_first(error)}") from None
    finally:
        logger.setLevel(level)


def _write_torch(module: nn.Module, rows: Floats32, path: Path, meta: str) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.export(
                module,
                (torch.from_numpy(rows),),
                dynamic_shapes={"inputs": {0: torch.export.Dim("n", min=1)}},
            )
    except Exception as error:  # as above
        raise DataError(f"export: torch: {_first(error)}") from None
    with path.open("wb") as file:
        torch.export.save(program, file, extra_files={f"{META}.json": meta})


def _first(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _apart(module: nn.Module, path: Path, rows: Floats32, kind: str, predictor: Predictor) -> float:
    """Return the greatest distance of a file's answers from the module's."""
    with torch.no_grad():
        wanted = module(torch.from_numpy(rows)).numpy()
    if kind == "onnx":
        session = runtime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
        got = session.run([OUTPUTS], {INPUTS: rows})[0]
    else:
        with path.open("rb") as file, warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            got = torch.export.load(file).module()(torch.from_numpy(rows)).numpy()
    scale = np.asarray(predictor.task.target_scale or 1.0)
    return float((np.abs(got - wanted) / scale).max(initial=0.0))
