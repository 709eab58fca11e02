"""Where a sampler fails: images ranked by what they lose against the reference, why, and on which prompts. No torch.

The document of one board (schema ``glance-bench/failures/1``); S counts the board's samplers, R its rows, which are
(prompt, index) in the order of the prompts::

    schema, reference, columns  [what images are ranked by, "overall" first]
    tests      how many contrasts the sentences were chosen from
    sentences  [{text, sampler, column, slice, facets, difference, low, high, n, elsewhere, p_adjusted}]
    causes     {"S/R": [sentence, ...]} of the images that lose most in each of ``columns``

A *drop* is what an image loses against the reference's image from the same noise, positive when it is worse; the
overall drop is the largest over columns, in standard deviations. ``slice`` is null for all prompts, ``facets`` has the
slice's names by slicing; ``difference`` is sampler minus reference over the ``n`` prompts of the slice, ``elsewhere``
the same over the others.
"""

from .causes import Causes
from .document import SCHEMA, document
from .drops import OVERALL, drops, ranked, worst
from .grid import Grid
from .summary import Sentence, sentences
from .words import diff, marked

__all__ = [
    "OVERALL",
    "SCHEMA",
    "Causes",
    "Grid",
    "Sentence",
    "diff",
    "document",
    "drops",
    "marked",
    "ranked",
    "sentences",
    "worst",
]
