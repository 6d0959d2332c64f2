"""The options of the group `peers`: one module each, and those of installed packages."""

from qsynth.registry import options_in

OPTIONS = options_in("peers", "qsynth.peers")
