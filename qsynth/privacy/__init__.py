"""Privacy: what a packet tells of any one record.

An option is one module, which is a `PrivacyRule`: `none`, `dp`, `secure_sum`, `dp_secure_sum`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qsynth.lazy import exports

if TYPE_CHECKING:
    from qsynth.privacy.base import PrivacyRule
    from qsynth.privacy.budget import Budget, check_home
    from qsynth.privacy.contribution import Contribution, Sum, quorum
    from qsynth.privacy.noise import bound, key_of
    from qsynth.privacy.none import NoPrivacy
    from qsynth.privacy.release import Release

__all__ = [
    "Budget",
    "Contribution",
    "NoPrivacy",
    "PrivacyRule",
    "Release",
    "Sum",
    "bound",
    "check_home",
    "key_of",
    "quorum",
]
__getattr__ = exports(
    __name__,
    {
        "Budget": "budget",
        "Contribution": "contribution",
        "NoPrivacy": "none",
        "PrivacyRule": "base",
        "Release": "release",
        "Sum": "contribution",
        "bound": "noise",
        "check_home": "budget",
        "key_of": "noise",
        "quorum": "contribution",
    },
)
