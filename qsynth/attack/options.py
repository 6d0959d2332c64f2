"""The options of the group `attack`: one module each."""

from qsynth.attack.adaptive import Adaptive
from qsynth.attack.copied_scatter import CopiedScatter
from qsynth.attack.eclipse import Eclipse
from qsynth.attack.empty_scatter import EmptyScatter
from qsynth.attack.fake_authors import FakeAuthors
from qsynth.attack.forged_fingerprint import ForgedFingerprint
from qsynth.attack.free_rider import FreeRider
from qsynth.attack.inflated_support import InflatedSupport
from qsynth.attack.label_flip import LabelFlip
from qsynth.attack.noise import Noise
from qsynth.attack.none import NoAttack
from qsynth.attack.partial_lie import PartialLie
from qsynth.attack.replay import Replay
from qsynth.attack.sybil import Sybil
from qsynth.attack.sybil_around import SybilAround
from qsynth.attack.turncoat import Turncoat

OPTIONS: dict[str, type] = {
    "none": NoAttack,
    "label_flip": LabelFlip,
    "noise": Noise,
    "inflated_support": InflatedSupport,
    "sybil": Sybil,
    "sybil_around": SybilAround,
    "replay": Replay,
    "forged_fingerprint": ForgedFingerprint,
    "free_rider": FreeRider,
    "turncoat": Turncoat,
    "partial_lie": PartialLie,
    "empty_scatter": EmptyScatter,
    "copied_scatter": CopiedScatter,
    "adaptive": Adaptive,
    "fake_authors": FakeAuthors,
    "eclipse": Eclipse,
}
