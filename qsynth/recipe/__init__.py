"""Recipes: config files that are found, linted and composed."""
