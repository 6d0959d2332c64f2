"""`qsynth recipe`: recipes are data, and can be listed, checked, fetched, packed and compared.

Standard library only where nothing is composed: lists must start at once.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from qsynth.cli.options import Options, parse
from qsynth.errors import ConfigError, nearest_spelling, printable
from qsynth.recipe.catalog import find_recipe, listed, recipe_files, title
from qsynth.recipe.pins import pin, pinned_files, sha256

VERBS = ("list", "show", "validate", "copy", "add", "pack", "lock", "diff")


def main(words: list[str]) -> int:
    """Do one thing with recipes."""
    verb, rest = (words[0], words[1:]) if words else ("list", [])
    if verb not in VERBS:
        raise ConfigError(f"recipe {verb}: no such verb{nearest_spelling(verb, VERBS)}")
    options = parse(rest, ("--name", "--out"))
    return {
        "list": _list,
        "show": _show,
        "validate": _validate,
        "copy": _copy,
        "add": _add,
        "pack": _pack,
        "lock": _lock,
        "diff": _diff,
    }[verb](options)


def _one(options: Options, verb: str, what: str, example: str) -> str:
    if len(options.overrides) != 1:
        raise ConfigError(f"recipe {verb}: needs one {what}, e.g. qsynth recipe {verb} {example}")
    return options.overrides[0]


def _list(options: Options) -> int:
    added = pinned_files()
    rows = [
        {"name": name, "title": title(path), "added": added.get(name) == path}
        for name, path in listed().items()
        if path.is_file()
    ]
    if options.json:
        print(json.dumps(rows))
        return 0
    for row in rows:
        print(f"{row['name']:18} {row['title']}{' (added)' if row['added'] else ''}")
    return 0


def _show(options: Options) -> int:
    path = find_recipe(_one(options, "show", "name or path", "digits_mesh"))
    for line in path.read_text(encoding="utf-8").removesuffix("\n").split("\n"):
        print(printable(line.replace("\t", "    ")))
    return 0


def _validate(options: Options) -> int:
    """End with 0, 2 where something is wrong in it, 3 where it is not to be trusted."""
    path = find_recipe(_one(options, "validate", "name or path", "mine.yaml"))
    from qsynth.recipe.lint import lint

    lint(path, frozenset(options.trusted))  # before anything is composed
    from qsynth.recipe.compose import compose

    config = compose([f"recipe={path}"], options.trusted).config
    each_site = any(group.count is None for group in config.fleet.values())
    nodes = "a node a site" if each_site else f"{config.nodes} nodes"
    print(
        f"{path}: well: {nodes}, data={config.data.name}, partition="
        f"{config.partition.name}, distill={config.distill.name}, peers={config.peers.name}, "
        f"synthesis={config.synthesis.name}"
    )
    return 0


def _copy(options: Options) -> int:
    words = options.overrides
    if len(words) not in (1, 2):
        raise ConfigError(
            "recipe copy: needs a name, e.g. qsynth recipe copy digits_mesh mine.yaml"
        )
    path = find_recipe(words[0])
    target = Path(words[1] if len(words) == 2 else f"{path.stem}.yaml")
    if target.exists():
        raise ConfigError(f"{target}: is there already; name another file")
    target.write_bytes(path.read_bytes())
    from qsynth.recipe.lint import needed_confirmations

    # Of a file they are asked for each time: from here on nobody knows who has written it.
    confirmed = "".join(
        f" --trust {key}" for key in needed_confirmations(target.read_text(encoding="utf-8"))
    )
    print(f"{target}: run it with qsynth run recipe={target}{confirmed}")
    return 0


def _add(options: Options) -> int:
    """Store a recipe as data, show what it will do, and pin it."""
    source = _one(options, "add", "path, https or git+https address", "mine.qpack")
    from qsynth.recipe.fetch import fetch
    from qsynth.recipe.lint import lint_text, needed_trust
    from qsynth.recipe.pack import is_pack, read_pack

    data = fetch(source)
    readme = ""
    if is_pack(data):
        pack = read_pack(data, source)
        data, readme = pack.recipe, pack.readme
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"recipe add {source}: not a recipe: it is no UTF-8 text") from None
    trusted = frozenset(options.trusted)
    values = lint_text(text, source, trusted)
    name = options.own.get("--name") or str(values.get("name", "")) or Path(source).stem
    if name in recipe_files() and name not in pinned_files():
        raise ConfigError(f"recipe add {source}: {name} is a recipe of qsynth's own; give --name")
    path = pin(name, data, source)
    chosen = [str(entry) for entry in values.get("defaults", [])]
    print(f"{name}: {len(data)} bytes, SHA-256 {sha256(data)[:16]}, kept as {path}")
    print(f"  title: {title(path)}")
    print(f"  chooses: {', '.join(chosen) or 'nothing but defaults'}")
    code = needed_trust(text)
    print(f"  imports: {', '.join(code) if code else 'no code'}")
    if readme:
        print("what its sender says of it:")
    for line in readme.splitlines()[:4]:
        # Somebody's words, on a terminal: they cannot hide what follows.
        print("  | " + printable(line))
    print(f"look at it: qsynth recipe show {name}; what it costs: qsynth plan +recipe={name}")
    return 0


def _pack(options: Options) -> int:
    """Write one file with recipe, lock and readme, of a run folder, a name or a path."""
    word = _one(options, "pack", "run folder, name or path", "runs/NAME")
    from qsynth.recipe.lint import lint_text
    from qsynth.recipe.pack import write_pack

    folder = Path(word)
    lock: dict[str, Any] = {}
    if folder.is_dir():
        import yaml

        if not (folder / "recipe.lock").exists() or not (folder / "recipe.yaml").exists():
            raise ConfigError(f"recipe pack {word}: no run folder (recipe.yaml, recipe.lock)")
        recipe = (folder / "recipe.yaml").read_bytes()
        lock = yaml.safe_load((folder / "recipe.lock").read_text(encoding="utf-8"))
        name = folder.resolve().name
    else:
        path = find_recipe(word)
        recipe, name = path.read_bytes(), path.stem
    text = recipe.decode("utf-8")
    lint_text(text, word, frozenset(options.trusted))
    out = Path(options.own.get("--out", f"{name}.qpack"))
    out.write_bytes(write_pack(recipe, lock, _readme(text, name)))
    print(
        f"{out}: send it; who has it runs qsynth recipe add {out.name}"
        + (f", or qsynth run --locked {out.name} for the same figures" if lock else "")
    )
    return 0


def _readme(text: str, name: str) -> str:
    told = [line.lstrip("# ").rstrip() for line in text.splitlines() if line.startswith("#")]
    return f"# {name}\n\n" + "\n".join(told) + "\n"


def _lock(options: Options) -> int:
    """Print or write the lock of a composed config: what a run of it would rest on."""
    from qsynth.recipe.compose import compose

    composed = compose(options.overrides, options.trusted).with_data()
    from qsynth.experiment.build import build
    from qsynth.experiment.lock import make_lock

    recipe = composed.recipe
    lock = make_lock(build(composed.config, Path()), composed.values, composed.overrides, recipe)
    text = json.dumps(lock, indent=1)
    if "--out" not in options.own:
        print(text)
        return 0
    out = Path(options.own["--out"])
    beside = out.parent / "recipe.yaml"
    if beside.exists() and beside.read_bytes() != recipe:
        raise ConfigError(
            f"{beside}: is there already, and another one; give --out in a new folder"
        )
    out.write_text(text + "\n", encoding="utf-8")
    beside.write_bytes(recipe)
    print(f"{out} and {beside}: qsynth run --locked {out}")
    return 0


def _diff(options: Options) -> int:
    """Print each setting that two recipes set differently, defaults included."""
    if len(options.overrides) != 2:
        raise ConfigError(
            "recipe diff: needs two, e.g. qsynth recipe diff fmnist_swap fmnist_labels"
        )
    from qsynth.recipe.compose import compose

    one, other = (
        _flat(compose([f"recipe={find_recipe(word)}"], options.trusted).values)
        for word in options.overrides
    )
    keys = sorted({*one, *other} - {"recipe", "name"})
    pairs = [(key, one.get(key, "-"), other.get(key, "-")) for key in keys]
    rows = [row for row in pairs if row[1] != row[2]]
    if options.json:
        print(json.dumps([{"key": k, "one": a, "other": b} for k, a, b in rows]))
    else:
        for key, a, b in rows:
            print(f"{key}: {a} -> {b}")
    return 0


def _flat(values: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(values, dict) or not values:
        return {path: values}
    found: dict[str, Any] = {}
    for key, inner in values.items():
        found |= _flat(inner, f"{path}.{key}" if path else str(key))
    return found
