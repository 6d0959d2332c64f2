"""The options of the group `data`: one module each, and those of installed packages."""

from qsynth.registry import options_in

OPTIONS = options_in("data", "qsynth.data")
