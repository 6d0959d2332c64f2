"""The routing table: buckets, prefix rings and a near set over one store of contacts.

Exact order: Kademlia buckets (Maymounkov & Mazieres 2002, section 2.2).  Semantic order: ring j
holds peers that share at least j id digits with me, the nearest by fingerprint and mutually
diverse, so that long links exist at every scale; the near set holds the nearest of all.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from qsynth.dht.config import Rings
from qsynth.dht.contact import ID_BYTES, Contact
from qsynth.kernels import cosine_top, diverse, xor_nearest
from qsynth.types import Fingerprint, NodeId


class Table:
    """Hold the contacts of one node.

    me: its id.  size: the length of fingerprints.  A contact is kept while a bucket, a ring or
    the near set has use for it.
    """

    def __init__(self, me: NodeId, size: int, config: Rings) -> None:
        self.me, self.config = me, config
        self.own: Fingerprint = np.zeros(size, np.int8)
        self.contacts: dict[NodeId, Contact] = {}
        self._buckets: dict[int, list[NodeId]] = {}
        self._rings: dict[int, list[NodeId]] = {}
        self._near: list[NodeId] = []

    def __len__(self) -> int:
        return len(self.contacts)

    def set_own(self, fingerprint: Fingerprint) -> None:
        """Take a new own fingerprint, and put every contact in its place again."""
        self.own = fingerprint
        known = list(self.contacts.values())
        self._rings, self._near = {}, []
        for contact in known:
            self._place(contact)
        self._prune()

    def add(self, contact: Contact) -> bool:
        """Take a contact, or news of one.  Return whether it is kept.

        An older version than the one known changes nothing.
        """
        if contact.id == self.me:
            return False
        known = self.contacts.get(contact.id)
        if known is not None and contact.version < known.version:
            return True
        if known == contact:
            self._touch(contact.id)
            return True
        self.contacts[contact.id] = contact
        if known is not None and known.fingerprint == contact.fingerprint:
            self._touch(contact.id)
            return True
        self._unplace(contact.id, keep_bucket=True)
        self._place(contact)
        self._prune()
        return contact.id in self.contacts

    def remove(self, node: NodeId) -> None:
        """Forget a contact: it has not answered."""
        if self.contacts.pop(node, None) is not None:
            self._unplace(node, keep_bucket=False)

    def nearest(self, target: NodeId, k: int, exclude: Iterable[NodeId] = ()) -> list[Contact]:
        """Return the k contacts nearest to an id in the XOR metric."""
        pool = self._pool(exclude)
        if not pool:
            return []
        ids = np.frombuffer(b"".join(c.id for c in pool), np.uint8).reshape(-1, ID_BYTES)
        rows = xor_nearest(np.frombuffer(target, np.uint8), ids, k)
        return [pool[row] for row in rows]

    def alike(self, wanted: Fingerprint, m: int, exclude: Iterable[NodeId] = ()) -> list[Contact]:
        """Return the m contacts whose fingerprints are most alike to the wanted one."""
        pool = self._pool(exclude)
        if not pool:
            return []
        rows, _ = cosine_top(wanted, self._matrix(pool), m)
        return [pool[row] for row in rows]

    def _pool(self, exclude: Iterable[NodeId]) -> list[Contact]:
        left_out = set(exclude)
        return [c for c in self.contacts.values() if c.id not in left_out]

    def _matrix(self, pool: list[Contact]) -> np.ndarray:
        return np.frombuffer(b"".join(c.fingerprint for c in pool), np.int8).reshape(len(pool), -1)

    def _place(self, contact: Contact) -> None:
        shared = shared_bits(self.me, contact.id)
        bucket = self._buckets.setdefault(shared, [])
        # The least recently seen stand first, and stay: old contacts live longest (section 2.2).
        if contact.id not in bucket and len(bucket) < self.config.bucket_size:
            bucket.append(contact.id)
        for ring in range(shared // self.config.digit_bits + 1):
            self._insert(self._rings.setdefault(ring, []), contact, self.config.ring_size)
        self._insert_near(contact)

    def _insert(self, ring: list[NodeId], contact: Contact, size: int) -> None:
        pool = [self.contacts[node] for node in ring if node in self.contacts] + [contact]
        matrix = self._matrix(pool)
        order, scores = cosine_top(self.own, matrix, len(pool))
        kept = diverse(scores, matrix[order], size)
        ring[:] = [pool[order[row]].id for row in kept]

    def _insert_near(self, contact: Contact) -> None:
        pool = [self.contacts[node] for node in self._near if node in self.contacts] + [contact]
        order, _ = cosine_top(self.own, self._matrix(pool), self.config.near_size)
        self._near = [pool[row].id for row in order]

    def _touch(self, node: NodeId) -> None:
        bucket = self._buckets.get(shared_bits(self.me, node), [])
        if node in bucket:
            bucket.remove(node)
            bucket.append(node)

    def _unplace(self, node: NodeId, keep_bucket: bool) -> None:
        groups = [*self._rings.values(), self._near]
        if not keep_bucket:
            groups += list(self._buckets.values())
        for group in groups:
            if node in group:
                group.remove(node)

    def _prune(self) -> None:
        used = set(self._near)
        for group in (*self._rings.values(), *self._buckets.values()):
            used.update(group)
        for node in [n for n in self.contacts if n not in used]:
            del self.contacts[node]


def shared_bits(one: NodeId, other: NodeId) -> int:
    """Return how many leading bits two ids share, in [0, 256]."""
    for at, (a, b) in enumerate(zip(one, other, strict=True)):
        if a != b:
            return 8 * at + 8 - (a ^ b).bit_length()
    return 8 * len(one)
