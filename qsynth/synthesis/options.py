"""The options of the group `synthesis`: one module each, and those of installed packages."""

from qsynth.registry import options_in

OPTIONS = options_in("synthesis", "qsynth.synthesis")
