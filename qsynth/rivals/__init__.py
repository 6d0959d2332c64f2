"""Rivals: arms that exchange weights or prototypes, on the same data and optimizer steps."""
