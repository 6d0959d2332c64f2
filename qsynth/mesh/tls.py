"""Mutual TLS: whom a node talks to has a certificate of the fleet's authority, and is who it says.

The common name of a certificate is the id of its node, so a message over a connection can be held
against the id that it claims to come from.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pynng
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from qsynth.errors import MeshError
from qsynth.identity.vouchers import (
    VOUCHER,
    VOUCHER_AUTHORITY,
    VOUCHER_REVOKED,
    Vouchers,
    counts,
    newest_of,
    revocations_in,
)

FILES = ("key.pem", "certificate.pem", "authority.pem", "revoked.pem")
ID_HEX = 64
MOST_HOSTS = 256
KEPT = "revoked.pem"  # in a node's home: lists that came through the mesh

Seen = tuple[tuple[int, int, int] | None, ...]  # of each file: inode, size, when it was written


class Tls:
    """The key, certificate, authority and revocations of a node, and vouchers checked by them.

    folder: of `FILES` and a voucher, as `qsynth node keys issue` writes them; whoever's authority
    publishes no list has no revoked.pem beside the authority of vouchers.  kept: a file of lists
    that came through the mesh.  seen: what the files looked like before they were read.  Raises
    MeshError.
    """

    def __init__(self, folder: Path, kept: Path | None = None) -> None:
        self.folder, self.kept = folder, kept
        self.seen = self.look()
        listed = (folder / FILES[3]).exists() or not (folder / VOUCHER_AUTHORITY).exists()
        try:
            read = [(folder / name).read_text(encoding="ascii") for name in FILES[: 3 + listed]]
        except (OSError, ValueError) as error:
            raise MeshError(
                f"mesh.tls={folder}: {error}; `qsynth node keys issue` writes {', '.join(FILES)}"
            ) from None
        more = _text(kept)
        self._key, self._certificate, self._authority = read[:3]
        self._revoked = newest_lists("".join(read[3:]), more, self._authority)
        self._clients: dict[str, pynng.TLSConfig] = {}
        self.vouchers = _membership(folder, more.encode("ascii", "replace"))

    def check_lists(self) -> None:
        """Raise MeshError where a list does not count: TLS would refuse everybody."""
        authorities = x509.load_pem_x509_certificates(self._authority.encode())
        for each in revocations_in(self._revoked.encode()) if self._revoked else []:
            if not any(counts(each, by) for by in authorities):
                raise MeshError(
                    f"mesh.tls={self.folder}: a list of revocations in revoked.pem does not count: "
                    "it is of another authority, a part of one, of a day to come (is a clock "
                    "wrong?), or has ended"
                )

    def look(self) -> Seen:
        """Return what the files look like now."""
        names = (*FILES, VOUCHER, VOUCHER_AUTHORITY, VOUCHER_REVOKED)
        paths = [self.folder / name for name in names]
        return tuple(_stamp(path) for path in [*paths, *([self.kept] if self.kept else [])])

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
            config.set_ca_chain(self._authority, self._revoked or None)
            config.set_own_cert(self._certificate, self._key)
        except pynng.NNGException as error:
            raise MeshError(f"mesh.tls={self.folder}: cannot be used ({error})") from None
        return config


def newest_lists(own: str, more: str, authorities: str) -> str:
    """Return of each authority the newest list that counts today, one after another.

    own: lists of the owner, as PEM.  Where none of an authority counts, or its authority is not
    known, they stay: nothing is hidden from TLS, which refuses.  more: lists that came through the
    mesh.  A text that cannot be taken apart is returned as it is.
    """
    try:
        trusted = x509.load_pem_x509_certificates(authorities.encode())
        lists = revocations_in(own.encode()) if own else []
        others = revocations_in(more.encode()) if more else []
    except ValueError:
        return own
    found = [newest_of([*lists, *others], authority) for authority in trusted]
    newest = [each for each in found if each is not None]
    issuers = {each.issuer for each in newest}
    kept = [*newest, *(each for each in lists if each.issuer not in issuers)]
    return "".join(each.public_bytes(Encoding.PEM).decode() for each in kept)


def _text(path: Path | None) -> str:
    try:
        return "" if path is None else path.read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""  # there is none yet; or it is damaged, and will be taken from the mesh again


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _membership(folder: Path, more: bytes) -> Vouchers:
    try:
        return Vouchers.read(folder, more)
    except FileNotFoundError as error:
        raise MeshError(
            f"mesh.tls={folder}: {error.filename} is missing; issue the certificate again "
            f"(`qsynth node keys issue` writes {VOUCHER} beside it)"
        ) from None
    except Exception as error:  # of damaged files the library raises whatever it likes
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


def tls_of(mesh: Any, home: Path | None) -> Tls | None:
    """Return what a `mesh` config's connections are proved by, if it says so.

    home: keeps lists of revocations that come through the mesh; None: none is taken from there.
    Raises MeshError.
    """
    folder = mesh.certificates()
    if not folder:
        return None
    tls = Tls(Path(folder).expanduser(), None if home is None else home / KEPT)
    try:
        tls.vouchers.check(time.time())
    except ValueError as error:
        raise MeshError(f"mesh.tls={folder}: {VOUCHER} {error}; issue it again") from None
    tls.check_lists()
    return tls
