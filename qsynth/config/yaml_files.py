"""Write `conf/` from the options classes: each option's settings, their values and what they mean.

    python -m qsynth.config.yaml_files

`conf/config.yaml`, the defaults of a run, is written by hand.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import yaml

from qsynth.config.groups import GROUPS
from qsynth.schema import default_of

CONF = Path(__file__).parents[2] / "conf"
WIDE = 10**9  # a setting stands on one line


def written(schema: type, indent: str = "") -> str:
    """Return the YAML of an option: its settings with their defaults and documentation."""
    lines = []
    for field in dataclasses.fields(schema):
        value, doc = default_of(field), field.metadata.get("doc", "")
        if dataclasses.is_dataclass(value):
            lines.append(f"{indent}{field.name}:  # {doc}\n{written(type(value), indent + '  ')}")
            continue
        if field.name == "name":
            lines.append(f"{indent}name: {value}\n")
            continue
        choices = field.metadata.get("choices", ())
        if choices:
            doc += f" ({', '.join(choices)})"
        lines.append(f"{indent}{field.name}: {_plain(value)}  # {doc}\n")
    return "".join(lines)


def _plain(value: Any) -> str:
    value = list(value) if isinstance(value, tuple) else value
    shown = yaml.safe_dump(value, default_flow_style=True, width=WIDE)
    return shown.removesuffix("\n").removesuffix("\n...")


def files() -> dict[str, str]:
    """Return the text of each file below `conf/`, by its path there."""
    made = {}
    for group, options in GROUPS.items():
        for name, schema in options.own.items():
            title = (schema.__doc__ or "").strip().splitlines()[0]
            body = written(schema)
            line = f"name: {name}\n"
            made[f"{group}/{name}.yaml"] = f"# {title}\n{line}{body.replace(line, '', 1)}"
    return made


def main() -> int:
    """Write all files, and drop those of options that are no more."""
    if not CONF.is_dir():
        raise SystemExit(f"{CONF}: not there; run this in a checkout")
    made = files()
    for path in CONF.rglob("*/*.yaml"):
        if str(path.relative_to(CONF)) not in made:
            path.unlink()
    for name, text in made.items():
        (CONF / name).parent.mkdir(exist_ok=True)
        (CONF / name).write_text(text, encoding="utf-8")
    print(f"{len(made)} files below {CONF}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
