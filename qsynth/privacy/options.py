"""The options of the group `privacy`: one module each."""

from qsynth.privacy.dp import DifferentialPrivacy
from qsynth.privacy.none import NoPrivacy

OPTIONS: dict[str, type] = {"none": NoPrivacy, "dp": DifferentialPrivacy}
