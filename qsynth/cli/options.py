"""Options before and between overrides."""

from __future__ import annotations

from dataclasses import dataclass, field

from qsynth.errors import ConfigError, nearest_spelling

FLAGS = ("--json", "--quiet")
VALUED = ("--trust", "--recipe")
DEFAULT_HOME = "node"  # of a node on its own host


@dataclass
class Options:
    """Hold flags, trusted classes, a verb's own options, and what is left: overrides."""

    json: bool = False
    quiet: bool = False
    trusted: list[str] = field(default_factory=list)
    overrides: list[str] = field(default_factory=list)
    own: dict[str, str] = field(default_factory=dict)

    def take_named(self) -> list[str]:
        """Return the words that set nothing, files and folders, and leave the overrides."""
        named = [word for word in self.overrides if "=" not in word]
        self.overrides = [word for word in self.overrides if "=" in word]
        return named


def parse(words: list[str], own: tuple[str, ...] = (), flags: tuple[str, ...] = ()) -> Options:
    """Return the options of a verb.  Raises ConfigError on an unknown one.

    own, flags: names of options that this verb alone has: with a value, and without.
    """
    options, rest = Options(), list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            options.overrides.append(word)
            continue
        name, given, value = word.partition("=")
        if name in FLAGS and not given:
            setattr(options, name[2:], True)
        elif name in flags and not given:
            options.own[name] = ""
        elif name in VALUED + own:
            if not given and not rest:
                raise ConfigError(f"{name}: needs a value")
            value = value if given else rest.pop(0)
            if name in own:
                options.own[name] = value
            elif name == "--trust":
                options.trusted.append(value)
            else:
                options.overrides.append(f"recipe={value}")
        else:
            raise ConfigError(
                f"{word}: no such option{nearest_spelling(name, FLAGS + VALUED + own + flags)}"
            )
    return options
