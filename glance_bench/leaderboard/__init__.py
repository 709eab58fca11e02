"""One leaderboard of several runs: rows that can be told apart, and the frontier of quality against cost. No torch.

The document (schema ``glance-bench/leaderboard/1``)::

    schema, level, runs: [{run, path, digest}], recipes: {id: text}
    boards  [{
        model, prompt_set, testbed
        columns  [{key, name, recipe, title, metric, kind, better, decimals, flag}]
        latency  [{key, hardware, batch_size}]
        quality, hardware   the column and the latency of the frontiers
        rows     [{name, sampler, runs, title, images, nfe, stated,
                   cells: {column key: {value, low, high, n, prompts, interval, group, note?}},
                   latency: {latency key: {value, low, high, n, speedup: {value, low, high, n} | null}},
                   pareto: {nfe?, latency?: "yes" | "perhaps" | "no"}}]
        notes    [what must be known before rows are compared] }]

A board is one model on one prompt set; the testbed's stand last and are never mixed with others. A sampler from two
runs is one row where what it is made of, prompts, noise and values agree, else one row a run. A column holds
one recipe. ``group`` ranks the rows of a column: rows of one group are not told apart from its best by the paired test
of ``comparison``, corrected by Holm over all pairs of rows. ``pareto`` is defined by ``pareto.frontier``.
"""

from .document import SCHEMA, leaderboard

__all__ = ["SCHEMA", "leaderboard"]
