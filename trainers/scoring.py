"""Log-probabilities of packed targets under a network: the one place where a trainer calls it.

The backbone runs once per batch; the head runs on the hidden states of targets only, a piece at a time, and the pieces' logits
are computed again in the backward pass instead of being kept. The network stays in evaluation mode: no dropout, so the loop can
sample in between and a repeated pass gives the same numbers. The backbone and the head are called as two modules; whoever
shards the network must shard them as two.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from ..harness.models.attention import clean_and_noisy
from . import tiles
from .packing import Batch
from .traces import Layout

PIECE = 2**25
"""Logits held at a time, in numbers: 128 MiB in float32."""


class Scores(NamedTuple):
    """Per target: `logprob` (m,) with gradient, `entropy` (m,) of the distribution over the vocabulary, in nats, without."""

    logprob: Tensor
    entropy: Tensor


def hidden_states(backbone: Any, batch: Batch, layout: Layout, attention: str = "sdpa") -> Tensor:
    """The last hidden state at the output that predicts each target, (m, H)."""
    options: dict[str, Any] = {}
    if layout.attention == "full":
        options["is_causal"] = False
        real = batch.copies >= 0
        mask = None if bool(real.all()) else real[:, None, None, :].expand(-1, 1, real.shape[1], -1)
    elif attention == "flex":
        mask = block_mask(batch)
    elif backbone.config._attn_implementation == tiles.NAME and batch.ids.shape[1] >= tiles.LONG:
        mask, options["tiles"] = None, tiles.tiles_of(batch)
    else:
        mask = clean_and_noisy(batch.positions, batch.copies, batch.width).unsqueeze(1)
    out = backbone(input_ids=batch.ids, position_ids=batch.positions, attention_mask=mask, use_cache=False, **options)
    hidden: Tensor = out.last_hidden_state
    return hidden.flatten(0, 1)[batch.index]


def block_mask(batch: Batch) -> Any:
    """The mask of `clean_and_noisy` as a FlexAttention BlockMask, which skips what is masked by whole tiles."""
    from torch.nn.attention.flex_attention import create_block_mask

    block, copies, positions = batch.positions // batch.width, batch.copies, batch.positions

    def sees(b: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        clean = (copies[b, key] == 0) & (copies[b, query] >= 0)
        before = block[b, key] < block[b, query]
        own = (copies[b, key] == copies[b, query]) & (copies[b, query] >= 0) & (block[b, key] == block[b, query])
        itself = (copies[b, key] == copies[b, query]) & (positions[b, key] == positions[b, query])
        return (clean & before) | own | itself

    rows, length = batch.ids.shape
    return create_block_mask(sees, rows, None, length, length, device=batch.ids.device)


def score(head: Callable[[Tensor], Tensor], hidden: Tensor, label: Tensor, pieces: int = 1) -> Scores:
    """Log-probability of each label (m,) from hidden states (m, H), computed in `pieces` equal parts."""
    if pieces == 1:
        return Scores(*_piece(head, hidden, label))
    parts = zip(hidden.tensor_split(pieces), label.tensor_split(pieces), strict=True)
    kept = [_recomputed(head, states, labels) for states, labels in parts]
    return Scores(*(torch.cat(tensors) for tensors in zip(*kept, strict=True)))


def pieces_for(targets: int, vocabulary: int) -> int:
    """How many pieces keep the logits of `targets` within `PIECE` numbers."""
    return max(1, -(-targets * vocabulary // PIECE))


def _recomputed(head: Callable[[Tensor], Tensor], hidden: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    out: tuple[Tensor, Tensor] = checkpoint(_piece, head, hidden, label, use_reentrant=False)
    return out


def _piece(head: Callable[[Tensor], Tensor], hidden: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    logits = head(hidden)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    total = logits.logsumexp(dim=-1)
    logprob = logits.gather(-1, label.unsqueeze(-1)).squeeze(-1) - total
    with torch.no_grad():
        entropy = total - (logits.softmax(dim=-1) * logits).sum(dim=-1)
    return logprob, entropy


@contextmanager
def checkpointing(network: Any, wanted: bool) -> Iterator[None]:
    """Run decoder layers again in the backward pass instead of keeping their activations, dropout still off.

    transformers checkpoints only layers in training mode, so that flag is set on the layers alone, not on their parts.
    """
    layers = [module for module in network.modules() if isinstance(module, GradientCheckpointingLayer)] if wanted else []
    try:
        for layer in layers:
            layer.gradient_checkpointing = layer.training = True
            layer._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)
        yield
    finally:
        for layer in layers:
            layer.gradient_checkpointing = layer.training = False
