"""One table, two orders: exact (XOR) and semantic (cosine).  Sans-I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qsynth.lazy import exports

if TYPE_CHECKING:
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
__getattr__ = exports(
    __name__,
    {
        "Contact": "contact",
        "exact_limits": "join",
        "join_limits": "join",
        "Lookup": "lookup",
        "LookupResult": "lookup",
        "lookup_limits": "lookup",
        "Table": "table",
    },
)
