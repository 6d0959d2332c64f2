"""Records under a key: an optional service of a node."""
