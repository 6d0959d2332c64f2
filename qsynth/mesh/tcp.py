"""The transport `tcp`: sockets between machines, with TLS or without."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar

from qsynth.errors import ConfigError
from qsynth.lazy import load
from qsynth.mesh.address import (
    AUTO,
    check_address,
    check_place,
    host_of,
    is_any,
    is_loopback,
    own_host,
    scheme,
)
from qsynth.mesh.transport import LiveTransport, MeshOptions
from qsynth.schema import option, setting

if TYPE_CHECKING:
    from qsynth.mesh.tls import Tls

CONNECTIONS, CONNECTIONS_OF_HOST = 1024, 256


@option("mesh")
@dataclass(frozen=True)
class Tcp(MeshOptions):
    """TCP sockets: a free port for each node of a run, `listen` for `qsynth node up`."""

    name: str = setting("tcp", "the option's name", choices=("tcp",))
    host: str = setting(
        "127.0.0.1", "address to listen on; auto: the one that other machines reach this one at"
    )
    listen: str = setting("", "tcp://host:port of `qsynth node up`; empty: a free port of `host`")
    advertise: str = setting("", "tcp://host:port that others reach the node at; empty: `listen`")
    connections: int = setting(
        CONNECTIONS, "that others have made to a node; more are hung up on", low=1
    )
    connections_of_host: int = setting(CONNECTIONS_OF_HOST, "of these, from one address", low=1)
    dial_only: bool = setting(
        False, "nobody can dial this node (behind NAT): be reached through a peer that relays"
    )
    join: tuple[str, ...] = setting([], "addresses of live nodes, any of them, to join through")
    tls: str = setting(
        "",
        "folder of key.pem, certificate.pem, authority.pem, revoked.pem, voucher.txt (`qsynth "
        "node keys`); empty: no TLS",
    )
    metrics: str = setting(
        "", "HOST:PORT of Prometheus metrics, /healthz and /readyz of a node on duty; empty: none"
    )
    insecure: bool = setting(False, "listen beyond loopback without TLS: anyone may read and join")

    @property
    def listening(self) -> str:
        """Return the address to listen on; empty where nobody could dial it."""
        if self.dial_only:
            return ""
        return self.listen or f"{'tls+' if self.tls else ''}tcp://{self.host}:0"

    machines: ClassVar[bool] = True

    def certificates(self) -> str:
        """Return the folder of the keys that connections are proved by; "": of none."""
        return self.tls

    def alone_settings(self) -> dict[str, Any]:
        """Return the settings that are for a node on its own host alone."""
        names = ("listen", "advertise", "join", "tls", "dial_only", "metrics")
        return {name: getattr(self, name) for name in names}

    def transport(self, listen: str, tls: Tls | None = None) -> LiveTransport:
        """Return a transport that listens at an address.  Raises MeshError."""
        made: LiveTransport = load("qsynth.mesh.pynng_transport", "PynngTransport")(
            listen, self.max_message_bytes, tls, self.connections, self.connections_of_host
        )
        return made

    def of_a_run(self, folder: str, index: int) -> str:
        """Return the address that a node of a run listens at: any free port."""
        return f"tcp://{own_host(self.host)}:0"

    def check_run(self, folder: str, nodes: int) -> None:
        """Raise ConfigError where a run would listen beyond loopback, and nobody said it may."""
        if self.host and not is_loopback(self.host) and not self.insecure:
            raise ConfigError(
                f"mesh.host={self.host}: beyond loopback anyone could read and join; set "
                "mesh.insecure=true where the network is trusted"
            )
        if is_any(self.host):
            raise ConfigError(f"mesh.host={self.host}: others cannot dial it; use mesh.host={AUTO}")

    def check_live(self) -> None:
        """Raise ConfigError where nobody, or anybody, could reach a node on its own host."""
        tls = bool(self.tls)
        for address in self.join:
            check_address("mesh.join", address, tls=tls)
        if self.metrics:
            check_place("mesh.metrics", self.metrics)
            if find_spec("prometheus_client") is None:
                raise ConfigError(
                    "mesh.metrics: needs the extra metrics: pip install 'qsynth[metrics]'"
                )
        if self.dial_only:
            self._check_dial_only()
            return
        check_address("mesh.listen", self.listening, free_port=True, tls=tls)
        host = host_of(self.listening)
        if self.advertise:
            check_address("mesh.advertise", self.advertise, tls=tls)
        elif is_any(host):
            raise ConfigError(
                f"mesh.listen={self.listening}: others cannot dial {host}; set mesh.advertise="
                f"{scheme(tls)}NAME:PORT, where they reach this host"
            )
        if not is_loopback(host) and not tls and not self.insecure:
            raise ConfigError(
                f"mesh.listen={self.listening}: beyond loopback anyone could read and join; set "
                "mesh.tls (`qsynth node keys`), or mesh.insecure=true where the network is trusted"
            )

    def _check_dial_only(self) -> None:
        """Raise ConfigError where a node that nobody can dial is told where others would."""
        for key in ("listen", "advertise"):
            if getattr(self, key):
                raise ConfigError(
                    f"mesh.{key}={getattr(self, key)}: with mesh.dial_only=true nobody dials this "
                    "node"
                )
        if not self.join:
            raise ConfigError("mesh.join=[]: with mesh.dial_only=true it must name a node to dial")
