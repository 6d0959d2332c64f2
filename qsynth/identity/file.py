"""An identity in a folder: made once, then kept."""

from __future__ import annotations

import os
from pathlib import Path

from qsynth.errors import StateError
from qsynth.identity.keys import KEY_BYTES, Identity

NAME = "identity"


def identity_of(home: Path) -> Identity:
    """Return the identity kept in a folder, made where there is none.  Raises StateError."""
    path = home / NAME
    try:
        if not path.exists():
            home.mkdir(parents=True, exist_ok=True, mode=0o700)
            part = home / f"{NAME}.part"
            Identity.random().save(part)
            os.replace(part, path)
        if path.stat().st_size != KEY_BYTES:
            raise StateError(f"{path}: must hold {KEY_BYTES} bytes; it is no identity")
        return Identity.load(path)
    except OSError as error:
        raise StateError(f"{path}: cannot be read or written ({error})") from None
