"""The options of the group `privacy`: one module each."""

from qsynth.privacy.dp import DifferentialPrivacy
from qsynth.privacy.dp_secure_sum import DpSecureSum
from qsynth.privacy.none import NoPrivacy
from qsynth.privacy.secure_sum import SecureSum

OPTIONS: dict[str, type] = {
    "none": NoPrivacy,
    "dp": DifferentialPrivacy,
    "secure_sum": SecureSum,
    "dp_secure_sum": DpSecureSum,
}
