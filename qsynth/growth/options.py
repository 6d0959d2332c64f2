"""The options of the group `growth`: one module each."""

from qsynth.growth.file import FileGrowth
from qsynth.growth.none import NoGrowth
from qsynth.growth.scheduled import Scheduled

OPTIONS: dict[str, type] = {"none": NoGrowth, "scheduled": Scheduled, "file": FileGrowth}
