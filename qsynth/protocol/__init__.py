"""The node as its peers see it, sans-I/O: messages in, messages out."""
