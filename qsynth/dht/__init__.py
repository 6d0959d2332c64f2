"""One table, two orders: exact (XOR) and semantic (cosine).  Sans-I/O."""

from qsynth.dht.contact import Contact
from qsynth.dht.join import exact_limits, join_limits
from qsynth.dht.lookup import Lookup, LookupResult, lookup_limits
from qsynth.dht.table import Table

__all__ = [
    "Contact",
    "Lookup",
    "LookupResult",
    "Table",
    "exact_limits",
    "join_limits",
    "lookup_limits",
]
