"""The options of the group `distill`: one module each, and those of installed packages."""

from qsynth.registry import options_in

OPTIONS = options_in("distill", "qsynth.distill")
