"""Admission of packets: what a peer sent is data, checked and counted, never trusted."""

from qsynth.trust.admission import Admission, Admitted

__all__ = ["Admission", "Admitted"]
