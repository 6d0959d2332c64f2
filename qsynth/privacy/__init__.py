"""Privacy: what a packet tells of any one record.

An option is one module, which is a `PrivacyRule`: `none`, `dp`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qsynth.lazy import exports

if TYPE_CHECKING:
    from qsynth.privacy.base import PrivacyRule, Release
    from qsynth.privacy.budget import Budget, check_home
    from qsynth.privacy.noise import bound, key_of
    from qsynth.privacy.none import NoPrivacy

__all__ = ["Budget", "NoPrivacy", "PrivacyRule", "Release", "bound", "check_home", "key_of"]
__getattr__ = exports(
    __name__,
    {
        "Budget": "budget",
        "NoPrivacy": "none",
        "PrivacyRule": "base",
        "Release": "base",
        "bound": "noise",
        "check_home": "budget",
        "key_of": "noise",
    },
)
