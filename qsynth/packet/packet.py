"""What an outcome packet holds: its author's own evidence, and who says so, when and of what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy.typing as npt

Payload: TypeAlias = dict[str, npt.NDArray[Any]]

KIND_AUTHOR = 1  # one author's own evidence
KIND_SUM = 2  # a sum over authors, with a receipt of each


@dataclass(frozen=True)
class OutcomePacket:
    """Hold one node's outcome, or a sum of several that one node vouches for.

    task, encoder: 16-byte digests.  author: the public key.  sequence: grows with each packet of
    an author and kind.  created_s: seconds since the epoch.  ttl_s: whole seconds until it
    expires.  support: samples behind the payload.  payload: arrays by name.
    """

    task: bytes
    encoder: bytes
    author: bytes
    sequence: int
    created_s: float
    ttl_s: int
    support: int
    payload: Payload
    kind: int = KIND_AUTHOR

    def expired(self, now_s: float) -> bool:
        """Return whether the packet's time to live is over."""
        return now_s >= self.created_s + self.ttl_s
