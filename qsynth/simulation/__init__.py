"""All nodes of a fleet in one process, on a virtual clock."""
