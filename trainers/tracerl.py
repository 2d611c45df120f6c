"""TraceRL (arXiv 2509.06949): policy gradient on the sampler's own trajectory.

Every token is scored in the context in which it was fixed, shrunk steps apart. See `policy` for the step, `views` for the
contexts, `objective` for the loss.
"""

from dataclasses import dataclass

from ..harness.records import Sample
from .policy import PolicyOptions, PolicyTrainer
from .traces import Trace
from .views import Views, trace_views


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceRLOptions(PolicyOptions):
    """`shrink`: how many successive steps are joined; by default 1 for block-causal models and 8 for full attention, as in the
    paper's runs."""

    shrink: int | None = None


class TraceRL(PolicyTrainer):
    """TraceRL without a value model: the advantage of a response is that of all its tokens."""

    Options = TraceRLOptions
    options: TraceRLOptions

    @property
    def contexts_match(self) -> bool:  # type: ignore[override]
        return self.shrink == 1

    @property
    def shrink(self) -> int:
        """How many successive steps are joined."""
        return self.options.shrink or (8 if self.layout.attention == "full" else 1)

    def views(self, sample: Sample, trace: Trace) -> Views:
        return trace_views(trace, self.shrink)
