"""Measure the routing: the simulator of many nodes, and the kernels against other libraries."""
