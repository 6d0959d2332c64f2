"""The options of the group `encoder`, and those of installed packages."""

from qsynth.encoder.config import Identity, ModuleEncoder, SeededConv, SeededConv1d, SeededFourier
from qsynth.encoder.pretrained import (
    EfficientNetLite0,
    Onnx,
    SentenceTransformers,
    Timm,
    Torchvision,
    Transformers,
)
from qsynth.registry import Options

OPTIONS = Options(
    "encoder",
    {
        "seeded_conv": SeededConv,
        "seeded_fourier": SeededFourier,
        "seeded_conv1d": SeededConv1d,
        "identity": Identity,
        "module": ModuleEncoder,
        "efficientnet_lite0": EfficientNetLite0,
        "torchvision": Torchvision,
        "timm": Timm,
        "transformers": Transformers,
        "sentence_transformers": SentenceTransformers,
        "onnx": Onnx,
    },
)
