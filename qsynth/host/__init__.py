"""A node with threads, sockets and files: in a run, on duty, or in a script."""
