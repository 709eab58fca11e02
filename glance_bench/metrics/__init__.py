"""Metrics: one file each, described in ``base``. Importing this package imports no metric and no torch."""
