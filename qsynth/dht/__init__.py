"""One table, two orders: exact (XOR) and semantic (cosine).  Sans-I/O."""

from qsynth.dht.contact import Contact
from qsynth.dht.lookup import Lookup, LookupResult
from qsynth.dht.table import Table

__all__ = ["Contact", "Lookup", "LookupResult", "Table"]
