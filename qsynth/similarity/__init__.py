"""Fingerprints: a packet's own statistics become a unit vector; alike nodes have alike vectors."""

from qsynth.similarity.class_sketch import cosine
from qsynth.similarity.metric import (
    fingerprint,
    fingerprint_size,
    likeness,
    signs,
    split_half,
    whole_from_half,
)

__all__ = [
    "cosine",
    "fingerprint",
    "fingerprint_size",
    "likeness",
    "signs",
    "split_half",
    "whole_from_half",
]
