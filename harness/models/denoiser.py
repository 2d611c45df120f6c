"""The denoiser of a block-causal model: prefill a prompt, run a block against the cache, keep or forget the result.

One buffer per layer holds keys and values of all rows; a row is a sequence being decoded. `run` writes the block's keys
and values behind the row's context, where the next `run` of the same block overwrites them: a denoising pass keeps nothing.
What stays is written by a pass over the finished block: a `run` of its own, or, after `keep`, together with the next `run`,
which already is the first step of the row's next block. Prompts, too, are run with the first step of their first block. Masks and
positions are made here; callers see only tokens in and logits out. The cache is exact: a block-causal model never changes the
keys of an earlier block.

On a CPU in float32 the result of a row is the same bit for bit whatever the other rows are: rows are padded to a number
from which matrix kernels no longer depend on it (`row_floor`, measured), and keys to whole vector widths.
"""

from dataclasses import dataclass, field
from functools import cached_property
from inspect import signature
from typing import Any

import torch
from torch import Tensor

from .attention import block_causal
from .rows import ATTENTION, Blocks, Padding, Piece, Prompt, RowCache

KEY_STEP = 64
"""Keys are padded to a multiple of this, so that sums over keys run in the same lanes whatever the longest row is."""

GROWTH = 256
"""The cache grows by this many positions at a time."""


class BlockDenoiser:
    """Runs blocks of `block_size` tokens for up to `rows` sequences at once. Not thread-safe."""

    def __init__(self, network: Any, block_size: int, rows: int) -> None:
        self.network = network
        self.block_size = block_size
        self._floor = row_floor(network)
        self._cache = RowCache(network, rows)
        self._prompts: list[tuple[int, list[int]]] = []
        self._shared: list[tuple[int, int, int]] = []
        self._kept: list[tuple[int, int, Tensor]] = []
        self._groups = network.config.num_attention_heads // network.config.num_key_value_heads
        # transformers renamed `past_key_values` to `cache` in 5.24.
        self._cache_name = "cache" if "cache" in signature(network.model.forward).parameters else "past_key_values"

    @cached_property
    def _device(self) -> torch.device:
        device: torch.device = next(self.network.parameters()).device
        return device

    def prefill(self, row: int, ids: list[int]) -> None:
        """With the next pass, write the cache of `row` from position 0 on: whole blocks of a prompt."""
        self._prompts.append((row, ids))

    @torch.inference_mode()
    def share(self, source: int, target: int, length: int) -> None:
        """Give `target` the first `length` positions of `source`, a prompt's: how samples share one."""
        if any(row == source for row, _ in self._prompts):
            self._shared.append((source, target, length))
        else:
            self._cache.copy(source, target, length)

    def keep(self, row: int, start: int, tokens: Tensor) -> None:
        """With the next pass, write the cache of a finished block: `tokens` (B,) at `start`."""
        self._kept.append((row, start, tokens))

    @torch.inference_mode()
    def move(self, source: int, target: int) -> None:
        """Give `target` the place of `source` in all that follows: how a freed row is filled."""
        self._cache.copy(source, target, self._cache.capacity)
        self._kept = [(target if row == source else row, start, tokens) for row, start, tokens in self._kept]

    @torch.inference_mode()
    def run(self, starts: Tensor, tokens: Tensor, wanted: Tensor) -> Tensor:
        """Run one block of each of the first n rows on top of its context, and whatever waits for this pass.

        `starts` (n,) is the absolute position of each block, `tokens` (n, B) its ids, `wanted` (w,) the rows whose logits are
        needed; returns (w, B, V) float32. The keys of the block stay in the cache until the row runs again from the same start.
        """
        flat = _Flat(self._device)
        for row, ids in self._prompts:
            self._add_prompt(flat, row, ids)
        length = self._reserve(int(starts.max()) + self.block_size)
        if self._kept:
            rows, begins, kept = zip(*self._kept, strict=True)
            place = torch.tensor(rows, device=self._device)
            self._add_blocks(flat, place, place, torch.tensor(begins, device=self._device), torch.stack(kept), length)
        n = len(starts)
        self._add_blocks(flat, slice(0, n), torch.arange(n, device=self._device), starts, tokens, length)
        hidden = self._forward(flat)[-n * self.block_size :]
        self._prompts, self._shared, self._kept = [], [], []
        return self._head(hidden.view(n, self.block_size, -1)[wanted])

    def _add_prompt(self, flat: "_Flat", row: int, ids: list[int]) -> None:
        positions = torch.arange(len(ids), device=self._device)
        mask = block_causal(positions, positions, self.block_size).repeat(self._groups, 1)
        flat.add(Prompt(row, len(ids), mask), torch.tensor(ids, device=self._device), positions, torch.full_like(positions, row))

    def _add_blocks(
        self, flat: "_Flat", rows: slice | Tensor, index: Tensor, starts: Tensor, tokens: Tensor, length: int
    ) -> None:
        """A block sees its row's keys up to its own end."""
        positions = starts.unsqueeze(1) + torch.arange(self.block_size, device=self._device)
        keys = torch.arange(length, device=self._device)
        mask = (keys < starts.unsqueeze(1) + self.block_size)[:, None, None]
        index = index.unsqueeze(1).expand_as(positions)
        flat.add(Blocks(rows, self.block_size, mask), tokens.to(self._device).flatten(), positions.flatten(), index.flatten())

    def _reserve(self, positions: int) -> int:
        """Make the cache long enough; returns how many keys a row's queries are shown."""
        length = -(-positions // KEY_STEP) * KEY_STEP
        if length > self._cache.capacity:
            self._cache.grow(-(-length // GROWTH) * GROWTH)
        return length

    def _forward(self, flat: "_Flat") -> Tensor:
        """Run the flat pass; returns the hidden states of its tokens, padding taken off, (tokens, hidden)."""
        ids, positions, rows = (torch.cat(parts) for parts in (flat.ids, flat.positions, flat.rows))
        self._cache.prepare(rows, positions, self._shared)
        pieces = flat.pieces
        missing = self._floor - len(ids)
        if missing > 0:
            ids, positions, pieces = _padded(ids, missing), _padded(positions, missing), [*pieces, Padding(missing)]
        # transformers leaves a four-dimensional mask as it is; `attend` looks at the pieces' own.
        unused = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=self._device)
        if self.network.config._attn_implementation != ATTENTION:
            self.network.set_attn_implementation(ATTENTION)
        out = self.network.model(
            input_ids=ids[None],
            position_ids=positions[None],
            attention_mask=unused,
            use_cache=True,
            pieces=pieces,
            **{self._cache_name: self._cache},
        )
        hidden: Tensor = out.last_hidden_state[0, : len(rows)]
        return hidden

    def _head(self, hidden: Tensor) -> Tensor:
        vocabulary = self.network.lm_head.weight.shape[0]
        if len(hidden) == 0:
            return hidden.new_zeros(*hidden.shape[:-1], vocabulary, dtype=torch.float32)
        flat = hidden.reshape(-1, hidden.shape[-1])
        missing = self._floor - len(flat)
        logits = self.network.lm_head(_padded(flat, missing) if missing > 0 else flat)[: len(flat)]
        out: Tensor = logits.reshape(*hidden.shape[:-1], vocabulary).float()
        return out


@dataclass(frozen=True, slots=True)
class _Flat:
    """The tokens of a pass, piece after piece."""

    device: torch.device
    pieces: list[Piece] = field(default_factory=list)
    ids: list[Tensor] = field(default_factory=list)
    positions: list[Tensor] = field(default_factory=list)
    rows: list[Tensor] = field(default_factory=list)

    def add(self, piece: Piece, ids: Tensor, positions: Tensor, rows: Tensor) -> None:
        self.pieces.append(piece)
        self.ids.append(ids)
        self.positions.append(positions)
        self.rows.append(rows)


def _padded(values: Tensor, missing: int) -> Tensor:
    return torch.cat([values, values.new_zeros(missing, *values.shape[1:])])


def row_floor(network: Any) -> int:
    """The number of tokens from which a row of every linear layer comes out the same bit for bit in any batch.

    Measured on the layer shapes of this model on this machine. Where no such number up to 256 is found, or the model is not in
    float32 on a CPU, returns 1: results then agree to rounding only.
    """
    weight = network.lm_head.weight
    if weight.device.type != "cpu" or weight.dtype != torch.float32:
        return 1
    shapes = {module.weight.shape for module in network.modules() if isinstance(module, torch.nn.Linear)}
    return max((_floor_of(*shape) for shape in shapes), default=1)


_FLOORS: dict[tuple[int, int, int], int] = {}
_PROBE = 512


@torch.inference_mode()
def _floor_of(outputs: int, inputs: int) -> int:
    key = (outputs, inputs, torch.get_num_threads())
    if key not in _FLOORS:
        generator = torch.Generator().manual_seed(0)
        weight = torch.randn(min(outputs, 4096), inputs, generator=generator)
        rows = torch.randn(_PROBE, inputs, generator=generator)
        expected = torch.nn.functional.linear(rows, weight)
        _FLOORS[key] = next((size for size in (16, 32, 64, 128, 256) if _stable_from(size, rows, weight, expected)), 1)
    return _FLOORS[key]


def _stable_from(size: int, rows: Tensor, weight: Tensor, expected: Tensor) -> bool:
    sizes = [n for n in (size, size + 4, size + 12, 2 * size, 3 * size + 8) if n <= _PROBE]
    return all(torch.equal(torch.nn.functional.linear(rows[-n:], weight), expected[-n:]) for n in sizes)
