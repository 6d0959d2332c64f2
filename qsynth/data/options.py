"""What our options of the group `data` have in common."""

from __future__ import annotations

from dataclasses import dataclass

from qsynth.schema import option, setting


@option("data")
@dataclass(frozen=True)
class DataOptions:
    """What our data options have.  An option subclasses it."""

    features: bool = setting(
        False,
        "whether networks train on the features of a frozen encoder, made once and kept on disk; "
        "the predictor has the encoder inside",
    )
