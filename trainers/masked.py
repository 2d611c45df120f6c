"""The baselines of TraceRL: the same policy-gradient step on views that are masked by chance (`random-mask`), or on each mask
and its complement (`coupled`).

Masks are drawn anew in every step, a function of the sample and of the step. `match: compute` draws as many as let the baseline
forward exactly the tokens that TraceRL would on the same rollouts.
"""

from dataclasses import dataclass
from typing import Literal

from ..harness.records import Sample
from .engine import require
from .masking import MaskRule, generator, matched_views, random_views
from .policy import PolicyOptions, PolicyTrainer
from .tracerl import default_shrink
from .traces import Trace
from .views import Views, trace_views


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskOptions(PolicyOptions):
    """`lower`, `upper`, `share` and `inverse_t`: see `masking`. `draws`: masks per response. `match`: `compute` takes as many
    views as TraceRL with `shrink` has instead (by default 1 for blocks, 8 for full attention)."""

    lower: float = 0.1
    upper: float = 0.9
    share: Literal["block", "sequence"] = "block"
    inverse_t: bool = False
    draws: int = 1
    match: Literal["none", "compute"] = "none"
    shrink: int | None = None

    def __post_init__(self) -> None:
        PolicyOptions.__post_init__(self)
        require(0 < self.lower <= self.upper <= 1, "lower", self.lower, "above 0 and at most `upper`, which is at most 1")
        require(self.draws >= 1, "draws", self.draws, "at least 1")
        require(self.shrink is None or self.shrink >= 1, "shrink", self.shrink, "at least 1")


class RandomMask(PolicyTrainer):
    """One mask at a time."""

    Options = MaskOptions
    coupled = False

    def views(self, sample: Sample, trace: Trace) -> Views:
        options = self.options
        rule = MaskRule(options.lower, options.upper, options.share, options.inverse_t, self.coupled)
        random = generator(options.seed, sample.task, sample.problem_id, sample.rollout.sample, self.steps_done)
        if options.match == "none":
            return random_views(trace, rule, random, draws=options.draws)
        shrink = default_shrink(options.shrink, self.engine.layout.attention)
        return matched_views(trace, rule, random, count=len(trace_views(trace, shrink)))


class Coupled(RandomMask):
    """Every mask is followed by its complement, so that each token is scored once per pair."""

    coupled = True
