"""Glance's training: a LoRA for each phase of a schedule, from one image or a few."""
