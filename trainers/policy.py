"""The policy-gradient step that TraceRL and its peers share: from judged rollouts to one call of the optimizer, or a few.

Trainers differ in the views of a rollout that they train on (`views`). Here: rewards to advantages, the log-probabilities of
policies that the update leaves as they are, the loss, metrics. Groups are taken as they come: which problems are kept or
refilled is the loop's business.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from ..harness.records import Rollout, Sample
from ..rewards.errors import InputError
from ..rewards.serde import decode
from ..rewards.steps import total
from .advantages import Baseline, Overlength, group_advantages, with_overlength
from .checkpoint import save_policy
from .copies import copy_network
from .engine import Engine, EngineOptions, Gradient, Work, require
from .metrics import Meter
from .objective import Estimator, Weights, kl_term, policy_term, token_weights, truncated_importance
from .optimizing import Optimizer
from .packing import Batch
from .parallel import all_max
from .process import Combination, rewards_to_go, standardised, step_rewards_on_tokens
from .traces import Trace, trace_of
from .views import Views


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyOptions(EngineOptions):
    """What all policy-gradient trainers can be told.

    `advantages`, `std_floor`: see `advantages.group_advantages`. `overlength`: what is done with responses that hit the length
    limit (`overlength_reward` is what `penalise` leaves them at most). `process`, `process_weight`, `gamma`: see `process`.
    `weights`: see `objective`; `constant_length` is the length of `code` weights (0: the longest response of the update).
    `clip_low`, `clip_high`: the ratio's bounds are 1 - low and 1 + high. `kl`: towards which policy, weighted `kl_coef`. `old`:
    whose log-probabilities the ratio is taken against. `correction`: truncated importance weights between trainer and sampler,
    at most `correction_cap`. `minibatches` and `epochs`: how many updates are made of one set of rollouts.
    """

    advantages: Baseline = "zscore"
    std_floor: float = 1e-6
    overlength: Overlength = "keep"
    overlength_reward: float = 0.0
    process: Combination = "ignore"
    process_weight: float = 1.0
    gamma: float = 1.0
    weights: Weights = "paper"
    constant_length: int = 0
    clip_low: float = 0.2
    clip_high: float = 0.2
    kl: Literal["old", "reference", "none"] = "old"
    kl_coef: float = 0.01
    kl_estimator: Estimator = "k3"
    old: Literal["trainer", "sampler"] = "trainer"
    correction: Literal["none", "truncated"] = "none"
    correction_cap: float = 2.0
    minibatches: int = 1
    epochs: int = 1

    def __post_init__(self) -> None:
        EngineOptions.__post_init__(self)
        require(self.minibatches >= 1, "minibatches", self.minibatches, "at least 1")
        require(self.epochs >= 1, "epochs", self.epochs, "at least 1")
        require(0 <= self.clip_low <= 1, "clip_low", self.clip_low, "between 0 and 1")
        require(self.clip_high >= 0, "clip_high", self.clip_high, "0 or more")
        require(self.correction_cap > 0, "correction_cap", self.correction_cap, "above 0")
        require(0 <= self.gamma <= 1, "gamma", self.gamma, "between 0 and 1")


@dataclass(frozen=True, slots=True)
class Lesson:
    """A response that is learnt from. `process` has a value per token of the trace, or is None."""

    sample: Sample
    trace: Trace
    views: Views
    reward: float
    advantage: float
    process: Tensor | None


@dataclass(slots=True)
class Terms:
    """What the loss needs of every target of one update, (m,) each, on the network's device."""

    advantage: Tensor
    weight: Tensor
    sampler: Tensor
    old: Tensor
    old_known: bool
    reference: Tensor | None = None
    returns: Tensor | None = None
    values: Tensor | None = None


class PolicyTrainer:
    """A trainer in the shape of `base.Trainer`; subclasses say which views of a rollout are trained."""

    Options: ClassVar[type[PolicyOptions]] = PolicyOptions

    def __init__(self, model: Any, options: Mapping[str, Any], total_steps: int) -> None:
        self.model = model
        self.options: Any = decode(self.Options, options, "trainer")
        self.steps_done = 0
        self.engine = Engine(model, self.options, total_steps)
        self._require_matching_contexts()
        self._reference = copy_network(model) if self.options.kl == "reference" else None
        if self._reference is not None:
            self._reference.requires_grad_(requires_grad=False)

    def views(self, sample: Sample, trace: Trace) -> Views:
        """The views of a rollout that are trained."""
        raise NotImplementedError

    @property
    def contexts_match(self) -> bool:
        """Whether the views are the contexts in which the sampler fixed the tokens, so that its log-probabilities compare."""
        return False

    def token_rewards(self, sample: Sample) -> Sequence[float] | None:
        """Process rewards per response token, by default the verdict's; None where it has none."""
        return step_rewards_on_tokens(sample, self.model.tokenizer)

    def step(self, samples: Sequence[Sample]) -> dict[str, float]:
        """One update (or `minibatches` times `epochs`) from whole groups of judged rollouts; returns metrics."""
        meter = Meter()
        parts = self._parts(self._lessons(samples, meter))
        works = [self.engine.pack([x.trace for x in part], [x.views for x in part]) for part in parts]
        meter.add(rows=sum(work.table.rows for work in works), tokens_trained=sum(len(work.table) for work in works))
        updates = self.options.minibatches * self.options.epochs
        with self.engine.training(*self._networks()), self.engine.all_or_nothing(self._optimizers(), updates):
            terms = [self._terms(work, part) for work, part in zip(works, parts, strict=True)]
            self._before_updates(works, parts, terms, meter)
            for epoch in range(self.options.epochs):
                for work, term in zip(works, terms, strict=True):
                    self._update(work, term, meter, last=epoch == self.options.epochs - 1)
        for work, part, term in zip(works, parts, terms, strict=True):
            if self.contexts_match and self.options.old == "trainer" and term.old_known:
                meter.gap(_gap(work, part, term))
        self.steps_done += 1
        return meter.result()

    # Rollouts to lessons.

    def _lessons(self, samples: Sequence[Sample], meter: Meter) -> list[Lesson]:
        """The responses that carry loss; counts what was left out."""
        options = self.options
        overlong = [sample.rollout.finish == "length" for sample in samples]
        given = [_outcome(sample, options.process) for sample in samples]
        rewards = with_overlength(given, overlong, options.overlength, options.overlength_reward)
        judged = [(sample, reward) for sample, reward in zip(samples, rewards, strict=True) if reward is not None]
        groups = [(sample.task, sample.problem_id) for sample, _ in judged]
        advantages = group_advantages([reward for _, reward in judged], groups, options.advantages, options.std_floor)
        meter.samples(samples, overlong)
        meter.groups(groups, advantages)
        found = [self._lesson(sample, reward, a) for (sample, reward), a in zip(judged, advantages, strict=True)]
        return self._scaled([lesson for lesson in found if lesson is not None])

    def _lesson(self, sample: Sample, reward: float, advantage: float) -> Lesson | None:
        process = None if self.options.process == "ignore" else self.token_rewards(sample)
        if not self._has_signal(advantage, process):
            return None
        if self._needs_sampler and not _as_sampled(sample.rollout):
            raise InputError(
                f"{sample.problem_id}: its blocks are wider than the sampler's, whose log-probabilities belong to other "
                "contexts; leave trainer.old and trainer.correction at their defaults"
            )
        trace = trace_of(sample.rollout, self.engine.layout, tail=self.options.tail)
        vector = None
        if process is not None:
            vector = torch.zeros(len(trace.ids), dtype=torch.float64)
            vector[trace.prompt : trace.prompt + len(process)] = torch.tensor(list(process), dtype=torch.float64)
        return Lesson(sample, trace, self.views(sample, trace), reward, advantage, vector)

    def _scaled(self, lessons: list[Lesson]) -> list[Lesson]:
        """Process rewards standardised within their group."""
        with_process = [lesson for lesson in lessons if lesson.process is not None]
        groups = [(lesson.sample.task, lesson.sample.problem_id) for lesson in with_process]
        vectors = [lesson.process for lesson in with_process if lesson.process is not None]
        scaled = iter(standardised(vectors, groups, self.options.std_floor))
        return [lesson if lesson.process is None else replace(lesson, process=next(scaled)) for lesson in lessons]

    def _has_signal(self, advantage: float, process: Sequence[float] | None) -> bool:
        in_parts = process is not None and any(process)
        return in_parts or (advantage != 0.0 and self.options.process != "only")

    def _parts(self, lessons: list[Lesson]) -> list[list[Lesson]]:
        """The lessons of each minibatch. Shuffled, so that no update sees only a few problems."""
        if self.options.minibatches == 1:
            return [lessons]
        shuffled = random.Random(f"{self.options.seed}/{self.steps_done}").sample(lessons, len(lessons))
        return [shuffled[i :: self.options.minibatches] for i in range(self.options.minibatches)]

    # Lessons to terms of the loss.

    def _terms(self, work: Work, lessons: Sequence[Lesson]) -> Terms:
        """With a single update the old policy is the current one, and the update's own pass gives its log-probabilities."""
        table, placed = work.table, self.engine.placed
        longest = self.options.constant_length or all_max(float(max((x.trace.length for x in lessons), default=0)))
        constant = None if self.engine.layout.attention == "full" else longest
        weight = token_weights(self.options.weights, table.sample, table.step, table.row, work.counts, constant)
        terms = Terms(
            advantage=placed(self._advantage(work, lessons)),
            weight=placed(weight * table.scale),
            sampler=placed(table.sampler),
            old=placed(table.sampler).clone(),  # written to, and the record is not
            old_known=self.options.old == "sampler",
        )
        if self.options.old == "trainer" and self.options.minibatches * self.options.epochs > 1:
            terms.old, terms.old_known = self.engine.logprobs(self.engine.network, work), True
        if self._reference is not None:
            terms.reference = self.engine.logprobs(self._reference, work)
        return terms

    def _advantage(self, work: Work, lessons: Sequence[Lesson]) -> Tensor:
        """The advantage of every target: its response's, and process rewards from its step on."""
        options: PolicyOptions = self.options
        table = work.table
        outcome = torch.tensor([lesson.advantage for lesson in lessons], dtype=torch.float64)[table.sample]
        if options.process == "ignore":
            return outcome
        rewards = process_at_targets(lessons, work)
        process: Tensor = options.process_weight * rewards_to_go(rewards, table.step, table.sample, options.gamma)
        return process if options.process == "only" else outcome + process

    # Updates.

    def _before_updates(self, works: list[Work], parts: list[list[Lesson]], terms: list[Terms], meter: Meter) -> None:
        """For what needs the whole of the work before the first update."""

    def _gradients_besides(self, work: Work, terms: Terms, meter: Meter, *, last: bool) -> list[Gradient]:
        """For what is trained besides the policy; `last` in the last epoch over the work."""
        return []

    def _update(self, work: Work, terms: Terms, meter: Meter, *, last: bool) -> None:
        """All gradients are there, and finite, before any is applied."""
        if work.counts.targets == 0:
            return

        def loss(batch: Batch, hidden: Tensor) -> Tensor:
            return self._loss(work, terms, batch, hidden, meter)

        gradient = self.engine.gradient(work, loss, self.engine.network.model, self._policy_optimizers())
        terms.old_known = True
        besides = self._gradients_besides(work, terms, meter, last=last)
        meter.update(self.engine.apply(gradient, self.steps_done))
        for other in besides:
            self.engine.apply(other, self.steps_done)

    def _loss(self, work: Work, terms: Terms, batch: Batch, hidden: Tensor, meter: Meter) -> Tensor:
        options, slots = self.options, batch.slots
        logprob, entropy = self.engine.scores(self.engine.network, work, batch, hidden)
        if not terms.old_known:
            terms.old[slots] = logprob.detach().to(terms.old.dtype)
        old = terms.old[slots]
        term = policy_term(logprob, old, terms.advantage[slots], options.clip_low, options.clip_high)
        loss = term.loss
        if options.correction == "truncated":
            loss = loss * truncated_importance(old, terms.sampler[slots], options.correction_cap)
        if options.kl != "none":
            target = old if terms.reference is None else terms.reference[slots]
            kl = kl_term(logprob, target, options.kl_estimator)
            loss = loss + options.kl_coef * kl
            meter.kl(kl)
        meter.batch(batch, entropy)
        meter.policy(term)
        return (terms.weight[slots] * loss).sum()

    # State.

    def _policy_optimizers(self) -> list[Optimizer]:
        """The optimizers that the policy's loss drives."""
        return [self.engine.optimizer]

    def _optimizers(self) -> list[Optimizer]:
        """All optimizers."""
        return self._policy_optimizers()

    def _networks(self) -> list[Any]:
        """Networks besides the policy's."""
        return [] if self._reference is None else [self._reference]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the network's weights that the next step depends on."""
        state: dict[str, Any] = {"steps_done": self.steps_done, "optimizer": self.engine.optimizer.state_dict()}
        return state if self._reference is None else state | {"reference": self._reference.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on exactly where `state_dict` was taken."""
        self.steps_done = int(state["steps_done"])
        self.engine.optimizer.load_state_dict(state["optimizer"])
        if self._reference is not None:
            self._reference.load_state_dict(state["reference"])

    def save(self, path: Path) -> None:
        """Write the policy as a plain checkpoint."""
        save_policy(self.model, path)

    @property
    def _needs_sampler(self) -> bool:
        return bool(self.options.old == "sampler" or self.options.correction != "none")

    def _require_matching_contexts(self) -> None:
        if self._needs_sampler and not self.contexts_match:
            raise InputError(
                "trainer.old: sampler and trainer.correction compare with the sampler's log-probabilities, but these settings "
                "score tokens in other contexts than the sampler's; leave both at their defaults, or set shrink: 1 for tracerl"
            )


def _outcome(sample: Sample, process: Combination) -> float | None:
    """The reward of the response as a whole; None for one that cannot be learnt from."""
    reward = sample.verdict.reward
    if reward is None or not sample.rollout.length:
        return None
    # Rounded, so that equal outcomes are equal whatever their parts were.
    return round(reward - total(sample.verdict.step_rewards or ()), 9) if process == "add" else reward


def _gap(work: Work, lessons: Sequence[Lesson], terms: Terms) -> Tensor:
    """Trainer's minus sampler's log-probability, (n,), of the targets whose blocks are as wide as the sampler's."""
    as_sampled = torch.tensor([_as_sampled(lesson.sample.rollout) for lesson in lessons], dtype=torch.bool)
    return (terms.old.cpu() - work.table.sampler)[as_sampled[work.table.sample]]


def _as_sampled(rollout: Rollout) -> bool:
    """Whether blocks are as wide as they were while sampling (see `curriculum`)."""
    return rollout.decode.block_size in (None, rollout.block_size)


def process_at_targets(lessons: Sequence[Lesson], work: Work) -> Tensor:
    """The process reward of every target, (m,) float64."""
    sizes = torch.tensor([len(lesson.trace.ids) for lesson in lessons], dtype=torch.long)
    offsets = sizes.cumsum(0) - sizes
    vectors = [torch.zeros(len(x.trace.ids), dtype=torch.float64) if x.process is None else x.process for x in lessons]
    together = torch.cat([torch.zeros(0, dtype=torch.float64), *vectors])
    return together[offsets[work.table.sample] + work.table.position]
