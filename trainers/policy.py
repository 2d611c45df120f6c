"""The policy-gradient step that TraceRL and its peers share: from judged rollouts to one call of the optimizer, or a few.

A trainer differs from its peers in the views of a rollout that it trains on (`views`). Here: rewards to advantages, views to
batches under a budget of tokens, the old policy's log-probabilities, the loss and its normalisation over micro-batches and
ranks, metrics. Groups are taken as they come: which problems are kept or refilled is the loop's business.
"""

import random
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from ..harness.records import Sample
from ..rewards.errors import InputError
from ..rewards.serde import decode
from .advantages import Baseline, Overlength, group_advantages, with_overlength
from .metrics import Meter
from .objective import Counts, Estimator, Weights, kl_term, policy_term, token_weights, truncated_importance
from .optimizing import Optimizer, OptimizerOptions, lr_factor, require_finite
from .packing import Batch, Packed, Targets, collate, dummy, pack, plan
from .parallel import all_max, all_sum, world_size
from .scoring import Scores, checkpointing, hidden_states, pieces_for, score
from .traces import Layout, Trace, layout_of, trace_of
from .views import Views


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyOptions(OptimizerOptions):
    """What all policy-gradient trainers can be told.

    `advantages`, `std_floor`: see `advantages.group_advantages`. `overlength`: what is done with responses that hit the length
    limit (`overlength_reward` is what `penalise` leaves them). `weights`: see `objective`; `constant_length` is the length of
    `code` weights (0: the longest response of the update). `clip_low`, `clip_high`: the ratio's bounds are 1 - low and 1 + high.
    `kl`: towards which policy, weighted `kl_coef`. `old`: whose log-probabilities the ratio is taken against. `correction`:
    truncated importance weights between trainer and sampler, at most `correction_cap`. `minibatches` and `epochs`: how many
    updates are made of one set of rollouts. `tail`: how many tokens after a response's end are trained too.
    `micro_tokens`: tokens of one forward pass, padding included. `seed`: of shuffling and of random masks.
    """

    advantages: Baseline = "zscore"
    std_floor: float = 1e-6
    overlength: Overlength = "keep"
    overlength_reward: float = 0.0
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
    tail: int = 0
    block_size: int | None = None
    micro_tokens: int = 16384
    gradient_checkpointing: bool = False
    attention: Literal["sdpa", "flex"] = "sdpa"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("minibatches", "epochs", "micro_tokens"):
            if getattr(self, name) < 1:
                raise InputError(f"field {name!r}: {getattr(self, name)} is below 1")


@dataclass(frozen=True, slots=True)
class Lesson:
    """A response that carries loss."""

    sample: Sample
    trace: Trace
    views: Views
    advantage: float


@dataclass(slots=True)
class Work:
    """What one update is made of: batches, the table of their targets and, per target, what the loss needs (on the device)."""

    batches: list[Batch]
    table: Targets
    pieces: int
    advantage: Tensor
    weight: Tensor
    old: Tensor
    old_known: bool
    reference: Tensor | None = None


class PolicyTrainer:
    """A trainer in the shape of `base.Trainer`; subclasses say which views of a rollout are trained."""

    Options: ClassVar[type[PolicyOptions]] = PolicyOptions

    contexts_match = True
    """Whether the views are the contexts in which the sampler fixed the tokens, so that its log-probabilities compare."""

    def __init__(self, model: Any, options: Mapping[str, Any], total_steps: int) -> None:
        self.model = model
        self.options = decode(self.Options, options, "trainer")
        self.layout: Layout = layout_of(model)
        self.total_steps = total_steps
        self.steps_done = 0
        self._check()
        self.network = model.network
        self.network.eval()
        self._reference = _frozen_copy(self.network) if self.options.kl == "reference" else None
        self.optimizer = Optimizer(self.network.parameters(), self.options)

    def views(self, sample: Sample, trace: Trace) -> Views:
        """The views of a rollout that are trained."""
        raise NotImplementedError

    def step(self, samples: Sequence[Sample]) -> dict[str, float]:
        """One update (or `minibatches` times `epochs`) from whole groups of judged rollouts; returns metrics."""
        meter = Meter()
        lessons = self._lessons(samples, meter)
        works = [self._work(part) for part in self._parts(lessons)]
        meter.add(rows=sum(work.table.rows for work in works), tokens_trained=sum(len(w.table) for w in works))
        several = self.options.minibatches * self.options.epochs > 1
        backup = self._backup() if several else None
        try:
            with self._attention():
                self._score_fixed_policies(works, several)
                for _ in range(self.options.epochs):
                    for work in works:
                        self._update(work, meter)
        except FloatingPointError:
            self.optimizer.clear()
            if backup is not None:
                self._restore(backup)
            raise
        for work in works:
            self._measure_gap(work, meter)
        self.steps_done += 1
        return meter.result()

    def _check(self) -> None:
        needs_sampler = self.options.old == "sampler" or self.options.correction != "none"
        if needs_sampler and not self.contexts_match:
            raise InputError(
                "trainer.old: sampler and trainer.correction compare with the sampler's log-probabilities, but these settings "
                "score tokens in other contexts than the sampler's; leave both at their defaults, or set shrink: 1 for tracerl"
            )

    # Rollouts to lessons.

    def _lessons(self, samples: Sequence[Sample], meter: Meter) -> list[Lesson]:
        """The responses that carry loss, each with its advantage; counts what was left out."""
        options = self.options
        overlong = [sample.rollout.finish == "length" for sample in samples]
        rewards = with_overlength(
            [_reward(sample) for sample in samples], overlong, options.overlength, options.overlength_reward
        )
        judged = [(sample, reward) for sample, reward in zip(samples, rewards, strict=True) if reward is not None]
        groups = [(sample.task, sample.problem_id) for sample, _ in judged]
        advantages = group_advantages([reward for _, reward in judged], groups, options.advantages, options.std_floor)
        meter.samples(samples, overlong)
        meter.groups(groups, advantages)
        return [self._lesson(sample, a) for (sample, _), a in zip(judged, advantages, strict=True) if a != 0.0]

    def _lesson(self, sample: Sample, advantage: float) -> Lesson:
        trace = trace_of(sample.rollout, self.layout, block_size=self.options.block_size, tail=self.options.tail)
        return Lesson(sample, trace, self.views(sample, trace), advantage)

    def _parts(self, lessons: list[Lesson]) -> list[list[Lesson]]:
        """The lessons of each minibatch. Shuffled, so that no update sees only a few problems."""
        if self.options.minibatches == 1:
            return [lessons]
        shuffled = random.Random(f"{self.options.seed}/{self.steps_done}").sample(lessons, len(lessons))
        return [shuffled[i :: self.options.minibatches] for i in range(self.options.minibatches)]

    # Lessons to batches.

    def _work(self, lessons: Sequence[Lesson]) -> Work:
        traces = [lesson.trace for lesson in lessons]
        sequences, table = pack(traces, [lesson.views for lesson in lessons], self.layout)
        width = max((trace.width for trace in traces), default=1)
        batches = self._batches(sequences, width)
        largest = int(all_max(max((len(batch.index) for batch in batches), default=0)))
        counts = Counts(
            all_sum(float(sum(len(lesson.views) > 0 for lesson in lessons))),
            all_sum(float(table.rows)),
            all_sum(float(len(table))),
        )
        weight = token_weights(self.options.weights, table.sample, table.step, table.row, counts, self._constant(traces))
        advantage = torch.tensor([lesson.advantage for lesson in lessons])[table.sample] if lessons else torch.zeros(0)
        return Work(
            batches=batches,
            table=table,
            pieces=pieces_for(largest, self.network.lm_head.weight.shape[0]),
            advantage=self._placed(advantage),
            weight=self._placed(weight * table.scale),
            old=self._placed(table.sampler.clone()),
            old_known=self.options.old == "sampler",
        )

    def _batches(self, sequences: list[Packed], width: int) -> list[Batch]:
        """Batches under the budget. All ranks get the same number, some of them empty: sharded layers run in step."""
        groups = plan([len(sequence) for sequence in sequences], self.options.micro_tokens)
        batches = [collate([sequences[i] for i in group], width, self._device) for group in groups]
        missing = int(all_max(len(batches))) - len(batches)
        return batches + [collate([dummy(self.layout, width)], width, self._device)] * missing

    def _constant(self, traces: Sequence[Trace]) -> float | None:
        if self.layout.attention == "full":
            return None
        return self.options.constant_length or all_max(float(max((trace.length for trace in traces), default=0)))

    # Batches to updates.

    def _score_fixed_policies(self, works: list[Work], several: bool) -> None:
        """Log-probabilities under policies that the update does not change. With one update, the old policy is the current
        one and its own pass gives them."""
        for work in works:
            if self.options.old == "trainer" and several:
                work.old, work.old_known = self._logprobs(self.network, work), True
            if self._reference is not None:
                work.reference = self._logprobs(self._reference, work)

    @torch.no_grad()
    def _logprobs(self, network: Any, work: Work) -> Tensor:
        out = torch.zeros_like(work.old)
        for batch in work.batches:
            out[batch.slots] = self._scores(network, work, batch).logprob.to(out.dtype)
        return out

    def _scores(self, network: Any, work: Work, batch: Batch) -> Scores:
        hidden = hidden_states(network.model, batch, self.layout, self.options.attention)
        return score(network.lm_head, hidden, work.table.label[batch.slots.cpu()].to(hidden.device), work.pieces)

    def _update(self, work: Work, meter: Meter) -> None:
        if all_sum(float(len(work.table))) == 0:
            return
        total = 0.0
        self.optimizer.clear()
        with checkpointing(self.network, self.options.gradient_checkpointing):
            for batch in work.batches:
                loss = self._loss(work, batch, meter)
                # Gradients are averaged over the ranks, weights are counted over all of them.
                (loss * world_size()).backward()  # type: ignore[no-untyped-call]
                total += float(loss.detach())
        work.old_known = True
        require_finite("loss", total)
        norm = self.optimizer.norm()
        require_finite("gradient", norm)
        self.optimizer.step(norm, lr_factor(self.steps_done, self.total_steps, self.options))
        meter.update(total, norm, self.options.lr * lr_factor(self.steps_done, self.total_steps, self.options))

    def _loss(self, work: Work, batch: Batch, meter: Meter) -> Tensor:
        options, slots = self.options, batch.slots
        scores = self._scores(self.network, work, batch)
        logprob = scores.logprob
        if not work.old_known:
            work.old[slots] = logprob.detach().to(work.old.dtype)
        old = work.old[slots] if work.old_known else logprob.detach()
        term = policy_term(logprob, old, work.advantage[slots], options.clip_low, options.clip_high)
        policy = term.loss
        if options.correction == "truncated":
            sampler = work.table.sampler[slots.cpu()].to(old.device)
            policy = policy * truncated_importance(old, sampler, options.correction_cap)
        target = {"old": old, "reference": None if work.reference is None else work.reference[slots], "none": None}[options.kl]
        loss = policy
        if target is not None:
            kl = kl_term(logprob, target, options.kl_estimator)
            loss = policy + options.kl_coef * kl
            meter.kl(kl)
        meter.batch(batch, term, scores.entropy)
        return (work.weight[slots] * loss).sum()

    def _measure_gap(self, work: Work, meter: Meter) -> None:
        if self.contexts_match and self.options.old == "trainer" and work.old_known:
            meter.gap(work.old.cpu() - work.table.sampler)

    # State.

    def state_dict(self) -> dict[str, Any]:
        """Everything but the network's weights that the next step depends on."""
        state: dict[str, Any] = {"steps_done": self.steps_done, "optimizer": self.optimizer.state_dict()}
        if self._reference is not None:
            state["reference"] = self._reference.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on exactly where `state_dict` was taken."""
        self.steps_done = int(state["steps_done"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self._reference is not None:
            self._reference.load_state_dict(state["reference"])

    def save(self, path: Path) -> None:
        """Write the policy as a plain checkpoint: its weights, and the settings and tokenizer of the one it came from."""
        self.network.save_pretrained(path)
        for file in self.model.checkpoint.path.glob("*.json"):
            shutil.copyfile(file, path / file.name)

    def _backup(self) -> dict[str, Any]:
        weights = [parameter.detach().cpu().clone() for parameter in self.optimizer.parameters]
        return {"weights": weights, "optimizer": _copied(self.optimizer.state_dict())}

    def _restore(self, backup: dict[str, Any]) -> None:
        with torch.no_grad():
            for parameter, weight in zip(self.optimizer.parameters, backup["weights"], strict=True):
                parameter.copy_(weight)
        self.optimizer.load_state_dict(backup["optimizer"])

    @property
    def _device(self) -> torch.device:
        device: torch.device = self.network.lm_head.weight.device
        return device

    def _placed(self, values: Tensor) -> Tensor:
        """On the network's device; weights and advantages in float64 on a CPU only where the network is."""
        kind = torch.promote_types(self.network.lm_head.weight.dtype, torch.float32)
        return values.to(self._device, kind)

    @contextmanager
    def _attention(self) -> Iterator[None]:
        """Use the attention backend of the options while training; sampling keeps its own."""
        before = self.network.config._attn_implementation
        if self.options.attention == "flex":
            self.network.set_attn_implementation("flex_attention")
        try:
            yield
        finally:
            self.network.set_attn_implementation(before)


def _reward(sample: Sample) -> float | None:
    """The reward of a response that can be learnt from; None without a verdict, or without tokens."""
    return sample.verdict.reward if sample.rollout.length else None


def _frozen_copy(network: Any) -> Any:
    copy = deepcopy(network)
    for parameter in copy.parameters():
        parameter.requires_grad_(False)
    return copy


def _copied(state: Any) -> Any:
    if isinstance(state, Tensor):
        return state.detach().clone()
    if isinstance(state, dict):
        return {key: _copied(value) for key, value in state.items()}
    if isinstance(state, list):
        return [_copied(value) for value in state]
    return state
