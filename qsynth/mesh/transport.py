"""The contract of a transport: addressed one-way messages, nothing more.

Connections work in both directions: a message comes with the address to answer it under, so
that a node that can only dial out is still reached.
"""

from __future__ import annotations

from typing import Protocol


class Transport(Protocol):
    """Carry messages.  Requests, deadlines and retries belong to `rpc`."""

    @property
    def address(self) -> str:
        """Return the address that others reach this node under."""

    @property
    def shed(self) -> dict[str, int]:
        """Return how many messages were not carried, by reason."""

    def peer(self, address: str) -> bytes | None:
        """Return the id that the connection a message came over has proved; None without TLS."""

    def send(self, address: str, payload: bytes) -> None:
        """Send a message, or count why not.  Never blocks."""

    def forget(self, address: str) -> None:
        """Close the connection to an address that does not answer, or that sends too much."""

    def close(self) -> None:
        """Close all connections."""
