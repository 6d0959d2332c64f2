"""The options of the group `partition`: one module each, and those of installed packages."""

from qsynth.registry import options_in

OPTIONS = options_in("partition", "qsynth.partition")
