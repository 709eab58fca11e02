"""The speed pass: how fast a model samples on a device, measured apart from any run, with random weights if wished."""
