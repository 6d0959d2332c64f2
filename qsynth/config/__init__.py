"""The typed config of a run, its groups and their checks."""
