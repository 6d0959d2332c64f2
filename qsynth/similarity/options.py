"""The options of the group `similarity`: one module each, and those of installed packages."""

from qsynth.registry import options_in

OPTIONS = options_in("similarity", "qsynth.similarity")
