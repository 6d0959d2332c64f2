"""One file with a recipe, its lock and a readme: what one sends to a colleague."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass

from qsynth.errors import RecipeError
from qsynth.recipe.pins import sha256

RECIPE, LOCK, README = "recipe.yaml", "recipe.lock", "README.md"
MEMBERS = (RECIPE, LOCK, README)
MOST_BYTES = 64 * 1024  # of a member
MAGIC = b"PK\x03\x04"
EPOCH = (1980, 1, 1, 0, 0, 0)  # the same recipe gives the same bytes


@dataclass(frozen=True)
class Pack:
    """Hold what is in a pack: the recipe's bytes, its lock, and the readme."""

    recipe: bytes
    lock: dict[str, object]
    readme: str


def write_pack(recipe: bytes, lock: dict[str, object], readme: str) -> bytes:
    """Return the bytes of a pack."""
    lock = lock | {"recipe_sha256": sha256(recipe)}
    parts = (recipe, (json.dumps(lock, indent=1, sort_keys=True) + "\n").encode(), readme.encode())
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in zip(MEMBERS, parts, strict=True):
            member = zipfile.ZipInfo(name, EPOCH)
            member.external_attr = 0o644 << 16
            member.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(member, data)
    return held.getvalue()


def is_pack(data: bytes) -> bool:
    """Return whether bytes look like a pack rather than like a recipe's text."""
    return data.startswith(MAGIC)


def read_pack(data: bytes, source: str) -> Pack:
    """Return what is in a pack.  Raises RecipeError, one line, where it is none of ours."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            names = file.namelist()
            if sorted(names) != sorted(MEMBERS):
                raise RecipeError(f"{source}: a pack holds {', '.join(MEMBERS)} and nothing else")
            # A small file that says it is huge is not unpacked.
            if any(info.file_size > MOST_BYTES for info in file.infolist()):
                raise RecipeError(f"{source}: a part of more than {MOST_BYTES} bytes")
            parts = {}
            for name in MEMBERS:
                with file.open(name) as member:
                    parts[name] = member.read(MOST_BYTES + 1)
                if len(parts[name]) > MOST_BYTES:
                    raise RecipeError(f"{source}: a part of more than {MOST_BYTES} bytes")
        lock = json.loads(parts[LOCK])
        readme = parts[README].decode("utf-8")
    except RecipeError:
        raise
    except Exception as error:  # zipfile raises many kinds on damaged input
        raise RecipeError(f"{source}: not a pack ({type(error).__name__}: {error})") from None
    if not isinstance(lock, dict) or lock.get("recipe_sha256") != sha256(parts[RECIPE]):
        raise RecipeError(f"{source}: the recipe in it is not the one that its lock names")
    return Pack(parts[RECIPE], lock, readme)
