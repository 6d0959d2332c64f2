"""Privacy: what a packet tells of any one record.

An option is one module, which is a `PrivacyRule`: `none`, `dp`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qsynth.lazy import exports

if TYPE_CHECKING:
    from qsynth.privacy.base import PrivacyRule, Release
    from qsynth.privacy.budget import Budget
    from qsynth.privacy.noise import key_of
    from qsynth.privacy.none import NoPrivacy

__all__ = ["Budget", "NoPrivacy", "PrivacyRule", "Release", "key_of"]
__getattr__ = exports(
    __name__,
    {
        "Budget": "budget",
        "NoPrivacy": "none",
        "PrivacyRule": "base",
        "Release": "base",
        "key_of": "noise",
    },
)
