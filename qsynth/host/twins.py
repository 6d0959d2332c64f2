"""Whether another process has the same identity: a home that was copied, not moved.

Each process with a home stores a value of its own under a key that follows from its id, signed by
it, every minute, and reads what stands there.  Whoever finds a newer value than its start that is
not its own has a twin; the twin finds the same.
"""

from __future__ import annotations

import os
from concurrent.futures import Future

from qsynth.dht.record import Record, record_key
from qsynth.errors import MeshError
from qsynth.host.revocations import Recording
from qsynth.types import NodeId

LOOK_S = 60.0
TTL_S = 600.0
NONCE_BYTES = 16


class Twins:
    """Look for a process with the same identity.

    node, author: its id and public key.  began_ms: when this process began, in milliseconds since
    the epoch; what was stored before is of an earlier life.
    """

    def __init__(self, node: NodeId, author: bytes, began_ms: int, host: Recording) -> None:
        self._key, self._author, self._host = record_key(f"process {node.hex()}"), author, host
        self._began_ms, self._own = began_ms, os.urandom(NONCE_BYTES)
        self._look_at = 0.0
        self._found = False

    def look(self, now: float) -> None:
        """Read what stands there, now and then; what came is taken when it comes.  now: seconds."""
        if now < self._look_at:
            return
        self._look_at = now + LOOK_S
        self._host.get(self._key, self._author).add_done_callback(self._came)

    def _came(self, found: Future[list[Record]]) -> None:
        try:
            for record in found.result():
                newer = record.author == self._author and record.sequence > self._began_ms
                if newer and record.value != self._own and not self._found:
                    self._found = True
                    self._host.note([{"event": "twin"}])
            self._host.store(self._key, self._own, TTL_S)
        except MeshError:
            pass  # the node ends
