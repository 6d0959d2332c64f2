"""The mesh: addressed one-way messages, and requests with deadlines over them."""

from qsynth.mesh.memory import Faults, MemoryNetwork, MemoryTransport
from qsynth.mesh.rpc import Answer, Carried, Failure, Request, Rpc, Send
from qsynth.mesh.transport import Transport

__all__ = [
    "Answer",
    "Carried",
    "Failure",
    "Faults",
    "MemoryNetwork",
    "MemoryTransport",
    "Request",
    "Rpc",
    "Send",
    "Transport",
]
