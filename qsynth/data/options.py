"""The options of the group `data`."""

from qsynth.data.config import Arrays, Cifar10, DataModule, Digits, Fmnist
from qsynth.data.images import Images

OPTIONS: dict[str, type] = {
    "digits": Digits,
    "fmnist": Fmnist,
    "cifar10": Cifar10,
    "arrays": Arrays,
    "images": Images,
    "module": DataModule,
}
