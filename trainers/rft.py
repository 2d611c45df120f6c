"""Filtered self-training: learn the responses that were right. The worked example of a trainer of one's own.

Copy this file, make its relative imports absolute (`from unmask.trainers.engine import Engine`), change which samples are learnt
(`_chosen`), what of them is hidden (`views` in `step`) or the loss, and train with `trainer.name=mine.py:RFT`. Each response that
earned `threshold` is learnt from random masks of its blocks, by the mean negative log-likelihood of hidden tokens: RAFT
(arXiv 2304.06767) with the loss of block diffusion (BD3-LM, arXiv 2503.09573).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from ..harness.models.model import Model
from ..harness.records import Sample
from ..rewards.serde import decode
from .checkpoint import save_policy
from .engine import Engine, EngineOptions, Work
from .masking import MaskRule, generator, random_views
from .packing import Batch
from .parallel import all_sum
from .traces import trace_of


@dataclass(frozen=True, slots=True, kw_only=True)
class RFTOptions(EngineOptions):
    """`threshold`: the reward from which a response is learnt. `draws`: masks of each response. The rest is the engine's."""

    threshold: float = 1.0
    draws: int = 1


class RFT:
    """A trainer in the shape of `base.Trainer`."""

    def __init__(self, model: Model, options: Mapping[str, Any], total_steps: int) -> None:
        self.model = model
        self.options = decode(RFTOptions, options, "trainer")  # an unknown option is an InputError that names the nearest
        self.engine = Engine(model, self.options, total_steps)  # optimizer, packing, sharding: what trainers have in common
        self.done = 0

    def step(self, samples: Sequence[Sample]) -> dict[str, float]:
        chosen = self._chosen(samples)
        traces = [trace_of(sample.rollout, self.engine.layout) for sample in chosen]
        seeds = [generator(self.options.seed, sample.rollout.seed, self.done) for sample in chosen]
        pairs = zip(traces, seeds, strict=True)
        views = [random_views(trace, MaskRule(), seed, draws=self.options.draws) for trace, seed in pairs]
        metrics = {"learnt": all_sum(float(len(chosen)))}
        with self.engine.training():
            work = self.engine.pack(traces, views)
            if work.counts.targets:  # of all ranks: either every rank makes an update or none does
                loss, optimizers = partial(self._loss, work), [self.engine.optimizer]
                gradient = self.engine.gradient(work, loss, self.engine.network.model, optimizers)
                update = self.engine.apply(gradient, self.done)
                metrics |= {"loss": all_sum(update.loss), "grad_norm": update.grad_norm, "lr": update.lr}
                forwarded = sum(int((batch.copies >= 0).sum()) for batch in work.batches if len(batch.index))
                metrics |= {"tokens_trained": work.counts.targets, "tokens_forwarded": all_sum(float(forwarded))}
        self.done += 1
        return metrics

    def _chosen(self, samples: Sequence[Sample]) -> list[Sample]:
        """The responses to learn. A sample without a reward could not be judged."""
        least = self.options.threshold
        return [s for s in samples if s.rollout.length and s.verdict.reward is not None and s.verdict.reward >= least]

    def _loss(self, work: Work, batch: Batch, hidden: Tensor) -> Tensor:
        """This batch's share of the mean over all targets of the update."""
        scores = self.engine.scores(self.engine.network, work, batch, hidden)
        return -scores.logprob.sum() / work.counts.targets

    def state_dict(self) -> dict[str, Any]:
        return {"done": self.done, "optimizer": self.engine.optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.done = state["done"]
        self.engine.optimizer.load_state_dict(state["optimizer"])

    def save(self, path: Path) -> None:
        save_policy(self.model, path)
