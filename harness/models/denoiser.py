"""The denoiser of a block-causal model: prefill a prompt, run a block against the cache, keep or forget the result.

One buffer per layer holds keys and values of all rows; a row is a sequence being decoded. `run` writes the block's keys
and values behind the row's context, where the next `run` of the same block overwrites them: a denoising pass keeps nothing,
and the pass over the finished block is the one whose keys stay. Masks and positions are made here; callers see only tokens
in and logits out. The cache is exact: a block-causal model never changes the keys of an earlier block.

On a CPU in float32 the result of a row is the same bit for bit whatever the other rows are: rows are padded to a number
from which matrix kernels no longer depend on it (`row_floor`, measured), and keys to whole vector widths.
"""

from functools import cached_property
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from transformers import Cache

from .attention import block_causal

KEY_STEP = 64
"""Keys are padded to a multiple of this, so that sums over keys run in the same lanes whatever the longest row is."""

GROWTH = 256
"""The cache grows by this many positions at a time."""


class BlockDenoiser:
    """Runs blocks of `block_size` tokens for up to `rows` sequences at once. Not thread-safe."""

    def __init__(self, network: Any, block_size: int, rows: int) -> None:
        self.network = network
        self.block_size = block_size
        self._floor = -(-row_floor(network) // block_size)
        self._cache = _RowCache(network, max(rows, self._floor))
        self._arguments = signature(network.model.forward).parameters

    @cached_property
    def _device(self) -> torch.device:
        device: torch.device = next(self.network.parameters()).device
        return device

    @torch.inference_mode()
    def prefill(self, row: int, ids: list[int]) -> None:
        """Write the cache of `row` for whole blocks of prompt, from position 0. `len(ids)` is a multiple of the block size."""
        positions = torch.arange(len(ids), device=self._device).unsqueeze(0)
        mask = block_causal(positions, positions, self.block_size).unsqueeze(1)
        self._cache.prepare(torch.tensor([row], device=self._device), positions, len(ids))
        self._forward(torch.tensor([ids], device=self._device), positions, mask)

    @torch.inference_mode()
    def run(self, starts: Tensor, tokens: Tensor, wanted: Tensor) -> Tensor:
        """Run one block of each of the first n rows on top of its context.

        `starts` (n,) is the absolute position of each block, `tokens` (n, B) its ids, `wanted` (w,) the rows whose logits are
        needed; returns (w, B, V) float32. The keys of the block stay in the cache until the row runs again from the same start.
        """
        n = len(starts)
        padding = max(self._floor - n, 0)
        starts = torch.cat([starts, starts.new_zeros(padding)])
        tokens = torch.cat([tokens, tokens.new_zeros(padding, self.block_size)])
        positions = starts.unsqueeze(1) + torch.arange(self.block_size, device=self._device)
        length = -(-(int(starts.max()) + self.block_size) // KEY_STEP) * KEY_STEP
        keys = torch.arange(length, device=self._device).unsqueeze(0)
        mask = block_causal(positions, keys, self.block_size).unsqueeze(1)
        self._cache.prepare(torch.arange(n + padding, device=self._device), positions, length)
        hidden = self._forward(tokens, positions, mask)
        return self._head(hidden[:n][wanted])

    @torch.inference_mode()
    def move(self, source: int, target: int) -> None:
        """Give `target` the cache of `source`: how a freed row is filled, and how samples share one prompt."""
        self._cache.move(source, target)

    def _forward(self, tokens: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        # transformers renamed `past_key_values` to `cache` in 5.24.
        name = "cache" if "cache" in self._arguments else "past_key_values"
        out = self.network.model(
            input_ids=tokens, position_ids=positions, attention_mask=mask, use_cache=True, **{name: self._cache}
        )
        hidden: Tensor = out.last_hidden_state
        return hidden

    def _head(self, hidden: Tensor) -> Tensor:
        vocabulary = self.network.lm_head.weight.shape[0]
        if len(hidden) == 0:
            return hidden.new_zeros(*hidden.shape[:-1], vocabulary, dtype=torch.float32)
        flat = hidden.reshape(-1, hidden.shape[-1])
        missing = max(self._floor * self.block_size - len(flat), 0)
        logits = self.network.lm_head(torch.cat([flat, flat.new_zeros(missing, flat.shape[-1])]))[: len(flat)]
        out: Tensor = logits.reshape(*hidden.shape[:-1], vocabulary).float()
        return out


class _RowCache(Cache):  # type: ignore[misc]
    """Keys and values of all rows, (rows, kv heads, capacity, head dim) per layer, written at each row's own positions."""

    def __init__(self, network: Any, rows: int) -> None:
        config = network.config
        self._rows = rows
        self._capacity = 0
        self._layers_kv: list[tuple[Tensor, Tensor]] = []
        self._shape = (config.num_key_value_heads, config.head_dim)
        self._count = config.num_hidden_layers
        self._like = next(network.parameters())
        super().__init__(layers=[])

    def prepare(self, rows: Tensor, positions: Tensor, length: int) -> None:
        """Say where the next forward writes (`rows` (n,), `positions` (n, Q)) and how many keys it reads."""
        self._target = (rows.unsqueeze(1), positions)
        self._reads = length
        self._first, self._last = int(rows[0]), int(rows[-1]) + 1
        if length > self._capacity:
            self._grow(-(-length // GROWTH) * GROWTH)

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        keys, values = self._layers_kv[layer_idx]
        rows, positions = self._target
        keys[rows, :, positions] = key_states.transpose(1, 2)
        values[rows, :, positions] = value_states.transpose(1, 2)
        return keys[self._first : self._last, :, : self._reads], values[self._first : self._last, :, : self._reads]

    def move(self, source: int, target: int) -> None:
        for keys, values in self._layers_kv:
            keys[target], values[target] = keys[source], values[source]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return 0

    def _grow(self, capacity: int) -> None:
        heads, size = self._shape
        fresh = []
        for layer in range(self._count):
            pair = tuple(self._like.new_zeros(self._rows, heads, capacity, size) for _ in range(2))
            if self._capacity:
                for new, old in zip(pair, self._layers_kv[layer], strict=True):
                    new[:, :, : self._capacity] = old
            fresh.append((pair[0], pair[1]))
        self._layers_kv, self._capacity = fresh, capacity


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
