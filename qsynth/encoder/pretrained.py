"""The options of pre-trained encoders: their code, which needs torch, is in `*_backbones.py`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from qsynth.encoder.config import EncoderOptions
from qsynth.errors import ConfigError
from qsynth.schema import name_of, option, setting

PROJECTIONS = ("random", "seeded", "reference")


@option("encoder")
@dataclass(frozen=True)
class Pretrained(EncoderOptions):
    """What every encoder has whose weights come from elsewhere.  An option subclasses it.

    Weights ship in a package, or come from a file or a cache of this machine: nothing is fetched.
    """

    side: int = setting(0, "pixels a side that images are resized to; 0: as they are", low=0)
    root: bool = setting(True, "take the signed root of each feature, which evens them out")
    projection: str = setting(
        "random",
        "directions that features are taken on: drawn from a seed, or the strongest of seeded "
        "noise or of a public reference",
        choices=PROJECTIONS,
    )
    unit: float = setting(
        0.0, "of a feature, so that most are about 1; 0: their spread on seeded noise", low=0.0
    )
    seed: int = setting(1, "of directions and noise; the same on every node", low=0)
    reference: str | None = setting(
        None, "an .npy of public inputs, the same on every node (projection=reference)"
    )

    located: ClassVar[tuple[str, ...]] = ("reference",)  # settings that differ between machines

    def check(self) -> None:
        """Raise ConfigError where a setting that is needed has been left out."""
        if self.projection == "reference" and self.reference is None:
            raise ConfigError("encoder.reference=null: encoder.projection=reference needs an .npy")
        for name, value in asdict(self).items():
            if value == "":
                raise ConfigError(f"encoder.{name}=: encoder={name_of(self)} needs it")

    def located_files(self) -> dict[str, str]:
        """Return the settings that name what lies on this machine, and is somebody's own."""
        values = asdict(self)
        return {key: values[key] for key in self.located if values[key]}

    def told(self) -> dict[str, Any]:
        """Return what features depend on: where a file lies is no part of it, its content is."""
        return {key: value for key, value in asdict(self).items() if key not in self.located}

    def least(self, size: int) -> int:
        """Return how many features a packet has at least: directions drawn have no order."""
        return self.dimensions if self.projection == "random" else 0


@option("encoder")
@dataclass(frozen=True)
class EfficientNetLite0(Pretrained):
    """EfficientNet-Lite0 on ImageNet: 1,280 features; its weights are in the extra `vision`."""

    name: str = setting("efficientnet_lite0", "the option's name", choices=("efficientnet_lite0",))
    side: int = setting(128, "pixels a side that images are resized to; 0: as they are", low=0)
    unit: float = setting(
        0.6, "of a feature, so that most are about 1; 0: their spread on seeded noise", low=0.0
    )

    encodes: ClassVar[str] = "qsynth.encoder.image_backbones:LiteEncoder"
    layouts: ClassVar[tuple[str, ...]] = ("image",)


@option("encoder")
@dataclass(frozen=True)
class Torchvision(Pretrained):
    """A classifier of torchvision, without its last layer."""

    name: str = setting("torchvision", "the option's name", choices=("torchvision",))
    side: int = setting(224, "pixels a side that images are resized to; 0: as they are", low=0)
    model: str = setting("", "of torchvision.models, such as resnet18")
    weights: str | None = setting(
        None, "a file of its state_dict; null: the default weights in torch's cache"
    )

    encodes: ClassVar[str] = "qsynth.encoder.image_backbones:TorchvisionEncoder"
    layouts: ClassVar[tuple[str, ...]] = ("image",)
    located: ClassVar[tuple[str, ...]] = ("reference", "weights")


@option("encoder")
@dataclass(frozen=True)
class Timm(Pretrained):
    """An image model of timm, without its classifier."""

    name: str = setting("timm", "the option's name", choices=("timm",))
    side: int = setting(224, "pixels a side that images are resized to; 0: as they are", low=0)
    model: str = setting("", "of timm.list_models(), such as vit_small_patch16_224")
    weights: str | None = setting(
        None, "a file of its weights; null: the default ones in the hub's cache"
    )

    encodes: ClassVar[str] = "qsynth.encoder.image_backbones:TimmEncoder"
    layouts: ClassVar[tuple[str, ...]] = ("image",)
    located: ClassVar[tuple[str, ...]] = ("reference", "weights")


@option("encoder")
@dataclass(frozen=True)
class Transformers(Pretrained):
    """A model of transformers: the mean of its last states, of images or of tokens."""

    name: str = setting("transformers", "the option's name", choices=("transformers",))
    model: str = setting("", "a folder of save_pretrained, or a name in the hub's cache")

    encodes: ClassVar[str] = "qsynth.encoder.transformer_backbones:TransformersEncoder"
    layouts: ClassVar[tuple[str, ...]] = ("image", "tokens")
    located: ClassVar[tuple[str, ...]] = ("reference", "model")


@option("encoder")
@dataclass(frozen=True)
class SentenceTransformers(Pretrained):
    """A model of sentence-transformers, on tokens of its own vocabulary."""

    name: str = setting(
        "sentence_transformers", "the option's name", choices=("sentence_transformers",)
    )
    root: bool = setting(False, "take the signed root of each feature, which evens them out")
    model: str = setting("", "a folder that it was saved in, or a name in the hub's cache")

    encodes: ClassVar[str] = "qsynth.encoder.transformer_backbones:SentenceEncoder"
    layouts: ClassVar[tuple[str, ...]] = ("tokens",)
    located: ClassVar[tuple[str, ...]] = ("reference", "model")


@option("encoder")
@dataclass(frozen=True)
class Onnx(Pretrained):
    """A model in the ONNX format: its first output, flattened."""

    name: str = setting("onnx", "the option's name", choices=("onnx",))
    file: str = setting("", "the .onnx file")
    centre: tuple[float, ...] = setting(
        [0.0], "of inputs in [0, 1] (vectors: in the task's units), all or each channel"
    )
    spread: tuple[float, ...] = setting([1.0], "of the same")

    encodes: ClassVar[str] = "qsynth.encoder.onnx_backbone:OnnxEncoder"
    layouts: ClassVar[tuple[str, ...]] = ("image", "series", "vector", "tokens")
    located: ClassVar[tuple[str, ...]] = ("reference", "file")
