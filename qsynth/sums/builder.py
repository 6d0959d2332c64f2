"""What a node offers: its own packet and the sums it holds, added, signed, and kept for audits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from qsynth.distill import Part, add, read_evidence
from qsynth.distill.receipts import leaf, leaf_author
from qsynth.errors import PacketError
from qsynth.packet import KIND_SUM, OutcomePacket, encode_packet, packet_digest
from qsynth.sums.downloads import SumNode
from qsynth.sums.packet_cache import PacketCache
from qsynth.types import NodeId

MADE_FOR_ONE = 4  # sums a period
MADE_A_PERIOD = 32  # sums: who asks for ever other ones costs no more than this


@dataclass(frozen=True)
class Held:
    """Hold a packet: what it says, what it came in, its bytes, and its author's voucher."""

    part: Part
    packet: OutcomePacket
    data: bytes
    voucher: bytes = b""


class SumBuilder:
    """Add up one's own packet and what is held of deeper prefixes.

    rank, input_rank: low-rank factors of a sum.  max_leaves: authors in a sum.
    """

    def __init__(
        self, node: SumNode, store: PacketCache, rank: int, input_rank: int, max_leaves: int
    ) -> None:
        self.node, self.store = node, store
        self.rank, self.input_rank, self.max_leaves = rank, input_rank, max_leaves
        self._own: tuple[OutcomePacket, Held] | None = None
        self._made: dict[tuple[int, frozenset[bytes]], tuple[tuple[bytes, ...], Held]] = {}
        self._sequence = 0
        self._made_for: Counter[NodeId] = Counter()  # by asker, in this period

    def period(self) -> None:
        """Allow as many new sums again."""
        self._made_for.clear()

    def forget(self, short: bytes) -> None:
        """Drop what has been made of an author's evidence.  short: first bytes of its id."""
        for key, (_, held) in list(self._made.items()):
            if short in map(leaf_author, held.part.leaves):
                del self._made[key]
                self.store.drop(packet_digest(held.data))

    def own(self) -> Held | None:
        """Return one's own packet as a part, or None before the first."""
        if self.node.own_packet is None:
            return None
        packet, data = self.node.own_packet
        if self._own is None or self._own[0] is not packet:
            digest = packet_digest(data)
            evidence = self.node.admission.read(packet.payload)
            part = Part(digest, (leaf(self.node.me, digest),), evidence)
            self._own = packet, Held(part, packet, data, self._voucher)
        return self._own[1]

    @property
    def _voucher(self) -> bytes:
        member = self.node.vouchers
        return b"" if member is None else member.own

    def check(self, part: Part) -> None:
        """Raise PacketError where a part cannot be added to one's own packet and read again."""
        own = self.own()
        if own is not None:
            read_evidence(add(self.rank, self.input_rank, [own.part, part]))

    def sum(
        self, bits: int, without: frozenset[bytes], held: Mapping[int, Held], asker: NodeId = b""
    ) -> Held | None:
        """Return the sum over one's own prefix of `bits` bits, or None where there is none.

        without: first bytes of the ids of authors that must not be in it.  held: by depth.
        asker: for whom; who asks for ever other ones has few, and leaves some to others.
        """
        own = self.own()
        if own is None:
            return None
        parts, count, shallowest = [own], 1, bits
        for depth in sorted((d for d in held if d >= bits), reverse=True):
            leaves = held[depth].part.leaves
            if without.intersection(map(leaf_author, leaves)):
                continue
            if count + len(leaves) > self.max_leaves:
                break
            parts.append(held[depth])
            count += len(leaves)
            shallowest = depth
        if len(parts) == 1:
            return own
        # By the shallowest depth that has a part: between two such depths the sums are the same.
        place = (shallowest, without)
        digests = tuple(entry.part.digest for entry in parts)
        kept = self._made.get(place)
        if kept is None or kept[0] != digests:
            made = sum(self._made_for.values())
            if self._made_for[asker] >= MADE_FOR_ONE or made >= MADE_A_PERIOD:
                return None
            self._made_for[asker] += 1
            # Made anew, also where the same parts come back: a receiver takes no older sequence.
            kept = digests, self._make(parts)
            self._made = {k: v for k, v in self._made.items() if not k[1]} | {place: kept}
        self.store.put(kept[1].data, kept[1].voucher)
        return kept[1]

    def _make(self, parts: Sequence[Held]) -> Held:
        if len(parts) == 1:
            return parts[0]
        now_s = self.node.wall_s()
        payload = add(self.rank, self.input_rank, [entry.part for entry in parts])
        self._sequence = max(self._sequence + 1, int(1000 * now_s))
        packet = OutcomePacket(
            task=self.node.admission.task_digest,
            encoder=self.node.admission.encoder_digest,
            author=self.node.identity.public_key,
            sequence=self._sequence,
            created_s=now_s,
            # No longer than the first of its parts to expire.
            ttl_s=max(int(min(ends_s(entry.packet) for entry in parts) - now_s), 1),
            support=int(payload["counts"].sum()),
            payload=payload,
            kind=KIND_SUM,
        )
        try:
            data = encode_packet(packet, self.node.identity)
            evidence = self.node.admission.read(payload)
        except PacketError:  # beyond 32 KiB, or beyond what numbers may be: a smaller sum
            self.node.counts["sum_too_large"] += 1
            return self._make(parts[:-1])
        for entry in parts:
            self.store.put(entry.data, entry.voucher)
        assert evidence.receipts is not None  # it is a sum
        part = Part(packet_digest(data), evidence.receipts.leaves, evidence)
        return Held(part, packet, data, self._voucher)


def ends_s(packet: OutcomePacket) -> float:
    """Return when a packet expires, in seconds since the epoch."""
    return packet.created_s + packet.ttl_s
