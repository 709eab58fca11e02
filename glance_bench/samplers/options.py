"""How a sampler's steps are computed: training-free caches, options of any card. No torch.

    cache: {kind: first-block, threshold: 0.1}

A cache leaves out parts of a step's evaluation and takes what it remembers of an earlier one. What it leaves out is
decided while images are made, so the nominal evaluations of a card with a cache are those without it; what was really
evaluated is counted and stands in the records. Defaults are those of diffusers 0.42 and of cache-dit 1.5.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Cache", "DBCache", "FirstBlock", "MagCache", "TaylorSeer"]

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0, le=1000)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class FirstBlock(_Strict):
    """Only the first block runs where its residual differs from the last full pass's by less than ``threshold``.

    The difference is the mean over the whole batch, absolute and relative: which steps are left out, and so the
    images, depend on which prompts share a batch. A unit of work fixes its batches, so that a run can be repeated;
    another batch size gives other images.

    Source: ParaAttention's First Block Cache, after TeaCache (arXiv:2411.19108); diffusers' FirstBlockCacheConfig.
    """

    kind: Literal["first-block"]
    threshold: Annotated[float, Field(gt=0, le=10)] = 0.05


class TaylorSeer(_Strict):
    """The blocks' attention is extrapolated from earlier steps in all but one of every ``interval`` steps.

    The first ``first`` steps, and those from ``last`` on, are computed in full. With ``lite`` nothing but the network's
    output is extrapolated, and the blocks do not run.

    Source: arXiv:2503.06923; diffusers' TaylorSeerCacheConfig.
    """

    kind: Literal["taylorseer"]
    interval: Annotated[int, Field(ge=1, le=1000)] = 5
    first: Annotated[int, Field(ge=1, le=1000)] = 3
    last: Count | None = None
    order: Annotated[int, Field(ge=0, le=4)] = 1
    lite: bool = False


class MagCache(_Strict):
    """All blocks are left out while the error that their known shrinkage predicts stays below ``threshold``.

    ``ratios``, by family, are the measured ratios of the magnitudes of the blocks' residuals at successive steps, the
    first being 1; ``python -m glance_bench.models.magnitudes`` measures them. They are stretched to the sampler's
    steps. At most ``skips`` steps in a row are left out, and none in the first ``retain`` of all steps.

    Source: arXiv:2506.09045; diffusers' MagCacheConfig.
    """

    kind: Literal["magcache"]
    ratios: dict[str, list[Annotated[float, Field(gt=0, le=100)]]]
    threshold: Annotated[float, Field(gt=0, le=10)] = 0.06
    skips: Annotated[int, Field(ge=1, le=1000)] = 3
    retain: Share = 0.2


class DBCache(_Strict):
    """The first ``front`` and last ``back`` blocks always run, the others where the front ones' residual has moved.

    As with ``FirstBlock`` the decision is the batch's. The first ``warmup`` steps are computed in full. Needs the
    package cache-dit: ``pip install glance-bench[cache]``.

    Source: cache-dit's DBCache (github.com/vipshop/cache-dit).
    """

    kind: Literal["dbcache"]
    front: Annotated[int, Field(ge=1, le=1000)] = 8
    back: Count = 0
    threshold: Annotated[float, Field(gt=0, le=10)] = 0.08
    warmup: Count = 8


Cache = Annotated[FirstBlock | TaylorSeer | MagCache | DBCache, Field(discriminator="kind")]
