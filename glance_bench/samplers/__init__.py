"""Samplers: YAML cards that compile to a trajectory for a given model and resolution."""
