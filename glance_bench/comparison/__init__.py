"""Two samplers of a run, or two runs, put beside each other prompt by prompt. No torch.

The document (schema ``glance-bench/comparison/1``); every difference is B - A::

    schema, level (of intervals), margins: {share, by_column}, verdicts: {word: meaning}
    a, b         {run, path, digest} of the run of each side
    not_shared   [what only one of two runs has]
    families     [{name: "overall" | "slices", tests, correction}]: what p_adjusted was corrected over
    comparisons  [{
        model, prompt_set, testbed
        a, b          {run, sampler, title, nfe, images}
        pairing       {prompts, images, noise, same_noise, only_a, only_b, other_text}
        differences   [what besides the sampler differs]
        not_compared  [{column, why}]
        metrics       [{column, title, metric, better, decimals, a, b, delta, low, high, n, interval, test, p,
                        p_adjusted, wins, ties, losses, sd, detectable, needed, lacking, notes, verdict}]
        slices        the same with slicing and slice
        latency       [{hardware, batch_size, a, b, ratio, low, high, n, basis, verdict}]
        moved         [{column, better: [{prompt, text, a, b, images_a, images_b}], worse: [...]}] }]

Null stands for a number that cannot be computed. Means over prompts: paired bootstrap and sign flips. Flags: a prompt
counts when any of its images is flagged, Newcombe's interval and McNemar's exact test. Statistics of a whole set:
paired jackknife replicates. Latency: the median of log ratios over blocks, outside the correction. ``verdicts`` has
the words and what each means.
"""

from .document import SCHEMA, compare
from .each import compare_each
from .sides import Side, sides_of, two_runs, two_samplers, unshared
from .verdicts import Margins, parse_margins

__all__ = [
    "SCHEMA",
    "Margins",
    "Side",
    "compare",
    "compare_each",
    "parse_margins",
    "sides_of",
    "two_runs",
    "two_samplers",
    "unshared",
]
