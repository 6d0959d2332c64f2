"""Misbehaving nodes, so that anyone can see what they do to a fleet."""
