"""The routing table: buckets, prefix rings and a near set over one store of contacts.

Exact order: Kademlia buckets (Maymounkov & Mazieres 2002, section 2.2) with a replacement cache.
Semantic order: ring j holds peers that share at least j id digits with me, the nearest by
fingerprint and mutually diverse, so that long links exist at every scale; the near set holds the
nearest of all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec
import numpy as np

from qsynth.dht.config import Rings
from qsynth.dht.contact import ID_BYTES, Contact
from qsynth.kernels import cosine_top, inverse_lengths, rings, xor_nearest
from qsynth.types import Fingerprint, Ints, NodeId

SAMPLE = 3  # of the nearest ids, which every table holds: by them the mesh's size is estimated
LEVELS = 32  # of rings: more digits than any two of a fleet's ids share by chance


class Table:
    """Hold the contacts of one node.

    me: its id.  size: the length of fingerprints.  Up to `keep_all` contacts are all kept; of more
    those that a bucket, a ring or the near set has use for.
    """

    def __init__(self, me: NodeId, size: int, config: Rings) -> None:
        self.me, self.config, self.size = me, config, size
        self.own: Fingerprint = np.zeros(size, np.int8)
        self.contacts: dict[NodeId, Contact] = {}
        self._rows: dict[NodeId, int] = {}
        self._ids: list[NodeId] = []  # by row; rows of the forgotten are given again
        self._free: list[int] = []
        self._prints = np.zeros((0, size), np.int8)
        self._inverse = np.zeros(0, np.float32)
        self._keys = np.zeros((0, ID_BYTES), np.uint8)
        self._buckets: dict[int, list[NodeId]] = {}
        self._spares: dict[int, dict[NodeId, Contact]] = {}
        self._clear()

    def __len__(self) -> int:
        return len(self.contacts)

    def set_own(self, fingerprint: Fingerprint) -> None:
        """Take a new own fingerprint, and put every contact in its place again."""
        self.own = fingerprint
        self._clear()
        for node in self.contacts:
            self._place(node)
        self._prune()

    def where_it_said(self, told: Contact) -> Contact:
        """Return a contact that others tell of, at the address that it was first known under.

        Others cannot move a node that answers: it tells of a new address itself.
        """
        known = self.contacts.get(told.id)
        if known is None or known.address == told.address:
            return told
        return msgspec.structs.replace(told, address=known.address)

    def add(self, contact: Contact, sure: bool = False) -> bool:
        """Take a contact, or news of one.  Return whether it is kept.

        An older version than the one known changes nothing, unless it is `sure` to be true.
        """
        if contact.id == self.me:
            return False
        known = self.contacts.get(contact.id)
        if known is not None and contact.version < known.version and not sure:
            return True
        if known is not None:
            self._touch(contact.id)
        if known == contact:
            return True
        self.contacts[contact.id] = contact
        if known is not None and known.fingerprint == contact.fingerprint:
            return True
        if known is None:
            self._rows[contact.id] = self._new_row()
        row = self._rows[contact.id]
        self._ids[row] = contact.id
        self._prints[row] = contact.vector()
        self._inverse[row] = inverse_lengths(self._prints[row : row + 1])[0]
        self._keys[row] = np.frombuffer(contact.id, np.uint8)
        if known is not None:
            self._unring(row)
        self._place(contact.id)
        self._prune()
        return contact.id in self.contacts

    def remove(self, node: NodeId) -> None:
        """Forget a contact: it has not answered.  One that was spare takes its place."""
        if node not in self.contacts:
            return
        bucket = shared_bits(self.me, node)
        if node in self._buckets.get(bucket, ()):
            self._buckets[bucket].remove(node)
        self._drop(node)
        self._kin.pop(node, None)
        spares = self._spares.get(bucket, {})
        spares.pop(node, None)
        while spares and len(self._buckets.get(bucket, ())) < self.config.bucket_size:
            _, newest = spares.popitem()
            if newest.id not in self.contacts:
                self.add(newest)
                break

    @property
    def density(self) -> int:
        """Return how alike the most alike contacts are on average, in steps of 1/127."""
        scores = np.array(list(self._kin.values()), np.float32)
        return int(rings.density_of(scores, len(scores)))

    @property
    def crowded(self) -> bool:
        """Return whether it has had to choose whom to keep."""
        return len(self.contacts) > self.config.keep_all

    @property
    def nodes(self) -> float:
        """Return an estimate of how many nodes there are, by how near the nearest ids are.

        As many contacts as are kept whatever their use are all there are.
        """
        known = len(self.contacts)
        if not self.crowded or known < SAMPLE:
            return known + 1
        last = self.nearest(self.me, SAMPLE)[-1]
        apart = int.from_bytes(self.me, "big") ^ int.from_bytes(last.id, "big")
        return max(known + 1.0, (SAMPLE - 1) * 2.0**256 / max(apart, 1))

    def near_home(self, wanted: Fingerprint) -> bool:
        """Return whether a fingerprint is as alike to one's own as the most alike contacts are."""
        _, scores = cosine_top(self.own, wanted.reshape(1, -1), 1)
        return bool(scores[0] > 0 and scores[0] * rings.DENSITY_STEPS >= self.density)

    def nearest(self, target: NodeId, k: int, exclude: Iterable[NodeId] = ()) -> list[Contact]:
        """Return the k contacts nearest to an id in the XOR metric."""
        rows = self._all_but(exclude)
        found = xor_nearest(np.frombuffer(target, np.uint8), self._keys[rows], k)
        return [self.contacts[self._ids[rows[at]]] for at in found]

    def alike(
        self,
        wanted: Fingerprint,
        m: int,
        exclude: Iterable[NodeId] = (),
        prefix: tuple[NodeId, int] | None = None,
    ) -> list[Contact]:
        """Return the m contacts whose fingerprints are most alike to the wanted one.

        prefix: an id and how many of its digits a contact must share.
        """
        rows = self._all_but(exclude)
        if prefix is not None and prefix[1] > 0:
            near, digits = prefix
            bits = digits * self.config.digit_bits
            rows = np.array([r for r in rows if shared_bits(near, self._ids[r]) >= bits], np.int64)
        found, _ = cosine_top(wanted, self._prints[rows], m, self._inverse[rows])
        return [self.contacts[self._ids[rows[at]]] for at in found]

    def _all_but(self, exclude: Iterable[NodeId]) -> Ints:
        left_out = set(exclude)
        return np.array([self._rows[n] for n in self.contacts if n not in left_out], np.int64)

    def _clear(self) -> None:
        levels, near, width = LEVELS, self.config.near_size, self.config.ring_size
        self._rings = np.zeros((levels, width), np.int32)
        self._ring_ranks = np.zeros((levels, width), np.float32)
        self._ring_scores = np.zeros((levels, width), np.float32)
        self._ring_sizes = np.zeros(levels, np.int8)
        self._near, self._near_ranks = np.zeros(near, np.int32), np.zeros(near, np.float32)
        self._near_size = 0
        self._kin: dict[NodeId, float] = {}  # the most alike, whether they have a place or not

    def _new_row(self) -> int:
        if self._free:
            return self._free.pop()
        row = len(self._ids)
        self._ids.append(b"")
        if row == len(self._prints):
            more = max(row, 16)
            self._prints = np.concatenate([self._prints, np.zeros((more, self.size), np.int8)])
            self._inverse = np.concatenate([self._inverse, np.zeros(more, np.float32)])
            self._keys = np.concatenate([self._keys, np.zeros((more, ID_BYTES), np.uint8)])
        return row

    def _place(self, node: NodeId) -> None:
        row, shared = self._rows[node], shared_bits(self.me, node)
        bucket = self._buckets.setdefault(shared, [])
        if node not in bucket:
            self._into_bucket(shared, bucket, node)
        _, scores = cosine_top(
            self.own, self._prints[row : row + 1], 1, self._inverse[row : row + 1]
        )
        # Who has published nothing yet is like nobody: it has the last places.
        score = scores[0] if self._inverse[row] > 0 else np.float32(-1.0)
        rank = rings.rank_of(score, self.contacts[node].density, _key(self.me), _key(node))
        self._kin[node] = float(score)
        if len(self._kin) > self.config.near_size:
            del self._kin[min(self._kin, key=self._kin.__getitem__)]
        self._near_size = rings.place(
            self._near,
            self._near_ranks,
            self._near_size,
            self._rings,
            self._ring_ranks,
            self._ring_scores,
            self._ring_sizes,
            row,
            rank,
            score,
            shared // self.config.digit_bits,
            self._prints,
            self._inverse,
        )

    def _into_bucket(self, shared: int, bucket: list[NodeId], node: NodeId) -> None:
        bucket.append(node)  # the least recently seen stand first
        if len(bucket) > self.config.bucket_size:
            # By a draw of one's own, not by age: the oldest would be in everybody's table.
            out = min(bucket, key=lambda n: float(rings.chance_of(_key(self.me), _key(n))))
            bucket.remove(out)
            self._spare(shared, self.contacts[out])

    def _spare(self, bucket: int, contact: Contact) -> None:
        spares = self._spares.setdefault(bucket, {})
        spares.pop(contact.id, None)
        spares[contact.id] = contact
        while len(spares) > self.config.bucket_size:
            del spares[next(iter(spares))]

    def _touch(self, node: NodeId) -> None:
        bucket = self._buckets.get(shared_bits(self.me, node), [])
        if node in bucket:
            bucket.remove(node)
            bucket.append(node)

    def _unring(self, row: int) -> None:
        self._near_size = rings.near_remove(self._near, self._near_ranks, self._near_size, row)
        rings.rings_remove(self._rings, self._ring_ranks, self._ring_scores, self._ring_sizes, row)

    def _drop(self, node: NodeId) -> None:
        row = self._rows.pop(node)
        bucket = self._buckets.get(shared_bits(self.me, node), [])
        if node in bucket:
            bucket.remove(node)
        self._unring(row)
        self._free.append(row)
        del self.contacts[node]

    def _prune(self) -> None:
        if len(self.contacts) <= self.config.keep_all:
            return
        out = np.zeros(self._near.size + self._rings.size, np.int32)
        count = rings.placed(
            self._near, self._near_size, self._rings, self._ring_scores, self._ring_sizes, out
        )
        used = {self._ids[row] for row in out[:count]}
        # A bucket adds what rings and near set have too few of.
        held = Counter(shared_bits(self.me, node) for node in used)
        for bucket, members in self._buckets.items():
            for node in members:
                if held[bucket] < self.config.bucket_size and node not in used:
                    used.add(node)
                    held[bucket] += 1
        for node in [n for n in self._rows if n not in used]:
            self._drop(node)


def _key(node: NodeId) -> np.uint64:
    return np.uint64(int.from_bytes(node[:8], "big"))


def shared_bits(one: NodeId, other: NodeId) -> int:
    """Return how many leading bits two ids share, in [0, 256]."""
    for at, (a, b) in enumerate(zip(one, other, strict=True)):
        if a != b:
            return 8 * at + 8 - (a ^ b).bit_length()
    return 8 * len(one)
