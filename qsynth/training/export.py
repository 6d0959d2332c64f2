"""Write a predictor, and read it back as one torch module that needs no mesh."""

from __future__ import annotations

import os
import pickle  # its error alone: nothing here unpickles code
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from qsynth.encoder import make_encoder
from qsynth.encoder.config import OPTIONS as ENCODERS
from qsynth.errors import DataError, UntrustedError, printable
from qsynth.model import make_network
from qsynth.pipeline.predictor import Predictor
from qsynth.pipeline.target_predictor import make_predictor
from qsynth.schema import choose
from qsynth.training.best_weights import copied
from qsynth.types import Task

MOST_SAID = 300  # characters of torch's list of what does not fit
UNREADABLE = (
    OSError,
    EOFError,
    KeyError,
    TypeError,
    AttributeError,
    RuntimeError,
    ValueError,
    struct.error,
    pickle.UnpicklingError,
)
TUPLES = ("labels", "shape", "location", "scale", "invariances", "target_location", "target_scale")


def save_predictor(
    predictor: Predictor, path: Path, encoder: dict[str, Any], model: dict[str, Any]
) -> None:
    """Write all that `load_predictor` needs: plain values and arrays, no code.

    encoder, model: the configs they were built from; an empty model is the user's own module.
    """
    task = {k: list(v) if k in TUPLES else v for k, v in asdict(predictor.task).items()}
    # The encoder is a pure function of its config: a receiver computes it again.
    state = {k: v for k, v in predictor.state_dict().items() if not k.startswith("encoder.")}
    part = path.with_suffix(".part")
    torch.save({"task": task, "encoder": encoder, "model": model, "state": state}, part)
    os.replace(part, path)


def load_predictor(
    path: str | Path,
    network: nn.Module | None = None,
    encoder: nn.Module | None = None,
    trust: Sequence[str] = (),
) -> Predictor:
    """Return a node's predictor, ready to answer.  A file names no code that is then run.

    network: an instance of the user's own module, where the file names none.  It is copied: the
    predictor has the file's weights, the instance keeps its own.  encoder: the network of
    `encoder=module`, with the weights that the fleet uses.  trust: package.Class names which the
    file may give as its encoder or network instead.
    Raises DataError where the file is no predictor, or not of such a module, and UntrustedError
    where it names code that the caller has neither given nor trusted.
    """
    try:
        stored = torch.load(Path(path), weights_only=True, map_location="cpu")
        values: dict[str, Any] = {
            k: tuple(v) if k in TUPLES else v for k, v in stored["task"].items()
        }
        task, state = Task(**values), stored["state"]
        encoder_values, model = dict(stored["encoder"]), dict(stored["model"])
    except UNREADABLE as error:
        raise DataError(f"{path}: not a predictor that qsynth wrote ({error})") from None
    if network is None:
        if not model:
            raise DataError(f"{path}: holds a module of the user's own: give network=...")
        _check_trust(path, "network", model, trust)
        network = make_network(model, task)
    encoding = None
    if encoder_values:
        if encoder is None:
            _check_trust(path, "encoder", encoder_values, trust)
        config: Any = choose(ENCODERS, encoder_values, "encoder")
        encoding = make_encoder(config, task, None if encoder is None else copied(encoder))
        state = state | {f"encoder.{k}": v for k, v in encoding.state_dict().items()}
    predictor = make_predictor(copied(network), encoding, task)
    try:
        predictor.load_state_dict(state)
    except RuntimeError as error:
        said = " ".join(str(error).split())[:MOST_SAID]
        raise DataError(
            f"{path}: is of another network than {type(network).__name__} ({said})"
        ) from None
    return predictor.eval()


def _check_trust(
    path: str | Path, what: str, values: Mapping[str, Any], trust: Sequence[str]
) -> None:
    """Raise UntrustedError where a file names code that nobody has trusted."""
    # Whatever its option is called: no bundled one has a target.
    target = values.get("target")
    if target is not None and target not in trust:
        raise UntrustedError(
            f"{path}: names {printable(str(target))} as its {what}, which is code; give "
            f"{what}=... with a module made by yourself, or trust=[...] with that name"
        )
