"""What a request and its answer weigh, by the codec of real nodes."""

from __future__ import annotations

from functools import cache

import numpy as np

from qsynth.dht import Contact
from qsynth.mesh import Rpc
from qsynth.mesh.memory import Memory
from qsynth.mesh.rpc import Request
from qsynth.protocol import messages

ADDRESS = "tcp://192.168.100.100:47000"  # as long as most


@cache
def rpc_bytes(size: int) -> tuple[int, int, int]:
    """Return the bytes of a search request, of its answer without contacts, and of a contact.

    size: of fingerprints.
    """
    rng = np.random.default_rng(size)
    contact = Contact(rng.bytes(32), ADDRESS, rng.bytes(size), 1_800_000_000, density=100)
    rpc = Rpc(contact.id, Memory(), 1)
    body = messages.Search(contact, contact.fingerprint, 12)
    asked = rpc.request(0.0, ADDRESS, messages.SIMILAR, messages.pack(body), None)[0].payload
    request = Request(ADDRESS, 2**61, messages.SIMILAR, contact.id, b"")
    empty, full = (
        len(
            rpc.answer(
                request, messages.pack(messages.Contacts(contact, [contact] * count))
            ).payload
        )
        for count in (0, 10)
    )
    return len(asked), empty, (full - empty) // 10
