"""Addresses that a user gives: checked before anything is dialled.  Standard library only."""

from __future__ import annotations

import ipaddress
import os
import re
import socket

from qsynth.errors import ConfigError, MeshError

TCP = re.compile(
    r"^(?P<tls>tls\+)?tcp://(?P<host>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):(?P<port>[0-9]{1,5})$"
)
MAX_PORT = 65535
MAX_IPC_PATH = 107  # bytes: sizeof(sun_path) - 1
AUTO = "auto"


def check_address(key: str, address: str, free_port: bool = False, tls: bool = False) -> None:
    """Raise ConfigError where an address is none.

    free_port: whether port 0 may be asked for.  tls: whether it must be one of TLS, or of none.
    """
    match = TCP.match(address)
    if match is None:
        raise ConfigError(f"{key}={address}: must be {scheme(tls)}HOST:PORT")
    if bool(match["tls"]) != tls:
        why = "there is no mesh.tls" if match["tls"] else "mesh.tls is set"
        raise ConfigError(f"{key}={address}: must be {scheme(tls)}HOST:PORT ({why})")
    port = int(match["port"])
    if port > MAX_PORT or (port == 0 and not free_port):
        low = 0 if free_port else 1
        raise ConfigError(f"{key}={address}: the port must be from {low} to {MAX_PORT}")


def check_place(key: str, place: str) -> None:
    """Raise ConfigError where something is no HOST:PORT that can be listened on."""
    host, _, port = place.rpartition(":")
    if not host or not port.isdecimal() or int(port) > MAX_PORT:
        raise ConfigError(f"{key}={place}: must be HOST:PORT, e.g. 127.0.0.1:9100")


def check_ipc(path: str) -> None:
    """Raise MeshError where an ipc socket cannot have this path."""
    size = len(os.fsencode(path))
    if size > MAX_IPC_PATH:
        raise MeshError(
            f"ipc://{path}: {size} bytes, ipc paths have at most {MAX_IPC_PATH}; use mesh=tcp, or "
            "a shorter TMPDIR"
        )


def scheme(tls: bool) -> str:
    """Return how an address begins."""
    return "tls+tcp://" if tls else "tcp://"


def host_of(address: str) -> str:
    """Return the host of an address."""
    return address.partition("://")[2].rpartition(":")[0]


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine alone; of names `localhost` is."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def is_any(host: str) -> bool:
    """Return whether a host stands for all addresses of this machine, which nobody can dial."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_unspecified
    except ValueError:
        return False


def own_host(host: str) -> str:
    """Return the host to listen on: for `auto`, the address that other machines reach this one at.

    It is that of the interface which has the default route; without one, that of the host's name.
    """
    if host != AUTO:
        return host
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # of documentation (RFC 5737): nothing is sent
            found = str(probe.getsockname()[0])
        except OSError:
            found = _by_name()
    if not found or is_loopback(found):
        raise ConfigError(f"mesh.host={AUTO}: this machine has no address beyond loopback; name it")
    return found


def _by_name() -> str:
    try:
        return socket.gethostbyname(socket.gethostname())
    except OSError:
        return ""
