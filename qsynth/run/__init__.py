"""Build a plan from a config, run it, record what happened, compare and report."""
