"""The options of the group `dht`."""

from __future__ import annotations

from dataclasses import dataclass

from qsynth.schema import setting


@dataclass(frozen=True)
class Rings:
    """Prefix rings for the semantic order, Kademlia buckets for the exact one."""

    name: str = setting("rings", "the option's name", choices=("rings",))
    ring_size: int = setting(8, "contacts in a prefix ring", low=1, high=64)
    near_size: int = setting(10, "contacts nearest of all", low=1, high=256)
    digit_bits: int = setting(
        2, "bits of an id's digit: rings share a prefix of digits", low=1, high=8
    )
    bucket_size: int = setting(20, "contacts in a bucket (k of Kademlia)", low=1, high=64)
    ef: int = setting(10, "beam width of a lookup", low=1, high=512)
    alpha: int = setting(3, "requests of a lookup under way at once", low=1, high=16)
    reply_contacts: int = setting(8, "contacts in a reply", low=1, high=64)
    quiet_periods: int = setting(
        4, "without a lookup at most while its answer stays the same", low=0
    )
    lookup_rpcs: int = setting(64, "requests a lookup may send", low=1, high=4096)
    lookup_s: float = setting(10.0, "seconds a lookup may take", low=0.1)


OPTIONS: dict[str, type] = {"rings": Rings}
