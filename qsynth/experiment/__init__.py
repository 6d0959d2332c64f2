"""Build a plan from a config, run it, and compare it with its rivals."""
