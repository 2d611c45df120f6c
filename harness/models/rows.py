"""One forward pass over whatever every sequence needs next: open blocks, finished blocks to keep, new prompts.

The network runs over all their tokens as one flat sequence, so that linear layers see a single matrix; attention is the only
place where tokens of different sequences must not meet, and here each piece of the pass attends to the keys of its own row. A
piece's queries see the keys that the same pass wrote for earlier pieces of the row: a prompt is run together with the first
denoising step of its first block, and a finished block together with the first step of the next.

Grouped queries are folded into the query dimension instead of repeating keys, which would copy the whole cache in every layer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, Cache
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from .memory import Layout

ATTENTION = "unmask"
"""The name under which transformers' classes find `attend`."""


class Piece(Protocol):
    """A run of tokens of the flat pass that attends on its own."""

    @property
    def tokens(self) -> int: ...

    def attend(self, query: Tensor, keys: Tensor, values: Tensor, scaling: float) -> Tensor:
        """`query` (tokens, H, D) against the cache (rows, KV, capacity, D); returns (tokens, H, D)."""
        ...


@dataclass(frozen=True, slots=True)
class Blocks:
    """One block of `size` tokens for each row of `rows`: a slice where rows lie side by side, else their indices.

    `mask` (n, 1, 1, length) says which of the first `length` keys a row's queries see.
    """

    rows: slice | Tensor
    size: int
    mask: Tensor

    @property
    def tokens(self) -> int:
        return self.mask.shape[0] * self.size

    def attend(self, query: Tensor, keys: Tensor, values: Tensor, scaling: float) -> Tensor:
        n, size, length = self.mask.shape[0], self.size, self.mask.shape[-1]
        heads, dim, groups = keys.shape[1], keys.shape[3], query.shape[1] // keys.shape[1]
        folded = query.view(n, size, heads, groups, dim).permute(0, 2, 3, 1, 4).reshape(n, heads, groups * size, dim)
        keys, values = keys[self.rows, :, :length], values[self.rows, :, :length]
        out = scaled_dot_product_attention(folded, keys, values, attn_mask=self.mask, scale=scaling)
        return out.view(n, heads, groups, size, -1).permute(0, 3, 1, 2, 4).reshape(n * size, heads * groups, -1)


@dataclass(frozen=True, slots=True)
class Prompt:
    """Whole blocks of a prompt from position 0. `mask` (groups * tokens, tokens)."""

    row: int
    tokens: int
    mask: Tensor

    def attend(self, query: Tensor, keys: Tensor, values: Tensor, scaling: float) -> Tensor:
        heads, dim, groups = keys.shape[1], keys.shape[3], query.shape[1] // keys.shape[1]
        folded = query.view(self.tokens, heads, groups, dim).permute(1, 2, 0, 3).reshape(1, heads, groups * self.tokens, dim)
        own = keys[self.row : self.row + 1, :, : self.tokens], values[self.row : self.row + 1, :, : self.tokens]
        out = scaled_dot_product_attention(folded, *own, attn_mask=self.mask, scale=scaling)
        return out.view(heads, groups, self.tokens, -1).permute(2, 0, 1, 3).reshape(self.tokens, heads * groups, -1)


@dataclass(frozen=True, slots=True)
class Padding:
    """Tokens that are there only to make the matrices large enough; they attend to nothing."""

    tokens: int

    def attend(self, query: Tensor, keys: Tensor, values: Tensor, scaling: float) -> Tensor:
        return query.new_zeros(query.shape[0], query.shape[1], values.shape[3])


class RowCache(Cache):  # type: ignore[misc]
    """Keys and values of all rows, (rows, KV heads, positions, head dim) per layer.

    The buffers take heads and sizes from the first states that are written, so that any body fits.
    """

    def __init__(self) -> None:
        super().__init__(layers=[])
        self._layout = Layout(0, 0)
        self._buffers: dict[int, tuple[Tensor, Tensor]] = {}
        self._copies: Sequence[tuple[int, int, int]] = ()

    @property
    def layout(self) -> Layout:
        return self._layout

    @property
    def bytes(self) -> int:
        """What the buffers take."""
        return sum(tensor.nbytes for pair in self._buffers.values() for tensor in pair)

    def prepare(self, rows: Tensor, positions: Tensor, copies: Sequence[tuple[int, int, int]] = ()) -> None:
        """Say where the next pass writes its first `len(rows)` tokens.

        `copies` are (source row, target row, positions) to copy in each layer after it was written: how a prompt that is run in
        this pass reaches the other samples of its problem in the same pass.
        """
        self._target, self._copies = (rows, positions), copies

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        if layer_idx not in self._buffers:
            self._buffers[layer_idx] = _empty(key_states, self._layout), _empty(value_states, self._layout)
        keys, values = self._buffers[layer_idx]
        rows, positions = self._target
        keys[rows, :, positions] = key_states[0, :, : len(rows)].transpose(0, 1)
        values[rows, :, positions] = value_states[0, :, : len(rows)].transpose(0, 1)
        for copy in self._copies:
            _copy(keys, values, *copy)
        return keys, values

    def copy(self, source: int, target: int, length: int) -> None:
        """Give `target` the first `length` positions of `source`."""
        for keys, values in self._buffers.values():
            _copy(keys, values, source, target, length)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return 0

    def resize(self, layout: Layout) -> None:
        """Change the number of rows and positions; what both have stays. Layer by layer, so that little is there twice."""
        rows, positions = min(layout.rows, self._layout.rows), min(layout.positions, self._layout.positions)
        for layer, (old_keys, old_values) in self._buffers.items():
            keys, values = _empty(old_keys, layout), _empty(old_values, layout)
            keys[:rows, :, :positions] = old_keys[:rows, :, :positions]
            values[:rows, :, :positions] = old_values[:rows, :, :positions]
            self._buffers[layer] = keys, values
        self._layout = layout


def _empty(states: Tensor, layout: Layout) -> Tensor:
    return states.new_zeros(layout.rows, states.shape[1], layout.positions, states.shape[3])


def _copy(keys: Tensor, values: Tensor, source: int, target: int, length: int) -> None:
    for tensor in (keys, values):
        tensor[target, :, :length] = tensor[source, :, :length]


def attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, *, scaling: float, **options: Any
) -> tuple[Tensor, None]:
    """transformers' attention interface: a pass of pieces where `key` is a row cache's, else transformers' own SDPA."""
    pieces = options.pop("pieces", None)
    if pieces is None:
        out, _ = sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **options)
        return out, None
    flat = query[0].transpose(0, 1)
    parts, start = [], 0
    for piece in pieces:
        parts.append(piece.attend(flat[start : start + piece.tokens], key, value, scaling))
        start += piece.tokens
    return torch.cat(parts).unsqueeze(0), None


AttentionInterface.register(ATTENTION, attend)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
