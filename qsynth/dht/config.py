"""The options of the group `dht`."""

from __future__ import annotations

from dataclasses import dataclass

from qsynth.schema import option, setting

STRATEGIES = ("auto", "rings", "full_view")
SMALL_REPLY = 8
FULL_VIEW = 200  # nodes below which to know everyone costs fewer bytes than to look for them


@option("dht")
@dataclass(frozen=True)
class Rings:
    """Prefix rings for the semantic order, Kademlia buckets for the exact one."""

    name: str = setting("rings", "the option's name", choices=("rings",))
    strategy: str = setting(
        "auto",
        "how alike nodes are found; auto: by rings, in a small mesh by knowing everyone",
        choices=STRATEGIES,
    )
    full_view_below: int = setting(
        FULL_VIEW, "contacts that strategy=auto keeps, whoever they are", low=0, high=4096
    )
    ring_size: int = setting(24, "contacts in a prefix ring", low=1, high=64)
    near_size: int = setting(12, "contacts nearest of all", low=1, high=64)
    digit_bits: int = setting(
        2, "bits of an id's digit: rings share a prefix of digits", low=1, high=8
    )
    bucket_size: int = setting(2, "contacts in a bucket (k of Kademlia)", low=1, high=64)
    ef: int = setting(10, "beam width of a lookup, at first", low=1, high=512)
    ef_max: int = setting(48, "beam width while the answer still changes", low=1, high=512)
    patience: int = setting(
        8, "answers in a row that change nothing, before a beam is wide enough", low=0, high=64
    )
    ef_growth: float = setting(
        1.0,
        "by which ef and patience grow when the mesh doubles, from 1,024 nodes on",
        low=0.0,
        high=16.0,
    )
    second_starts: int = setting(
        1,
        "times a lookup begins anew elsewhere where its answer looks like the wrong cluster",
        low=0,
        high=8,
    )
    alpha: int = setting(3, "requests of a lookup under way at once", low=1, high=16)
    reply_contacts: int = setting(
        12, "contacts in a reply; 8 at most while a table keeps everyone", low=1, high=64
    )
    replication: int = setting(2, "nodes that keep a packet beside its author", low=0, high=64)
    record_replicas: int = setting(5, "nodes that keep a record", low=1, high=64)
    record_reads: int = setting(
        2, "of these, whose values are merged when it is read", low=1, high=64
    )
    record_republish_s: float = setting(
        600.0, "seconds after which its holders see again who should keep it", low=1.0
    )
    max_records: int = setting(4096, "records that a node keeps", low=1)
    quiet_periods: int = setting(
        4, "without a lookup at most while its answer stays the same", low=0
    )
    lookup_rpcs: int = setting(96, "requests a lookup may send", low=1, high=4096)
    lookup_s: float = setting(10.0, "seconds a lookup may take", low=0.1)

    def replies(self, crowded: bool) -> int:
        """Return how many contacts to ask for; crowded: whether the table had to choose."""
        return self.reply_contacts if crowded else min(self.reply_contacts, SMALL_REPLY)

    @property
    def keep_all(self) -> int:
        """Return how many contacts a table keeps whatever their use."""
        kept = {"full_view": 1 << 30, "auto": self.full_view_below}
        return kept.get(self.strategy, 0)


OPTIONS: dict[str, type] = {"rings": Rings}
