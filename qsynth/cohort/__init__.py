"""Cohorts: a service of a node that adds its numbers to others', which nobody sees alone."""
