"""Images that are no images: latents that turned non-finite, and frames that are black. Never dropped, always
counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from glance_bench.metrics.base import Column

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Health"]


class Health:
    """Rates of broken images, from the flags that the generate pass recorded with each unit."""

    name = "health"
    kind: Literal["unit"] = "unit"
    recipe = "health: flags of the generate pass; non-finite latents or pixels, all-black frames"
    columns = (
        Column("failed", "Failed", "lower", "share of images non-finite or black", flag=True),
        Column(
            "non_finite",
            "Non-finite",
            "lower",
            "share of images with non-finite values",
            flag=True,
        ),
        Column("black", "Black", "lower", "share of images black all over", flag=True),
    )

    def flags(self, records: pd.DataFrame) -> pd.DataFrame:
        """bool columns ``failed``, ``non_finite``, ``black`` from the record columns ``finite`` and
        ``black``.
        """
        non_finite = ~records["finite"].astype(bool)
        black = records["black"].astype(bool)
        return records[[]].assign(failed=non_finite | black, non_finite=non_finite, black=black)
