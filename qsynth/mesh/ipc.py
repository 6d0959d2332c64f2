"""The transport `ipc`: sockets in a folder of this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qsynth.lazy import load
from qsynth.mesh.address import check_ipc
from qsynth.mesh.transport import LiveTransport, MeshOptions
from qsynth.schema import option, setting

if TYPE_CHECKING:
    from qsynth.mesh.tls import Tls


@option("mesh")
@dataclass(frozen=True)
class Ipc(MeshOptions):
    """Sockets in a temporary folder: nodes on one machine."""

    name: str = setting("ipc", "the option's name", choices=("ipc",))

    def transport(self, listen: str, tls: Tls | None = None) -> LiveTransport:
        """Return a transport that listens at a path.  Raises MeshError."""
        made: LiveTransport = load("qsynth.mesh.pynng_transport", "PynngTransport")(
            listen, self.max_message_bytes
        )
        return made

    def of_a_run(self, folder: str, index: int) -> str:
        """Return the address that a node of a run listens at."""
        return f"ipc://{folder}/{index}"

    def check_run(self, folder: str, nodes: int) -> None:
        """Raise MeshError where the path of a socket would be too long."""
        check_ipc(f"{folder}/{nodes}")
