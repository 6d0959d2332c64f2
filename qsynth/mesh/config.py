"""The options of the group `mesh`."""

from __future__ import annotations

from dataclasses import dataclass

from qsynth.schema import option, setting

CONNECTIONS, CONNECTIONS_OF_HOST = 1024, 256


@option("mesh")
@dataclass(frozen=True)
class Shared:
    """What every transport has."""

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


@option("mesh")
@dataclass(frozen=True)
class Ipc(Shared):
    """Sockets in a temporary folder: nodes on one machine."""

    name: str = setting("ipc", "the option's name", choices=("ipc",))


@option("mesh")
@dataclass(frozen=True)
class Tcp(Shared):
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
    insecure: bool = setting(False, "listen beyond loopback without TLS: anyone may read and join")

    @property
    def listening(self) -> str:
        """Return the address to listen on; empty where nobody could dial it."""
        if self.dial_only:
            return ""
        return self.listen or f"{'tls+' if self.tls else ''}tcp://{self.host}:0"


@option("mesh")
@dataclass(frozen=True)
class Memory(Shared):
    """No sockets: messages of simulated nodes, delivered on a virtual clock."""

    name: str = setting("memory", "the option's name", choices=("memory",))
    latency_s: float = setting(0.01, "mean virtual seconds of a message", low=0.0, high=1e6)
    period_s: float = setting(1.0, "virtual seconds of a period of learning", low=0.01, high=1e6)


OPTIONS: dict[str, type] = {"ipc": Ipc, "tcp": Tcp, "memory": Memory}
