"""qsynth: nodes that learn from each other, peer to peer, with no coordinator."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qsynth.dht.config import Rings
    from qsynth.dht.record import Record, record_key
    from qsynth.distill.analytic import Analytic
    from qsynth.distill.class_logits import ClassLogits
    from qsynth.distill.mosaic import Mosaic
    from qsynth.distill.reference_logits import ReferenceLogits
    from qsynth.encoder.config import (
        Identity,
        ModuleEncoder,
        SeededConv,
        SeededConv1d,
        SeededFourier,
    )
    from qsynth.encoder.pretrained import (
        EfficientNetLite0,
        Onnx,
        SentenceTransformers,
        Timm,
        Torchvision,
        Transformers,
    )
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
    from qsynth.inference.new_data import table_inputs
    from qsynth.mesh.tcp import Tcp
    from qsynth.peers.all import AllPeers
    from qsynth.peers.dissimilar import Dissimilar
    from qsynth.peers.none import NoPeers
    from qsynth.peers.random import RandomPeers
    from qsynth.peers.semantic import Semantic
    from qsynth.peers.sums import Sums
    from qsynth.pipeline.predictor import Predictor
    from qsynth.privacy.dp import DifferentialPrivacy
    from qsynth.privacy.dp_secure_sum import DpSecureSum
    from qsynth.privacy.none import NoPrivacy
    from qsynth.privacy.secure_sum import SecureSum
    from qsynth.similarity.class_sketch import ClassSketch
    from qsynth.similarity.label_histogram import LabelHistogram
    from qsynth.similarity.module import OwnMetric
    from qsynth.similarity.output_probe import OutputProbe
    from qsynth.similarity.sketch_mean import SketchMean
    from qsynth.synthesis.analytic_head import AnalyticHead
    from qsynth.synthesis.class_kd import ClassKd
    from qsynth.synthesis.head_rule import Teach
    from qsynth.synthesis.hierarchical import Hierarchical
    from qsynth.synthesis.lesson import LessonOptions
    from qsynth.synthesis.reference_kd import ReferenceKd
    from qsynth.synthesis.replay import Replay, ReplayLessonOptions
    from qsynth.synthesis.ridge import Ridge, TargetLessonOptions
    from qsynth.training.export import load_predictor
    from qsynth.trust.config import Checks
    from qsynth.types import Task

__version__ = "0.1.0"
# Where each public name is: what a script needs, and nothing is imported before it is used.
_HOMES = {
    "dht.config": ("Rings",),
    "dht.record": ("Record", "record_key"),
    "distill.analytic": ("Analytic",),
    "distill.class_logits": ("ClassLogits",),
    "distill.mosaic": ("Mosaic",),
    "distill.reference_logits": ("ReferenceLogits",),
    "encoder.pretrained": (
        "EfficientNetLite0",
        "Onnx",
        "SentenceTransformers",
        "Timm",
        "Torchvision",
        "Transformers",
    ),
    "encoder.config": ("Identity", "ModuleEncoder", "SeededConv", "SeededConv1d", "SeededFourier"),
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
    "mesh.tcp": ("Tcp",),
    "training.export": ("load_predictor",),
    "inference.new_data": ("table_inputs",),
    "host.mesh_host": ("MeshHost",),
    "host.join": ("JoinMesh",),
    "peers.all": ("AllPeers",),
    "peers.dissimilar": ("Dissimilar",),
    "peers.none": ("NoPeers",),
    "peers.random": ("RandomPeers",),
    "peers.semantic": ("Semantic",),
    "peers.sums": ("Sums",),
    "similarity.class_sketch": ("ClassSketch",),
    "similarity.sketch_mean": ("SketchMean",),
    "similarity.label_histogram": ("LabelHistogram",),
    "similarity.output_probe": ("OutputProbe",),
    "similarity.module": ("OwnMetric",),
    "synthesis.analytic_head": ("AnalyticHead",),
    "synthesis.class_kd": ("ClassKd",),
    "synthesis.head_rule": ("Teach",),
    "synthesis.hierarchical": ("Hierarchical",),
    "synthesis.lesson": ("LessonOptions",),
    "synthesis.reference_kd": ("ReferenceKd",),
    "synthesis.replay": ("Replay", "ReplayLessonOptions"),
    "synthesis.ridge": ("Ridge", "TargetLessonOptions"),
    "pipeline.predictor": ("Predictor",),
    "privacy.dp": ("DifferentialPrivacy",),
    "privacy.dp_secure_sum": ("DpSecureSum",),
    "privacy.none": ("NoPrivacy",),
    "privacy.secure_sum": ("SecureSum",),
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
    "DifferentialPrivacy",
    "DpSecureSum",
    "Dissimilar",
    "EfficientNetLite0",
    "Hierarchical",
    "Identity",
    "JoinMesh",
    "LabelHistogram",
    "LessonOptions",
    "MeshError",
    "MeshHost",
    "ModuleEncoder",
    "Mosaic",
    "NoPeers",
    "NoPrivacy",
    "Onnx",
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
    "SecureSum",
    "Semantic",
    "SentenceTransformers",
    "ShapeError",
    "SketchMean",
    "StateError",
    "Sums",
    "TargetLessonOptions",
    "Task",
    "Tcp",
    "Teach",
    "Timm",
    "Torchvision",
    "Transformers",
    "UntrustedError",
    "__version__",
    "load_predictor",
    "table_inputs",
    "record_key",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"qsynth.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'qsynth' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
