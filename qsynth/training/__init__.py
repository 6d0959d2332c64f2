"""Train a node's network, and keep what a fit has come to."""
