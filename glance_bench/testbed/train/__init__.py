"""How the testbed's checkpoints are trained: `python -m glance_bench.testbed.train {vae,qwen-vae,...}`."""
