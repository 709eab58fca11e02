"""``python -m glance_bench`` is ``glance-bench``."""

from .cli import main

main()
