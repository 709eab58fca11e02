"""Statistics of comparisons: intervals, tests, power, verdicts, latency, ranks, ratios. numpy and scipy only.

Every function takes and gives plain numbers and arrays and knows nothing of runs. What is resampled is the prompt:
average the images of a prompt before calling anything here. NaN is refused with ValueError, so a caller says
itself what is done with a missing score. Where chance is used, ``seed`` fixes it, and the same arguments give
the same bytes on any machine with the same numpy.
"""

from .extrapolation import infinity
from .intervals import (
    Interval,
    PairedDifference,
    bootstrap_mean,
    crossed_interval,
    difference_interval,
    paired_bootstrap,
    wilson,
)
from .jackknife import FEWEST_IMAGES, Jackknife, group_jackknife, group_labels
from .latency import LogRatio, log_ratio, log_ratio_difference
from .margins import Better, Verdict, verdict
from .permutation import permutation
from .power import minimum_detectable, needed_n
from .ranking import tied_groups, win_tie_loss
from .ratios import Ratio, jackknife_ratio, ratio_of_means
from .resampling import difference_intervals
from .significance import Alternative, holm, mcnemar, sign_flip, sign_flip_bound

__all__ = [
    "FEWEST_IMAGES",
    "Alternative",
    "Better",
    "Interval",
    "Jackknife",
    "LogRatio",
    "PairedDifference",
    "Ratio",
    "Verdict",
    "bootstrap_mean",
    "crossed_interval",
    "difference_interval",
    "difference_intervals",
    "group_jackknife",
    "group_labels",
    "holm",
    "infinity",
    "jackknife_ratio",
    "log_ratio",
    "log_ratio_difference",
    "mcnemar",
    "minimum_detectable",
    "needed_n",
    "paired_bootstrap",
    "permutation",
    "ratio_of_means",
    "sign_flip",
    "sign_flip_bound",
    "tied_groups",
    "verdict",
    "win_tie_loss",
    "wilson",
]
