"""Similarity: a packet's statistics become a unit vector; alike nodes have alike vectors.

A metric is one module: its options class, which is a `Metric`.
"""

from qsynth.similarity.base import Metric, cosine
from qsynth.similarity.fingerprint import (
    fingerprint,
    fingerprint_size,
    signs,
    split_half,
    whole_from_half,
)

__all__ = [
    "Metric",
    "cosine",
    "fingerprint",
    "fingerprint_size",
    "signs",
    "split_half",
    "whole_from_half",
]
