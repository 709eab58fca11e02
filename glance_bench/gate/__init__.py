"""The regression gate: a run against a baseline, check by check, with three verdicts. No torch."""
