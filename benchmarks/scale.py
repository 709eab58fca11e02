"""Hours and disk of a whole comparison on 1, 8 and 64 GPUs: the plan's arithmetic, and what its last units lose.

    python benchmarks/scale.py [--suite benchmarks/scale.yaml] [--profile v100-32gb] [--gpus 1,8,64] [--slices 40,8]

GPU-hours, disk and seconds of an image are those that `glance-bench plan SUITE --profile PROFILE --json` gives. Units
are handed out in the plan's order, each to the GPU that is free first, as `--engine ray` does; what loading the models
takes is left out. While the last units run, GPUs stand idle: the loss is that share of all GPU time, and at most
(W - 1) p / (S + (W - 1) p) for W GPUs, S GPU-hours in all and p hours of the longest unit (Graham 1966).
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

# Bytes of a prompt's stored embeddings: tokens, width and 4 bytes each, padding included (T5-XXL; Qwen2.5-VL 7B).
EMBEDDING = {"flux.1-dev": 512 * 4096 * 4, "qwen-image": 128 * 3584 * 4}


def planned(suite: str, profile: str) -> dict[str, Any]:
    """What `glance-bench plan` says."""
    command = [
        sys.executable,
        "-m",
        "glance_bench",
        "plan",
        suite,
        "--profile",
        profile,
        "--json",
        "-o",
        "runs/none",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return dict(json.loads(done.stdout))


def units(rows: Sequence[dict[str, Any]], size: int) -> list[float]:
    """Hours of each unit of at most ``size`` images, in order."""
    found = []
    for row in rows:
        whole, rest = divmod(row["images"], size)
        found += [size * row["seconds"] / 3600] * whole + [rest * row["seconds"] / 3600] * bool(rest)
    return found


def makespan(hours: Sequence[float], gpus: int) -> float:
    """Hours until the last of ``gpus`` is done, each unit going to the one that is free first."""
    free = [0.0] * gpus
    for each in hours:
        heapq.heapreplace(free, free[0] + each)
    return max(free)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--suite", default="benchmarks/scale.yaml")
    parser.add_argument("--profile", default="v100-32gb")
    parser.add_argument("--gpus", default="1,8,64")
    parser.add_argument("--slices", default="40,8")
    asked = parser.parse_args()
    plan = planned(asked.suite, asked.profile)
    rows = plan["samplers"]
    by_model = {
        name: [row for row in rows if row["model"] == name] for name in {r["model"]: None for r in rows}
    }
    print(
        f"{plan['name']} on {plan['device']}: {plan['hours']:,.0f} GPU-hours ({', '.join(plan['sources'])})"
    )
    for name, own in by_model.items():
        images, hours = sum(row["images"] for row in own), sum(row["hours"] for row in own)
        prompts = max(row["images"] for row in own)
        kept = prompts * EMBEDDING.get(name, 0) / 1e9
        print(
            f"{name}: {len(own)} samplers, {images:,} images, {hours:,.0f} GPU-hours; "
            f"at most {kept:.0f} GB of prompt embeddings"
        )
    print(f"disk: {plan['disk'] / 1e9:,.0f} GB of images; downloads: {plan['download_gb']:.0f} GB")
    print()
    heads = ("GPUs", "images a unit", "units", "longest", "hours", "days", "loss", "at most")
    widths = (5, 14, 7, 9, 9, 7, 7, 8)
    print(" ".join(f"{head:>{width}}" for head, width in zip(heads, widths, strict=True)))
    for size in map(int, asked.slices.split(",")):
        hours = units(rows, size)
        total, longest = math.fsum(hours), max(hours)
        for gpus in map(int, asked.gpus.split(",")):
            took = makespan(hours, gpus)
            loss, bound = 1 - total / (gpus * took), (gpus - 1) * longest
            print(
                f"{gpus:>5} {size:>14} {len(hours):>7} {longest:>7.2f} h {took:>9,.0f} {took / 24:>7.1f} "
                f"{abs(loss):>7.2%} {bound / (total + bound):>8.2%}"
            )


if __name__ == "__main__":
    main()
