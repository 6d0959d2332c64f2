"""Sums of packets: an optional service of a node, by which the evidence of a group adds up."""
