"""Mutual TLS: whom a node talks to has a certificate of the fleet's authority, and is who it says.

The common name of a certificate is the id of its node, so a message over a connection can be held
against the id that it claims to come from.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pynng

from qsynth.errors import MeshError
from qsynth.identity.vouchers import VOUCHER, Vouchers

FILES = ("key.pem", "certificate.pem", "authority.pem", "revoked.pem")
ID_HEX = 64
MOST_HOSTS = 256


class Tls:
    """The key, certificate, authority and revocations of a node, and vouchers checked by them.

    folder: of `FILES` and a voucher, as `qsynth node keys issue` writes them.  Raises MeshError.
    """

    def __init__(self, folder: Path) -> None:
        try:
            read = [(folder / name).read_text(encoding="ascii") for name in FILES]
        except (OSError, ValueError) as error:
            raise MeshError(
                f"mesh.tls={folder}: {error}; `qsynth node keys issue` writes {', '.join(FILES)}"
            ) from None
        self._key, self._certificate, self._authority, self._revoked = read
        self._clients: dict[str, pynng.TLSConfig] = {}
        self.folder = folder
        self.vouchers = _membership(folder)

    def server(self) -> pynng.TLSConfig:
        """Return the settings to listen with: a certificate is asked of everyone."""
        return self._config(pynng.TLSConfig.MODE_SERVER)

    def client(self, host: str) -> pynng.TLSConfig:
        """Return the settings to dial a host with, whose certificate must have that name."""
        if host not in self._clients:
            if len(self._clients) == MOST_HOSTS:
                self._clients.clear()  # peers choose the names that are dialled
            config = self._config(pynng.TLSConfig.MODE_CLIENT)
            config.set_server_name(host.strip("[]"))
            self._clients[host] = config
        return self._clients[host]

    def _config(self, mode: int) -> pynng.TLSConfig:
        required = pynng.TLSConfig.AUTH_MODE_REQUIRED
        try:
            config = pynng.TLSConfig(mode, auth_mode=required)
            config.set_ca_chain(self._authority, self._revoked)
            config.set_own_cert(self._certificate, self._key)
        except pynng.NNGException as error:
            raise MeshError(f"mesh.tls={self.folder}: cannot be used ({error})") from None
        return config


def _membership(folder: Path) -> Vouchers:
    try:
        return Vouchers.read(folder)
    except FileNotFoundError as error:
        raise MeshError(
            f"mesh.tls={folder}: {error.filename} is missing; issue the certificate again "
            f"(`qsynth node keys issue` writes {VOUCHER} beside it)"
        ) from None
    except (OSError, ValueError, IndexError) as error:
        raise MeshError(f"mesh.tls={folder}: {VOUCHER} cannot be used ({error})") from None


def listened(socket: pynng.Socket, address: str, config: pynng.TLSConfig) -> pynng.Listener:
    """Listen with settings of this listener's own.  Raises pynng.NNGException."""
    made = pynng.ffi.new("nng_listener *")
    pynng.check_err(pynng.lib.nng_listener_create(made, socket.socket, address.encode()))
    listener = pynng.Listener(made, socket)
    pynng.check_err(pynng.lib.nng_listener_set_ptr(made[0], b"tls-config", config._tls_config))
    pynng.check_err(pynng.lib.nng_listener_start(made[0], 0))
    socket._listeners[pynng.lib.nng_listener_id(made[0])] = listener
    return listener


def dialled(socket: pynng.Socket, address: str, config: pynng.TLSConfig) -> pynng.Dialer:
    """Dial with settings of this connection's own, and again whenever it breaks.

    Raises pynng.NNGException.
    """
    made = pynng.ffi.new("nng_dialer *")
    pynng.check_err(pynng.lib.nng_dialer_create(made, socket.socket, address.encode()))
    dialer = pynng.Dialer(made, socket)
    socket._dialers[pynng.lib.nng_dialer_id(made[0])] = dialer
    pynng.check_err(pynng.lib.nng_dialer_set_ptr(made[0], b"tls-config", config._tls_config))
    pynng.check_err(pynng.lib.nng_dialer_start(made[0], pynng.lib.NNG_FLAG_NONBLOCK))
    return dialer


def peer_of(pipe: pynng.Pipe) -> bytes:
    """Return the id in a connection's certificate; empty where it has none that is an id."""
    text = pynng.ffi.new("char **")
    failed = pynng.lib.nng_pipe_get_string(pipe.pipe, b"tls-peer-cn", text)
    if failed:
        return b""
    try:
        name = pynng.ffi.string(text[0]).decode("ascii", "replace")
    finally:
        pynng.lib.nng_strfree(text[0])
    try:
        return bytes.fromhex(name) if len(name) == ID_HEX else b""
    except ValueError:
        return b""


def tls_of(mesh: Any) -> Tls | None:
    """Return what a `mesh` config's connections are proved by, if it says so.  Raises MeshError."""
    folder = mesh.certificates()
    if not folder:
        return None
    tls = Tls(Path(folder).expanduser())
    try:
        tls.vouchers.check()
    except ValueError as error:
        raise MeshError(f"mesh.tls={folder}: {VOUCHER} {error}; issue it again") from None
    return tls
