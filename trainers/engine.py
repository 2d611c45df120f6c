"""Runs updates: packs views into batches under a budget of tokens, sums gradients over them, and calls the optimizer once.

What the loss is comes from the trainer, as a function from a batch to a sum of weighted targets; the weights are counted over
all batches and ranks, so how the work is split changes nothing but the time. Ranks make the same number of calls of the network,
with empty batches where needed, because sharded layers run in step.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from ..rewards.errors import InputError
from . import tiles
from .objective import Counts
from .optimizing import Optimizer, OptimizerOptions, lr_factor, require_finite
from .packing import Batch, Packed, Targets, collate, dummy, pack, plan
from .parallel import all_max, all_sum, world_size
from .scoring import Scores, checkpointing, hidden_states, pieces_for, score
from .traces import Trace, layout_of
from .views import Views


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions(OptimizerOptions):
    """`micro_tokens`: tokens of one forward pass, padding included (a longer sequence runs alone). `gradient_checkpointing`:
    compute activations again instead of keeping them. `attention`: `sdpa`, for long sequences tile by tile (see `tiles`), or
    `flex` (FlexAttention, for block-causal models on an accelerator). `tail`: how many tokens after a response's end are trained
    too. `seed`: of shuffling and of random masks.
    """

    micro_tokens: int = 16384
    gradient_checkpointing: bool = False
    attention: Literal["sdpa", "flex"] = "sdpa"
    tail: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        require(self.micro_tokens >= 1, "micro_tokens", self.micro_tokens, "at least 1")
        require(self.lr >= 0, "lr", self.lr, "0 or more")
        require(self.clip_norm > 0, "clip_norm", self.clip_norm, "above 0")
        require(self.tail >= 0, "tail", self.tail, "0 or more")
        require(self.warmup >= 0, "warmup", self.warmup, "0 or more")
        require(0 <= self.final_lr <= 1, "final_lr", self.final_lr, "between 0 and 1")


@dataclass(frozen=True, slots=True)
class Work:
    """What one update is made of: batches, the table of their targets, and how much it is over all ranks."""

    batches: list[Batch]
    table: Targets
    counts: Counts
    pieces: int


@dataclass(frozen=True, slots=True)
class Gradient:
    """A finite gradient that waits to be applied: this rank's share of the loss, the optimizers and their gradients' norms."""

    loss: float
    optimizers: tuple[Optimizer, ...]
    norms: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Update:
    """What one update did: this rank's share of the loss, the norm of the gradient before clipping, the learning rate."""

    loss: float
    grad_norm: float
    lr: float


Loss = Callable[[Batch, Tensor], Tensor]
"""From a batch and the hidden states (m, H) of its targets to the sum of their weighted losses."""


class Engine:
    """One network, its optimizer, and the way work is run on it."""

    def __init__(self, model: Any, options: EngineOptions, total_steps: int) -> None:
        self.options, self.total_steps = options, total_steps
        self.layout = layout_of(model)
        self.network = model.network
        self.network.eval()
        self.optimizer = Optimizer(self.network.parameters(), options)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        device: torch.device = self.network.lm_head.weight.device
        return device

    def placed(self, values: Tensor) -> Tensor:
        """Numbers per target on the network's device, in its dtype or float32 if that is narrower."""
        return values.to(self.device, torch.promote_types(self.network.lm_head.weight.dtype, torch.float32))

    def pack(self, traces: Sequence[Trace], views: Sequence[Views]) -> Work:
        """The views of each trace as work. All ranks have to call it together."""
        widths = sorted({trace.width for trace in traces})
        if self.layout.attention == "block_causal" and len(widths) > 1:
            raise InputError(f"rollouts of one update have blocks of {widths}; train those of one block size at a time")
        sequences, table = pack(traces, views, self.layout)
        batches = self._batches(sequences, max((trace.width for trace in traces), default=1))
        largest = int(all_max(max((len(batch.index) for batch in batches), default=0)))
        responses = float(sum(len(view) > 0 for view in views))
        counts = Counts(all_sum(responses), all_sum(float(table.rows)), all_sum(float(len(table))))
        return Work(batches, table, counts, pieces_for(largest, self.network.lm_head.weight.shape[0]))

    def _batches(self, sequences: list[Packed], width: int) -> list[Batch]:
        groups = plan([len(sequence) for sequence in sequences], self.options.micro_tokens)
        batches = [collate([sequences[i] for i in group], width, self.device) for group in groups]
        missing = int(all_max(len(batches))) - len(batches)
        return batches + [collate([dummy(self.layout, width)], width, self.device)] * missing

    def hidden(self, backbone: Any, batch: Batch) -> Tensor:
        """The hidden states of a batch's targets, (m, H)."""
        return hidden_states(backbone, batch, self.layout, self.options.attention)

    def scores(self, network: Any, work: Work, batch: Batch, hidden: Tensor) -> Scores:
        """Log-probabilities of a batch's targets from their hidden states."""
        label = work.table.label[batch.slots.cpu()].to(hidden.device)
        return score(network.lm_head, hidden, label, work.pieces)

    @torch.no_grad()
    def per_target(self, work: Work, function: Callable[[Batch], Tensor]) -> Tensor:
        """A number for every target of `work`, (m,), computed batch by batch without gradient."""
        out = self.placed(torch.zeros(len(work.table)))
        for batch in work.batches:
            out[batch.slots] = function(batch).to(out.dtype)
        return out

    def logprobs(self, network: Any, work: Work) -> Tensor:
        """The log-probability of every target under `network`, (m,), without gradient."""
        return self.per_target(work, lambda batch: self.scores(network, work, batch, self.hidden(network.model, batch)).logprob)

    def gradient(self, work: Work, loss: Loss, backbone: Any, optimizers: Sequence[Optimizer]) -> Gradient:
        """The gradient of the loss over all of `work` in what `optimizers` change.

        Raises FloatingPointError where loss or gradient is not finite.
        """
        total = 0.0
        for optimizer in optimizers:
            optimizer.clear()
        with checkpointing(backbone, self.options.gradient_checkpointing):
            for batch in work.batches:
                share = loss(batch, self.hidden(backbone, batch))
                # Gradients are averaged over the ranks, weights are counted over all of them.
                (share * world_size()).backward()  # type: ignore[no-untyped-call]
                total += float(share.detach())
        require_finite("loss", total)
        norms = tuple(optimizer.norm() for optimizer in optimizers)
        for norm in norms:
            require_finite("gradient", norm)
        return Gradient(total, tuple(optimizers), norms)

    def apply(self, gradient: Gradient, step: int) -> Update:
        """Change the weights, with the learning rate of the `step`-th update."""
        factor = lr_factor(step, self.total_steps, self.options)
        for optimizer, norm in zip(gradient.optimizers, gradient.norms, strict=True):
            optimizer.step(norm, factor)
        return Update(gradient.loss, gradient.norms[0], gradient.optimizers[0].options.lr * factor)

    @contextmanager
    def all_or_nothing(self, optimizers: Sequence[Optimizer], updates: int) -> Iterator[None]:
        """Undo what a block of that many updates did to weights and optimizers when it raises FloatingPointError.

        A single update changes nothing before it raises; only several need a copy to go back to, kept in host memory.
        """
        backups = [optimizer.backup() for optimizer in optimizers] if updates > 1 else []
        try:
            yield
        except FloatingPointError:
            for optimizer in optimizers:
                optimizer.clear()
            for optimizer, backup in zip(optimizers, backups, strict=False):
                optimizer.restore(backup)
            raise

    @contextmanager
    def training(self, *others: Any) -> Iterator[None]:
        """Let the network, and other ones, use the attention backend of the options; sampling keeps its own."""
        configs = [network.config for network in (self.network, *others)]
        before = [config._attn_implementation for config in configs]
        by_tiles = self.layout.attention == "block_causal"
        wanted = {"sdpa": tiles.NAME if by_tiles else "sdpa", "flex": "flex_attention"}[self.options.attention]
        try:
            for config in configs:
                config._attn_implementation = wanted
            yield
        finally:
            for config, name in zip(configs, before, strict=True):
                config._attn_implementation = name


def require(holds: bool, name: str, value: object, wanted: str) -> None:
    """Raise InputError, naming the option, unless it holds."""
    if not holds:
        raise InputError(f"field {name!r}: is {value!r}; it must be {wanted}")
