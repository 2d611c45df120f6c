"""Supervised fine-tuning on given responses: the negative log-likelihood of hidden tokens, in one of three kinds of views.

`semi-ar` hides tokens of one block at a time, earlier blocks clean and, for full attention, later ones hidden. `random` hides
tokens of the whole response with one probability. `trace` uses the order of a sampler: the record's, or with `collect` the one
in which the model itself would fix the answer's tokens. Masks are drawn anew whenever a sample comes again. `supervised` makes a
sample of a conversation and an answer; rewards only select (`min_reward`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from ..harness.models.model import Model
from ..harness.records import DecodeConfig, ForwardPasses, Rollout, Sample
from ..rewards.errors import InputError
from ..rewards.records import Message, Verdict
from ..rewards.serde import decode
from .checkpoint import save_policy
from .collecting import collected
from .engine import Engine, EngineOptions, Work, require
from .masking import MaskRule, generator, random_views, semi_autoregressive_views
from .metrics import Meter
from .objective import Weights, token_weights
from .packing import Batch
from .parallel import all_max
from .tracerl import default_shrink
from .traces import Trace, trace_of
from .views import Views, trace_views


@dataclass(frozen=True, slots=True, kw_only=True)
class SFTOptions(EngineOptions):
    """`views`: see the module. `lower`, `upper`, `inverse_t`, `draws`: of the masks (see `masking`). `block_size`: of `semi-ar`
    views of a full-attention model. `collect`: find traces by the model's own confidence, `per_step` tokens a
    step. `shrink`: steps joined in `trace` views. `weights`: see `objective`. `min_reward`: leave out samples with less."""

    views: Literal["semi-ar", "random", "trace"] = "semi-ar"
    lower: float = 0.1
    upper: float = 0.9
    inverse_t: bool = False
    draws: int = 1
    block_size: int = 32
    collect: bool = False
    per_step: int = 2
    shrink: int | None = None
    weights: Weights = "token-mean"
    min_reward: float | None = None

    def __post_init__(self) -> None:
        EngineOptions.__post_init__(self)
        require(0 < self.lower <= self.upper <= 1, "lower", self.lower, "above 0 and at most `upper`, which is at most 1")
        for name in ("draws", "per_step", "block_size"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")


class SFT:
    """Supervised fine-tuning in the shape of `base.Trainer`."""

    def __init__(self, model: Any, options: Mapping[str, Any], total_steps: int) -> None:
        self.model = model
        self.options = decode(SFTOptions, options, "trainer")
        self.engine = Engine(model, self.options, total_steps)
        self.steps_done = 0

    def step(self, samples: Sequence[Sample]) -> dict[str, float]:
        """One update on all samples whose reward is high enough; returns metrics."""
        meter = Meter()
        meter.samples(samples, [sample.rollout.finish == "length" for sample in samples])
        chosen = [sample for sample in samples if self._wanted(sample)]
        with self.engine.training():
            traces = self._traces(chosen)
            work = self.engine.pack(traces, [self._views(*pair) for pair in zip(chosen, traces, strict=True)])
            meter.add(rows=work.table.rows, tokens_trained=len(work.table))
            if work.counts.targets:
                self._update(work, traces, meter)
        self.steps_done += 1
        return meter.result()

    def _wanted(self, sample: Sample) -> bool:
        reward, least = sample.verdict.reward, self.options.min_reward
        return reward is not None and sample.rollout.length > 0 and (least is None or reward >= least)

    def _traces(self, samples: Sequence[Sample]) -> list[Trace]:
        traces = [trace_of(sample.rollout, self.engine.layout, tail=self.options.tail) for sample in samples]
        wanted = self.options.views == "trace" and self.options.collect
        return collected(self.engine, traces, self.options.per_step) if wanted else traces

    def _views(self, sample: Sample, trace: Trace) -> Views:
        options = self.options
        if options.views == "trace":
            return trace_views(trace, default_shrink(options.shrink, self.engine.layout.attention))
        random = generator(options.seed, sample.task, sample.problem_id, sample.rollout.sample, self.steps_done)
        share: Literal["block", "sequence"] = "block" if options.views == "semi-ar" else "sequence"
        rule = MaskRule(options.lower, options.upper, share, options.inverse_t)
        if options.views == "semi-ar" and self.engine.layout.attention == "full":
            return semi_autoregressive_views(trace, rule, random, draws=options.draws, block_size=options.block_size)
        return random_views(trace, rule, random, draws=options.draws)

    def _update(self, work: Work, traces: Sequence[Trace], meter: Meter) -> None:
        longest = all_max(float(max((trace.length for trace in traces), default=0)))
        constant = None if self.engine.layout.attention == "full" else longest
        table = work.table
        weights = token_weights(self.options.weights, table.sample, table.step, table.row, work.counts, constant)
        weight = self.engine.placed(weights * table.scale)

        def loss(batch: Batch, hidden: Tensor) -> Tensor:
            scores = self.engine.scores(self.engine.network, work, batch, hidden)
            meter.batch(batch, scores.entropy)
            meter.likelihood(scores.logprob)
            return -(weight[batch.slots] * scores.logprob).sum()

        engine = self.engine
        with engine.all_or_nothing([engine.optimizer], 1):
            gradient = engine.gradient(work, loss, engine.network.model, [engine.optimizer])
            meter.update(engine.apply(gradient, self.steps_done))

    def state_dict(self) -> dict[str, Any]:
        """Everything but the network's weights that the next step depends on."""
        return {"steps_done": self.steps_done, "optimizer": self.engine.optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on exactly where `state_dict` was taken."""
        self.steps_done = int(state["steps_done"])
        self.engine.optimizer.load_state_dict(state["optimizer"])

    def save(self, path: Path) -> None:
        """Write the policy as a plain checkpoint."""
        save_policy(self.model, path)


def supervised(model: Model, task: str, problem_id: str, messages: Sequence[Message], answer: str, *, canvas: int = 0) -> Sample:
    """A sample whose response is `answer`, ended by the model's first stop token.

    Stop tokens fill its last block, or a canvas of at least `canvas` positions; the option `tail` says how many of them are
    trained. The step map goes left to right. Raises InputError for an answer without tokens.
    """
    prompt = model.encode(messages)
    tokens = model.tokenizer.encode(answer, add_special_tokens=False)
    if not tokens:
        raise InputError(f"{problem_id}: the answer has no tokens")
    stop = model.checkpoint.stop_ids[0]
    length = len(tokens) + 1
    size = model.checkpoint.block_size if model.checkpoint.family.attention == "block_causal" else None
    fill = -(len(prompt) + length) % size if size else max(canvas - length, 0)
    ids = (*tokens, *[stop] * (1 + fill))
    rollout = Rollout(
        problem_id=problem_id,
        sample=0,
        seed=0,
        prompt_ids=prompt,
        token_ids=ids,
        length=length,
        step_map=tuple(range(len(ids))),
        logprobs=(0.0,) * len(ids),
        confidences=(0.0,) * len(ids),
        block_size=size or length + fill,
        block_offset=len(prompt) % size if size else 0,
        forward_passes=ForwardPasses(),
        cache="none",
        finish="stop",
        text=answer,
        decode=DecodeConfig(),
        model=model.info,
        seconds=0.0,
        canvas=0 if size else length + fill,
    )
    return Sample(task, problem_id, problem_id, rollout, Verdict(reward=1.0, status="correct"))
