"""Growth: whether a node's records are there from the start, or come in batches.

An option is one module, which is a `Growth`: `none`, `scheduled`, `file`.
"""
