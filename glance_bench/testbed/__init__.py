"""The testbed: a procedural world whose truth is known, and tiny checkpoints of the real pipelines trained on it."""
