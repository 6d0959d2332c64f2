"""What a node does with its own data: distil it, synthesize what others sent, teach its network."""
