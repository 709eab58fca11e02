"""`python -m glance_bench.testbed.train PART`: train one part of the testbed, resuming from its own checkpoint."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import platformdirs

PARTS = ("vae", "qwen-vae", "t5", "clip-text", "qwen-text", "flux", "qwen", "clip")


def work_folder() -> Path:
    """Where training keeps its own checkpoints and latents: GLANCE_BENCH_CACHE or the user's cache folder."""
    return (
        Path(os.environ.get("GLANCE_BENCH_CACHE") or platformdirs.user_cache_dir("glance-bench")) / "training"
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m glance_bench.testbed.train", description=__doc__)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument(
        "--images", type=int, help="images in all, over every resume (default: the part's own plan)"
    )
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: torch's own choice)")
    parser.add_argument(
        "--work", type=Path, default=work_folder(), help="training state (default: %(default)s)"
    )
    parser.add_argument(
        "--export", action="store_true", help="train nothing: write the checkpoint from the state"
    )
    parser.add_argument(
        "--warm", action="store_true", help="without a state, start from the packaged transformer"
    )
    options = parser.parse_args()

    import torch

    if options.threads:
        torch.set_num_threads(options.threads)
    from glance_bench.testbed.train import parts

    started = time.perf_counter()

    def log(line: str) -> None:
        print(f"[{time.perf_counter() - started:7.0f} s] {options.part}: {line}", flush=True)

    if options.export:
        if options.part not in parts.WRITERS:
            parser.error(
                f"--export writes {', '.join(parts.WRITERS)}; the other parts are inside their checkpoints"
            )
        parts.WRITERS[options.part](options.work, log)
    else:
        warm = {"warm": True} if options.warm else {}
        parts.PARTS[options.part](options.work, options.images, log, **warm)
    return 0


if __name__ == "__main__":
    sys.exit(main())
