"""TraceRL (arXiv 2509.06949): policy gradient on the sampler's own trajectory, with or without a value model.

Every token is scored in the context in which it was fixed, shrunk steps apart. Without a value model a response's advantage is
that of all its tokens. With one, advantages and returns come from `returns.step_gae`: the outcome is the reward of the tokens of
the last step, and the raw reward is used, not the group's z-score, so that two baselines are not stacked unless asked for.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from ..harness.records import Sample
from .engine import Gradient, Work, require
from .metrics import Meter
from .optimizing import Optimizer
from .packing import Batch
from .parallel import all_sum
from .policy import Lesson, PolicyOptions, PolicyTrainer, Terms, process_at_targets
from .returns import last_step_rewards, step_gae
from .traces import Trace
from .value import ValueKind, ValueModel, value_loss
from .views import Views, trace_views


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceRLOptions(PolicyOptions):
    """Beside the options of every policy-gradient trainer:

    `shrink`: how many successive steps are joined; by default 1 for block-causal models and 8 for full attention, as in the
    paper's runs. `value`: no value model, one with a copy of the backbone, or a head on the policy's own, whose loss then also
    reaches the backbone, weighted `value_coef`. `value_lr`: of what only the value loss changes. `value_clip`: how far a value
    may move per update before its loss stops it. `value_every`: train a separate value model in every n-th step. `lam`: the
    lambda of the advantage estimate. `value_reward`: the response's raw reward, or its group advantage. `normalise`:
    standardise advantages over the tokens of an update.
    """

    shrink: int | None = None
    value: ValueKind = "none"
    value_lr: float = 5e-6
    value_clip: float = 0.2
    value_coef: float = 0.1
    value_every: int = 1
    lam: float = 1.0
    value_reward: Literal["raw", "group"] = "raw"
    normalise: bool = False

    def __post_init__(self) -> None:
        PolicyOptions.__post_init__(self)
        require(self.shrink is None or self.shrink >= 1, "shrink", self.shrink, "at least 1")
        require(self.value_every >= 1, "value_every", self.value_every, "at least 1")
        require(0 <= self.lam <= 1, "lam", self.lam, "between 0 and 1")


class TraceRL(PolicyTrainer):
    """The trainer of the paper."""

    Options = TraceRLOptions

    def __init__(self, model: Any, options: Mapping[str, Any], total_steps: int) -> None:
        super().__init__(model, options, total_steps)
        value = self.options.value
        settings = replace(self.options, lr=self.options.value_lr)
        self.critic = None if value == "none" else ValueModel(model, settings, shared=value == "shared")

    @property
    def shrink(self) -> int:
        """How many successive steps are joined."""
        return default_shrink(self.options.shrink, self.engine.layout.attention)

    @property
    def contexts_match(self) -> bool:
        return self.shrink == 1

    def views(self, sample: Sample, trace: Trace) -> Views:
        return trace_views(trace, self.shrink)

    def _scaled(self, lessons: list[Lesson]) -> list[Lesson]:
        """A value model is the baseline; rewards stay as they are."""
        return super()._scaled(lessons) if self.critic is None else lessons

    def _has_signal(self, advantage: float, process: Sequence[float] | None) -> bool:
        with_raw_rewards = self.critic is not None and self.options.value_reward == "raw"
        return with_raw_rewards or super()._has_signal(advantage, process)

    def _before_updates(self, works: list[Work], parts: list[list[Lesson]], terms: list[Terms], meter: Meter) -> None:
        """Values before the update give advantages and returns."""
        critic = self.critic
        if critic is None:
            return
        for work, lessons, term in zip(works, parts, terms, strict=True):
            term.values = self.engine.per_target(work, self._values)
            rewards = self._rewards(work, lessons)
            values = term.values.double().cpu()
            estimate = step_gae(rewards, values, work.table.step, work.table.sample, self.options.gamma, self.options.lam)
            term.advantage = self.engine.placed(self._normalised(estimate.advantages))
            term.returns = self.engine.placed(estimate.returns)
            meter.explained(estimate.returns, values)

    def _values(self, batch: Batch) -> Tensor:
        assert self.critic is not None
        return self.critic.values(batch, self.engine.layout, self.options.attention)

    def _rewards(self, work: Work, lessons: Sequence[Lesson]) -> Tensor:
        """The reward of every target: the outcome on the last step, process rewards where they belong, as declared."""
        options: TraceRLOptions = self.options
        table = work.table
        raw = [x.reward if options.value_reward == "raw" else x.advantage for x in lessons]
        outcome = last_step_rewards(torch.tensor(raw, dtype=torch.float64), table.step, table.sample)
        if options.process == "ignore":
            return outcome
        process: Tensor = options.process_weight * process_at_targets(lessons, work)
        return process if options.process == "only" else outcome + process

    def _normalised(self, advantages: Tensor) -> Tensor:
        options: TraceRLOptions = self.options
        if not options.normalise:
            return advantages
        count = max(all_sum(float(len(advantages))), 1.0)
        mean = all_sum(float(advantages.sum())) / count
        variance = all_sum(float(((advantages - mean) ** 2).sum())) / count
        return (advantages - mean) / max(math.sqrt(variance), options.std_floor)

    def _loss(self, work: Work, terms: Terms, batch: Batch, hidden: Tensor, meter: Meter) -> Tensor:
        loss = super()._loss(work, terms, batch, hidden, meter)
        if self.critic is not None and self.critic.shared:
            loss = loss + self.options.value_coef * self._value_loss(work, terms, batch, hidden)
        return loss

    def _value_loss(self, work: Work, terms: Terms, batch: Batch, hidden: Tensor) -> Tensor:
        """The mean over a response's tokens, then over responses."""
        assert self.critic is not None
        assert terms.values is not None
        assert terms.returns is not None
        slots = batch.slots
        loss = value_loss(self.critic.on(hidden), terms.values[slots], terms.returns[slots], self.options.value_clip)
        size = torch.bincount(work.table.sample)[work.table.sample].to(loss.device)[slots]
        return (loss / size / work.counts.responses).sum()

    def _gradients_besides(self, work: Work, terms: Terms, meter: Meter, *, last: bool) -> list[Gradient]:
        """A value model of its own is trained on the policy's targets, once per step, on the values from before it."""
        critic = self.critic
        if critic is None or critic.shared or not last or self.steps_done % self.options.value_every:
            return []

        def loss(batch: Batch, hidden: Tensor) -> Tensor:
            return self._value_loss(work, terms, batch, hidden)

        gradient = self.engine.gradient(work, loss, critic.backbone, [critic.optimizer])
        meter.add(value_loss=gradient.loss, value_updates=1)
        return [gradient]

    def _policy_optimizers(self) -> list[Optimizer]:
        shared = self.critic is not None and self.critic.shared
        return [*super()._policy_optimizers(), *([self.critic.optimizer] if self.critic is not None and shared else [])]

    def _optimizers(self) -> list[Optimizer]:
        separate = self.critic is not None and not self.critic.shared
        return [*super()._optimizers(), *([self.critic.optimizer] if self.critic is not None and separate else [])]

    def _networks(self) -> list[Any]:
        return [*super()._networks(), *([] if self.critic is None else [self.critic.backbone])]

    def state_dict(self) -> dict[str, Any]:
        state = super().state_dict()
        return state if self.critic is None else state | {"value": self.critic.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        if self.critic is not None:
            self.critic.load_state_dict(state["value"])


def default_shrink(shrink: int | None, attention: str) -> int:
    """The paper's choice where none is made: 1 for blocks, 8 for full attention."""
    return shrink or (8 if attention == "full" else 1)
