"""The options of the group `trust`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from qsynth.errors import ConfigError
from qsynth.schema import option, setting


@option("trust")
@dataclass(frozen=True)
class Checks:
    """Check every packet: signature, task, age, support, fingerprint."""

    name: str = setting("checks", "the option's name", choices=("checks",))
    max_clock_skew_s: float = setting(300.0, "a packet may come from the future", low=0.0)
    max_support: int = setting(1_000_000, "samples a packet may claim", low=1)
    allow: tuple[str, ...] = setting([], "ids (hex) of the only nodes to deal with; empty: all")
    deny: tuple[str, ...] = setting([], "ids (hex) of nodes not to deal with")
    max_authors: int = setting(64, "authors whose packets are kept", low=1)

    def check(self) -> None:
        """Raise ConfigError where what names a node is no id: it would shut out the wrong ones."""
        for key in ("allow", "deny"):
            for name in getattr(self, key):
                if not re.fullmatch("[0-9a-f]{64}", name):
                    raise ConfigError(
                        f"trust.{key}=[{name}]: must be the 64 digits of `qsynth node id`"
                    )


OPTIONS: dict[str, type] = {"checks": Checks}
