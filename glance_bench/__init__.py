"""Measure what a faster text-to-image sampler costs in quality, and what it gains in time.

Importing this package is cheap: nothing here imports torch. The command line lives in
``glance_bench.cli``; ``docs/architecture.md`` says where everything else is.
"""

__version__ = "0.1.0.dev0"
