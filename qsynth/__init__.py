"""qsynth: nodes that learn from each other, peer to peer, with no coordinator."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qsynth.dht.config import Rings
    from qsynth.dht.record import Record, record_key
    from qsynth.distill.config import Analytic, ClassLogits, Mosaic, ReferenceLogits
    from qsynth.encoder.config import ModuleEncoder, SeededConv, SeededConv1d, SeededFourier
    from qsynth.errors import (
        ConfigError,
        DataError,
        MeshError,
        PacketError,
        QsynthError,
        RecipeError,
        RunError,
        ShapeError,
        StateError,
        UntrustedError,
    )
    from qsynth.host.join import JoinMesh
    from qsynth.host.mesh_host import MeshHost
    from qsynth.mesh.config import Tcp
    from qsynth.peers.config import AllPeers, Dissimilar, NoPeers, RandomPeers, Semantic, Sums
    from qsynth.similarity.class_sketch import ClassSketch
    from qsynth.similarity.label_histogram import LabelHistogram
    from qsynth.similarity.module import OwnMetric
    from qsynth.similarity.output_probe import OutputProbe
    from qsynth.similarity.sketch_mean import SketchMean
    from qsynth.synthesis.config import (
        AnalyticHead,
        ClassKd,
        LessonOptions,
        ReferenceKd,
        Replay,
        ReplayLessonOptions,
        Ridge,
        TargetLessonOptions,
        Teach,
    )
    from qsynth.synthesis.predictor import Predictor
    from qsynth.training.export import load_predictor
    from qsynth.trust.config import Checks
    from qsynth.types import Task

__version__ = "0.1.0"
# Where each public name is: what a script needs, and nothing is imported before it is used.
_HOMES = {
    "dht.config": ("Rings",),
    "dht.record": ("Record", "record_key"),
    "distill.config": ("Analytic", "ClassLogits", "Mosaic", "ReferenceLogits"),
    "encoder.config": ("ModuleEncoder", "SeededConv", "SeededConv1d", "SeededFourier"),
    "errors": (
        "ConfigError",
        "DataError",
        "MeshError",
        "PacketError",
        "QsynthError",
        "RecipeError",
        "RunError",
        "ShapeError",
        "StateError",
        "UntrustedError",
    ),
    "mesh.config": ("Tcp",),
    "training.export": ("load_predictor",),
    "host.mesh_host": ("MeshHost",),
    "host.join": ("JoinMesh",),
    "peers.config": ("AllPeers", "Dissimilar", "NoPeers", "RandomPeers", "Semantic", "Sums"),
    "similarity.class_sketch": ("ClassSketch",),
    "similarity.sketch_mean": ("SketchMean",),
    "similarity.label_histogram": ("LabelHistogram",),
    "similarity.output_probe": ("OutputProbe",),
    "similarity.module": ("OwnMetric",),
    "synthesis.config": (
        "AnalyticHead",
        "ClassKd",
        "LessonOptions",
        "ReferenceKd",
        "Replay",
        "ReplayLessonOptions",
        "Ridge",
        "TargetLessonOptions",
        "Teach",
    ),
    "synthesis.predictor": ("Predictor",),
    "trust.config": ("Checks",),
    "types": ("Task",),
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names}
__all__ = [
    "AllPeers",
    "Analytic",
    "AnalyticHead",
    "Checks",
    "ClassKd",
    "ClassLogits",
    "ClassSketch",
    "ConfigError",
    "DataError",
    "Dissimilar",
    "JoinMesh",
    "LabelHistogram",
    "LessonOptions",
    "MeshError",
    "MeshHost",
    "ModuleEncoder",
    "Mosaic",
    "NoPeers",
    "OutputProbe",
    "OwnMetric",
    "PacketError",
    "Predictor",
    "QsynthError",
    "RandomPeers",
    "RecipeError",
    "Record",
    "ReferenceKd",
    "ReferenceLogits",
    "Replay",
    "ReplayLessonOptions",
    "Ridge",
    "Rings",
    "RunError",
    "SeededConv",
    "SeededConv1d",
    "SeededFourier",
    "Semantic",
    "ShapeError",
    "SketchMean",
    "StateError",
    "Sums",
    "TargetLessonOptions",
    "Task",
    "Tcp",
    "Teach",
    "UntrustedError",
    "__version__",
    "load_predictor",
    "record_key",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"qsynth.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'qsynth' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
