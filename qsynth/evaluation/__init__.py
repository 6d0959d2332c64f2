"""Measure predictors: how good they are, how much better than without a mesh, and how surely."""
