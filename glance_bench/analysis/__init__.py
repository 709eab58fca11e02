"""A look inside a run: velocity error of each step, signal-to-noise ratio, loss curves."""
