"""Peers that attack with one certificate, or one connection: what like nodes are left with."""

from __future__ import annotations

import msgspec
import pytest

from qsynth.dht import Contact
from qsynth.dht.contact import prove
from qsynth.identity import Identity
from qsynth.identity.authority import Authority
from qsynth.identity.membership import Membership
from qsynth.mesh import MemoryNetwork
from qsynth.packet import OutcomePacket, encode_packet
from qsynth.peers.config import Semantic
from tests.node.test_node import Peer, outcome, turn

COUNT, LIAR, PERIODS = 24, 4, 14
NOW_S = 1_700_000_000.0


class Fleet:
    """An authority, and the vouchers that it has given."""

    def __init__(self, folder) -> None:
        self.folder = folder
        self.authority = Authority.init(folder / "authority")

    def membership(self, node: bytes, days: float = 1.0) -> Membership:
        out = self.folder / node.hex()[:16]
        self.authority.issue(node, ["127.0.0.1"], days, out)
        return Membership.read(out)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory) -> Fleet:
    return Fleet(tmp_path_factory.mktemp("fleet"))


def certified(fleet: Fleet | None, node) -> None:
    if fleet is not None:
        node.membership = fleet.membership(node.me, 36500.0)
        node.epoch_s = 1_795_000_000.0  # certificates hold from today on


def made(fleet: Fleet | None, behave, count: int = COUNT) -> list[Peer]:
    """Return a mesh of which one misbehaves from the beginning, after some periods."""
    network = MemoryNetwork(0.01, seed=1)
    peers = [Peer(network, i, peers=Semantic(k=3), ttl_s=1e9) for i in range(count)]
    for peer in peers:
        certified(fleet, peer.node)
    if behave is not None:
        behave(peers[LIAR], fleet)
    for i, peer in enumerate(peers):
        peer.join(*[peers[j] for j in {max(i - 1, 0), max(i - 2, 0)} if j < i])
        peer.period()
        network.run_until(network.now + 1.0)
    turn(network, peers, PERIODS)
    network.run_until(network.now + 30.0)
    turn(network, peers, 2)
    return peers


def honest_authors(peers: list[Peer]) -> int:
    """Return how many authors of the fleet, other than the liar, its like nodes learn from."""
    others = {p.node.me for p in peers if p.number != LIAR}
    like = [p for p in peers if p.number % 2 == LIAR % 2 and p.number != LIAR]
    return sum(len(others & set(p.node.authors())) for p in like)


def strangers(peers: list[Peer]) -> int:
    """Return how many authors that are not of the fleet its like nodes hold, the most of a node."""
    known = {p.node.me for p in peers}
    return max(len(set(p.node.held) - known) for p in peers if p.number != LIAR)


# -- behaviours of a liar ------------------------------------------------------------------------


class Forger:
    """Identities that no authority has seen, and what they say."""

    def __init__(self, peer: Peer, fleet: Fleet | None) -> None:
        self.node, self.fleet, self.made = peer.node, fleet, 0
        self.packets: dict[bytes, bytes] = {}

    def identity(self) -> Identity:
        self.made += 1
        return Identity.seeded("made up", self.made)

    def contact(self, wanted, address: str = "memory:nowhere") -> Contact:
        identity = self.identity()
        told = Contact(identity.id, address, wanted.tobytes(), 1_800_000_000)
        voucher = self.node.membership.own if self.node.membership else b""
        return prove(told, identity, voucher) if voucher else told

    def author(self, version: int = 1_800_000_000) -> Contact:
        """Make an author up, with a packet that is exactly what like nodes want."""
        identity, node = self.identity(), self.node
        what = outcome(LIAR % 2, 1000 + self.made)
        packet = OutcomePacket(
            task=node.admission.task_digest, encoder=node.admission.encoder_digest,
            author=identity.public_key, sequence=version, created_s=node.wall_s(), ttl_s=10**6,
            support=what.support, payload=what.payload,
        )  # fmt: skip
        self.packets[identity.id] = encode_packet(packet, identity)
        told = Contact(identity.id, "memory:nowhere", what.fingerprint.tobytes(), packet.sequence)
        return prove(told, identity, node.membership.own) if node.membership else told


def fills_lookups(peer: Peer, fleet) -> None:
    """Answer every lookup with nodes that are exactly what is asked for, and are not there."""
    forger = Forger(peer, fleet)
    table = peer.node.table
    table.alike = lambda wanted, m, *rest: [forger.contact(wanted) for _ in range(m)]
    table.nearest = lambda target, k, *rest: [forger.contact(peer.node.table.own) for _ in range(k)]


def fills_lookups_in_its_own_place(peer: Peer, fleet) -> None:
    """The same, at its own address: whoever is asked there answers."""
    forger, at = Forger(peer, fleet), peer.node.address
    peer.node.table.alike = lambda wanted, m, *rest: [forger.contact(wanted, at) for _ in range(m)]


def tells_of_orphans(peer: Peer, fleet) -> None:
    """Tell of authors that are gone and never were, ever new ones, and give their packets."""
    forger, node = Forger(peer, fleet), peer.node
    node.holding.orphans = lambda wanted, most: [forger.author() for _ in range(40)]
    fetch = node.holding.fetch
    node.holding.fetch = lambda author, after, asker: (
        forger.packets.get(author) or fetch(author, after, asker)
    )


def moves_others(peer: Peer, fleet) -> None:
    """Tell of real nodes with another address, fingerprint and version than they have."""
    alike = peer.node.table.alike

    def lies(wanted, m, *rest):
        return [
            msgspec.structs.replace(
                c, address="memory:nowhere", fingerprint=(-wanted).tobytes(), version=2**40
            )
            for c in alike(wanted, m, *rest)
        ]

    peer.node.table.alike = lies


def says_nothing_of_others(peer: Peer, fleet) -> None:
    """Answer every lookup with oneself alone."""
    peer.node.table.alike = lambda wanted, m, *rest: []
    peer.node.table.nearest = lambda target, k, *rest: []


BEHAVIOURS = (
    fills_lookups, fills_lookups_in_its_own_place, tells_of_orphans, moves_others,
    says_nothing_of_others,
)  # fmt: skip


@pytest.fixture(scope="module")
def quiet(fleet) -> dict[bool, int]:
    return {sure: honest_authors(made(fleet if sure else None, None)) for sure in (False, True)}


@pytest.mark.parametrize("behave", BEHAVIOURS, ids=lambda b: b.__name__)
@pytest.mark.parametrize("sure", [True, False], ids=["authority", "no authority"])
def test_like_nodes_keep_their_honest_authors(fleet, quiet, behave, sure) -> None:
    peers = made(fleet if sure else None, behave)
    print(honest_authors(peers), quiet[sure], strangers(peers))
    assert honest_authors(peers) >= (0.9 if sure else 0.6) * quiet[sure]
    assert strangers(peers) <= (0 if sure else 1)
