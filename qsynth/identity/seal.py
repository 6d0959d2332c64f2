"""A seal beside a file: that this user has written it, here or where they have their key too.

A run's folder can be sent, and opening what somebody has sent must not run their code.  So what
names code (`config.yaml`) or is a pickle (snapshots, checkpoints of a Trainer) is taken at its word
only under the seal of whoever opens it: a keyed hash (RFC 7693, section 2.9) by a key of the
user's own, which lies in no run's folder.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import tempfile
from pathlib import Path

from qsynth.errors import StateError

KEY_BYTES = MAC_BYTES = 32
CHUNK = 1 << 20
SUFFIX = ".seal"
KEPT = 2  # of a file that is replaced: of what it is, and of what it is about to be

_taken: set[Path] = set()


def key_path() -> Path:
    """Return where this user's key lies (`QSYNTH_CONFIG_DIR` moves it)."""
    own, shared = os.environ.get("QSYNTH_CONFIG_DIR"), os.environ.get("XDG_CONFIG_HOME")
    if own:
        return Path(own) / "seal.key"
    return (Path(shared) if shared else Path.home() / ".config") / "qsynth" / "seal.key"


def take(folder: Path) -> None:
    """Take all below a folder as this user's own, in this process: they have said so."""
    _taken.add(folder.resolve())


def seal(path: Path, content: Path | None = None) -> None:
    """Seal a file, or what is about to be put in its place.

    content: where that lies now.  Where no seal can be written the file stays without one, and
    opening it says so.
    """
    beside = path.with_name(path.name + SUFFIX)
    try:
        macs = [*_macs(beside)[1 - KEPT :], _mac(content or path, _key())]
        part = beside.with_name(beside.name + ".part")
        part.write_bytes(b"".join(macs))
        os.replace(part, beside)
    except (OSError, StateError):
        return


def sealed(path: Path) -> bool:
    """Return whether this user has written a file as it is now, or has taken its folder as own."""
    if any(folder in path.resolve().parents for folder in _taken):
        return True
    try:
        mac, kept = _mac(path, _key(make=False)), _macs(path.with_name(path.name + SUFFIX))
        return any(hmac.compare_digest(mac, each) for each in kept)
    except (OSError, StateError):
        return False


def _macs(beside: Path) -> list[bytes]:
    try:
        kept = beside.read_bytes()[: KEPT * MAC_BYTES]
    except FileNotFoundError:
        return []
    return [kept[at : at + MAC_BYTES] for at in range(0, len(kept), MAC_BYTES)]


def _mac(path: Path, key: bytes) -> bytes:
    made = hashlib.blake2b(key=key, digest_size=MAC_BYTES, person=b"qsynth seal")
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            made.update(chunk)
    return made.digest()


def _key(make: bool = True) -> bytes:
    """Return this user's key, made where there is none.  Raises StateError, OSError."""
    path = key_path()
    if make and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Linked into place: of two processes that begin at once, one has made it.
        with tempfile.NamedTemporaryFile(dir=path.parent) as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            try:
                os.link(file.name, path)
            except FileExistsError:
                pass
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise StateError(f"{path}: must hold {KEY_BYTES} bytes; move it away to make another")
    return key
