"""Read what a run is to be the same as: from its folder, its lock, or a pack."""

from __future__ import annotations

from pathlib import Path

import yaml

from qsynth.errors import ConfigError
from qsynth.experiment.lock import Locked
from qsynth.recipe.pack import Pack, is_pack, read_pack
from qsynth.recipe.pins import sha256

MOST_BYTES = 256 * 1024


def read_locked(path: Path) -> Locked:
    """Return what a run folder, its `recipe.lock`, or a pack holds.  Raises ConfigError."""
    if path.is_dir():
        path = path / "recipe.lock"
    try:
        data = path.read_bytes()[:MOST_BYTES]
        if is_pack(data):
            pack: Pack = read_pack(data, str(path))
            return Locked(pack.lock, pack.recipe, str(path))
        lock = yaml.safe_load(data.decode("utf-8"))
        recipe = (path.parent / "recipe.yaml").read_bytes()
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"--locked {path}: no run folder, lock or pack ({error})") from None
    if not isinstance(lock, dict) or lock.get("recipe_sha256") != sha256(recipe):
        raise ConfigError(f"--locked {path}: recipe.yaml beside it is not the one that it names")
    return Locked(lock, recipe, str(path))
