"""Write a predictor, and read it back as one torch module that needs no mesh."""

from __future__ import annotations

import math
import os
import pickle  # its error alone: nothing here unpickles code
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from qsynth.encoder import Encoder, make_encoder
from qsynth.encoder.config import EncoderOptions
from qsynth.encoder.options import OPTIONS as ENCODERS
from qsynth.encoder.pretrained import Pretrained
from qsynth.errors import ConfigError, DataError, UntrustedError, printable
from qsynth.model import make_network
from qsynth.pipeline.predictor import Predictor
from qsynth.pipeline.target_predictor import make_predictor
from qsynth.schema import choose, name_of
from qsynth.training.best_weights import copied
from qsynth.training.features import Backbone
from qsynth.types import Column, Task

MOST_NUMBERS = 1 << 22  # of one input, in a file of somebody's
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
TUPLES = (
    "labels",
    "shape",
    "location",
    "scale",
    "invariances",
    "target_location",
    "target_scale",
    "missing",
)


def save_predictor(
    predictor: Predictor,
    path: Path,
    encoder: dict[str, Any],
    model: dict[str, Any],
    backbone: Backbone | None = None,
) -> None:
    """Write all that `load_predictor` needs: plain values and arrays, no code.

    encoder, model: the configs they were built from; an empty model is the user's own module.
    backbone: what makes the features that the predictor's network takes, if it does.
    """
    # Encoders are pure functions of their configs: a receiver computes them again.
    computed = ("encoder.", "backbone.")
    state = {k: v for k, v in predictor.state_dict().items() if not k.startswith(computed)}
    values: dict[str, Any] = {
        "task": _plain(predictor.task),
        "encoder": encoder,
        "model": model,
        "state": state,
    }
    if backbone is not None:
        values["backbone"] = {
            "task": _plain(backbone.task),
            "encoder": asdict(backbone.config),
            "digest": backbone.encoder.digest.hex(),
        }
    elif predictor.encoder is not None:
        values["digest"] = predictor.encoder.digest.hex()
    part = path.with_suffix(".part")
    torch.save(values, part)
    os.replace(part, path)


def _plain(task: Task) -> dict[str, Any]:
    made = {k: list(v) if k in TUPLES else v for k, v in asdict(task).items()}
    made["columns"] = [{**column, "levels": list(column["levels"])} for column in made["columns"]]
    return made


def _task(values: Mapping[str, Any]) -> Task:
    given: dict[str, Any] = {k: tuple(v) if k in TUPLES else v for k, v in values.items()}
    columns = [{**column, "levels": tuple(column["levels"])} for column in given.pop("columns", [])]
    for column in columns:
        texts = (column["name"], column["kind"], *column["levels"])
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("a column's name, kind and levels are text")
    return Task(**given, columns=tuple(Column(**column) for column in columns))


def load_predictor(
    path: str | Path,
    network: nn.Module | None = None,
    encoder: nn.Module | EncoderOptions | None = None,
    trust: Sequence[str] = (),
    on_features: bool = False,
) -> Predictor:
    """Return a node's predictor, ready to answer.  A file names no code that is then run.

    network: an instance of the user's own module, where the file names none.  It is copied: the
    predictor has the file's weights, the instance keeps its own.  encoder: the network of
    `encoder=module`, with the weights that the fleet uses; or the options of a pre-trained encoder
    that lies elsewhere on this machine.  trust: package.Class names, and paths, which the file may
    give as its encoder or network instead.  on_features: leave the backbone of
    `data.features` out; the predictor then takes features.
    Raises DataError where the file is no predictor, or not of such a module, and UntrustedError
    where it names code that the caller has neither given nor trusted.
    """
    try:
        stored = torch.load(Path(path), weights_only=True, map_location="cpu")
        task, state = _task(stored["task"]), dict(stored["state"])
        for name in ("head_weights", "head_bias"):
            if not torch.isfinite(state[name]).all():
                raise ValueError(f"{name} are no finite numbers")
        encoder_values, model = dict(stored["encoder"]), dict(stored["model"])
        under = stored.get("backbone")
        below = None if under is None else (_task(under["task"]), dict(under["encoder"]))
        digest = str(stored.get("digest", "") if under is None else under["digest"])
    except UNREADABLE as error:
        raise DataError(f"{path}: not a predictor that qsynth wrote ({error})") from None
    if network is None:
        if not model:
            raise DataError(f"{path}: holds a module of the user's own: give network=...")
        _check_trust(path, "network", model, trust)
        network = make_network(model, task)
    encoding, behind = None, None
    if below is not None:
        if not on_features:
            behind = _encoder(path, below[1], below[0], encoder, trust, digest)
        encoder = None
    if encoder_values:
        own = digest if below is None else ""
        encoding = _encoder(path, encoder_values, task, encoder, trust, own)
        state = state | {f"encoder.{k}": v for k, v in encoding.state_dict().items()}
    predictor = make_predictor(copied(network), encoding, task)
    state.setdefault("half_width", predictor.half_width)  # what older files do not tell
    try:
        predictor.load_state_dict(state)
    except RuntimeError as error:
        said = " ".join(str(error).split())[:MOST_SAID]
        raise DataError(
            f"{path}: is of another network than {type(network).__name__} ({said})"
        ) from None
    predictor.backbone = behind
    if behind is not None and below is not None:
        predictor.inputs = below[0]
    return predictor.eval()


def _encoder(
    path: str | Path,
    values: dict[str, Any],
    task: Task,
    given: nn.Module | EncoderOptions | None,
    trust: Sequence[str],
    digest: str,
) -> Encoder:
    """Return the encoder that a file names, or the caller gives.

    digest: of the one that the predictor was made with; "": not told.  Raises DataError where a
    pre-trained one has other weights here.
    """
    if math.prod(task.shape) > MOST_NUMBERS:
        raise DataError(f"{path}: an input has {math.prod(task.shape):,} numbers: not believed")
    config: Any
    network = None
    if isinstance(given, EncoderOptions):
        config = given
    else:
        if given is None:
            _check_trust(path, "encoder", values, trust)
        else:
            network = copied(given)
        config = choose(ENCODERS, values, "encoder")
        _check_located(path, config, trust)
    try:
        made = make_encoder(config, task, network)
    except ConfigError as error:
        if isinstance(config, Pretrained):
            raise DataError(f"{path}: its encoder is not here: {error}") from None
        raise
    if isinstance(config, Pretrained) and made.digest.hex() != digest:
        raise DataError(
            f"{path}: was made with another encoder, or other weights, than "
            f"encoder={name_of(config)} has here"
        )
    return made


def _check_located(path: str | Path, config: Any, trust: Sequence[str]) -> None:
    """Raise UntrustedError where a file names what lies on this machine."""
    named = config.located_files() if isinstance(config, Pretrained) else {}
    for key, place in named.items():
        if place not in trust:
            raise UntrustedError(
                f"{path}: names {printable(str(place))} as encoder.{key}; give encoder=... with "
                "the options of what lies here, or trust=[...] with that name"
            )


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
