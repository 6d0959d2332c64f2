"""A callback for Trainers of `pytorch_lightning` and of `lightning.pytorch`.

Both packages hold the same code under two names, and each Trainer takes callbacks of its own alone.
"""

from __future__ import annotations

import sys
from typing import Any, Self

import pytorch_lightning as pl

OTHER = "lightning.pytorch"  # of which a script that has imported it means the classes
_made: dict[type, type] = {}


class Callback(pl.Callback):
    """Be a callback of the other package as well, where a script has imported that."""

    def __new__(cls, *_: Any, **__: Any) -> Self:
        """Return an instance of this class, or of one that is a callback of both packages."""
        other = getattr(sys.modules.get(OTHER), "Callback", None)
        both = cls if other is None or issubclass(cls, other) else _of_both(cls, other)
        made: Self = object.__new__(both)
        return made


def _of_both(cls: type, other: type) -> type:
    if cls not in _made:
        told = {"__module__": cls.__module__, "__doc__": cls.__doc__}
        _made[cls] = type(cls.__name__, (cls, other), told)
    return _made[cls]
