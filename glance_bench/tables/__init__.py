"""A paper's tables beside what was measured: every cell with its interval, or the reason why it is empty. No torch."""
