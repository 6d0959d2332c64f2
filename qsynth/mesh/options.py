"""The options of the group `mesh`: one module each, and those of installed packages.

Named here, since a module of the package that carries messages must not be loaded for help.
"""

from qsynth.mesh.ipc import Ipc
from qsynth.mesh.memory import Memory
from qsynth.mesh.tcp import Tcp
from qsynth.registry import Options

OPTIONS = Options("mesh", {"ipc": Ipc, "tcp": Tcp, "memory": Memory})
