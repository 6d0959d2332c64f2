"""The contract of a transport, and what its options have in common.

A transport carries addressed one-way messages, nothing more.

Connections work in both directions: a message comes with the address to answer it under, so
that a node that can only dial out is still reached.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from qsynth.errors import ConfigError
from qsynth.schema import name_of, option, setting

if TYPE_CHECKING:
    from qsynth.mesh.tls import Tls


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


class LiveTransport(Transport, Protocol):
    """A transport of a node with threads: somebody waits for its messages."""

    def receive(self, timeout_s: float) -> list[tuple[str, bytes]]:
        """Return messages that have come, each with the address to answer it under.

        Waits until there is one, `wake` is called, or the time is over.
        """

    def wake(self) -> None:
        """End a wait, from another thread."""

    def renew(self, tls: Tls) -> None:
        """Prove who this node is by other certificates: all connections are made again.

        Raises MeshError where its address cannot be listened on now; it is to be called again.
        """


@option("mesh")
@dataclass(frozen=True)
class MeshOptions:
    """What every transport has.  An option subclasses it and gives `transport` and `of_a_run`."""

    rpc_timeout_s: float = setting(2.0, "seconds until a request is sent again", low=0.01)
    rpc_retries: int = setting(1, "times a request is sent again before its peer is dead", low=0)
    max_message_bytes: int = setting(65536, "of a message; larger ones are refused", low=4096)
    max_pending: int = setting(256, "requests of a node under way at once", low=1)
    requests_per_s: float = setting(
        1000.0, "messages of one peer that are looked at; more are shed", low=1.0
    )
    bytes_per_hour: int | None = setting(
        None, "that a node may send, saved up for an hour at most; null: any", low=65536
    )
    relay_most: int = setting(
        16, "nodes that can only dial out, reached through this one at most; 0: none", low=0
    )
    linger_s: float = setting(30.0, "seconds a finished node serves others at most", low=0.0)

    sockets: ClassVar[bool] = True  # whether processes can talk over it
    machines: ClassVar[bool] = False  # whether machines can

    def certificates(self) -> str:
        """Return the folder of the keys that connections are proved by; "": of none."""
        return ""

    def alone_settings(self) -> dict[str, Any]:
        """Return the settings that are for a node on its own host alone."""
        return {}

    def transport(self, listen: str, tls: Tls | None = None) -> LiveTransport:
        """Return a transport that listens at an address.  Raises MeshError."""
        raise NotImplementedError

    def of_a_run(self, folder: str, index: int) -> str:
        """Return the address that a node of a run listens at.

        folder: a short path that all nodes of the machine share.  index: of the node.
        """
        raise NotImplementedError

    def check_run(self, folder: str, nodes: int) -> None:
        """Raise ConfigError or MeshError where the nodes of a run could not listen."""

    def check_live(self) -> None:
        """Raise ConfigError where nobody, or anybody, could reach a node on its own host."""
        raise ConfigError(f"mesh.name={name_of(self)}: a node on its own host needs mesh=tcp")
