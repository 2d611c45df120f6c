"""The denoiser of models with full attention: whole sequences, prompt and canvas, in every pass.

It recomputes everything, or keeps Fast-dLLM's approximate caches (arXiv 2505.22618). Masks, positions and the shift of the
predictions are made here; callers see tokens in, and out the hidden states that predict the open block. Models whose open block
sees nothing behind it: `denoiser`.

On a CPU in float32 the result of a row is the same bit for bit whatever the other rows are: rows are padded to a number from
which matrix kernels no longer depend on it (`floor`), and rows of different widths do not share a pass.
"""

from inspect import signature
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import Cache

from .body import Body
from .denoiser import GROWTH, KEY_STEP


class CanvasDenoiser(Body):
    """Runs whole sequences, prompt and canvas, for models with full attention. Not thread-safe.

    `cache` "prefix" keeps the keys of what lies before the open block, "dual" also of what lies behind it, both from the first
    pass of the block on: later passes run on stale keys, and are not what the model computes.
    """

    def __init__(
        self,
        network: Any,
        block_size: int,
        rows: int,
        *,
        shift: bool = False,
        cache: Literal["none", "prefix", "dual"] = "none",
        horizon: int | None = None,
    ) -> None:
        super().__init__(network)
        self._kept = CanvasCache(rows)
        # transformers renamed `past_key_values` to `cache` in 5.24.
        self._cache_name = "cache" if "cache" in signature(network.model.forward).parameters else "past_key_values"
        self.block_size, self.shift, self.cache, self.horizon = block_size, shift, cache, horizon

    @torch.inference_mode()
    def run(self, rows: Tensor, tokens: Tensor, lengths: Tensor, starts: Tensor, fresh: Tensor) -> Tensor:
        """Run n sequences; returns the hidden states (n, B, H) that predict the positions of each open block.

        `rows` (n,) are their rows in the cache, `tokens` (n, W) the ids, of which the first `lengths` (n,) count, `starts` (n,)
        the absolute position of the open block, `fresh` (n,) bool the rows whose block is new, so that its cache is written.
        """
        out: Tensor | None = None
        for group in self._groups(lengths, starts, fresh):
            index = torch.tensor(group, device=self.device)
            hidden = self._group(rows[index], tokens[index], lengths[index], starts[index], bool(fresh[index[0]]))
            out = hidden.new_zeros(len(rows), *hidden.shape[1:]) if out is None else out
            out[index] = hidden
        if out is None:
            raise ValueError("run needs at least one row")
        return out

    def _groups(self, lengths: Tensor, starts: Tensor, fresh: Tensor) -> list[list[int]]:
        """Rows that share a pass: of one width, and of one window where a cache leaves only a window to run."""
        groups: dict[tuple[int, ...], list[int]] = {}
        for i, (length, start, new) in enumerate(zip(lengths.tolist(), starts.tolist(), fresh.tolist(), strict=True)):
            window = 0 if self.cache == "none" or new else self._window_end(start, length) - start
            groups.setdefault((_padded(length), window), []).append(i)
        return list(groups.values())

    def _window_end(self, start: int, length: int) -> int:
        if self.cache == "dual":
            return min(start + self.block_size, length)
        return length if self.horizon is None else min(start + self.block_size + self.horizon, length)

    def _group(self, rows: Tensor, tokens: Tensor, lengths: Tensor, starts: Tensor, fresh: bool) -> Tensor:
        width = _padded(int(lengths[0]))
        if self.cache == "none" or fresh:
            return self._whole(rows, _resized(tokens, width), lengths, starts)
        return self._window(rows, tokens, lengths, starts, width)

    def _whole(self, rows: Tensor, tokens: Tensor, lengths: Tensor, starts: Tensor) -> Tensor:
        n, width = tokens.shape
        rows, tokens, lengths = self._enough(width, rows, tokens, lengths)
        positions = torch.arange(width, device=self.device).expand(len(tokens), width)
        mask = (positions < lengths.unsqueeze(1))[:, None, None, :].expand(-1, 1, width, -1)
        if self.cache != "none":
            self._kept.prepare(rows, positions, width)
        hidden = self.forward(tokens, positions, mask, **self._options())[:n]
        return self._open_block(hidden, starts, torch.zeros_like(starts))

    def _enough(self, width: int, *tensors: Tensor) -> list[Tensor]:
        """Repeat the first sequence until a pass of `width` tokens each has the least number of tokens it needs."""
        missing = max(-(-self.floor // width) - len(tensors[0]), 0)
        return [torch.cat([tensor, tensor[:1].expand(missing, *tensor.shape[1:])]) for tensor in tensors]

    def _options(self) -> dict[str, Any]:
        return {"use_cache": False} if self.cache == "none" else {"use_cache": True, self._cache_name: self._kept}

    def _window(self, rows: Tensor, tokens: Tensor, lengths: Tensor, starts: Tensor, width: int) -> Tensor:
        n, first = len(tokens), starts
        window = self._window_end(int(starts[0]), int(lengths[0])) - int(starts[0])
        rows, tokens, lengths, starts = self._enough(window, rows, tokens, lengths, starts)
        positions = starts.unsqueeze(1) + torch.arange(window, device=self.device)
        seen = lengths if self.cache == "dual" else starts + window
        keys = torch.arange(width, device=self.device)
        mask = (keys < seen.unsqueeze(1))[:, None, None, :].expand(-1, 1, positions.shape[1], -1)
        self._kept.prepare(rows, positions, width)
        hidden = self.forward(tokens.gather(1, positions), positions, mask, **self._options())[:n]
        return self._open_block(hidden, first, first)

    def _open_block(self, hidden: Tensor, starts: Tensor, first: Tensor) -> Tensor:
        """The states that predict the open block, of a pass whose first state belongs to position `first`."""
        offset = (starts - first).unsqueeze(1) + torch.arange(self.block_size, device=self.device) - int(self.shift)
        index = offset.clamp(0, hidden.shape[1] - 1).unsqueeze(-1).expand(-1, -1, hidden.shape[-1])
        return hidden.gather(1, index)

    @torch.inference_mode()
    def run_with_shadow(self, tokens: Tensor, lengths: Tensor, starts: Tensor, mask_id: int) -> tuple[Tensor, Tensor]:
        """Run n sequences with a block of masks beside the open one; returns the states of the block and of its shadow.

        Nothing sees the shadow but the shadow, and each of its positions sees all but the token it stands for (WINO).
        """
        size, wanted = self.block_size, len(tokens)
        width = _padded(int(lengths.max()))
        tokens, lengths, starts = self._enough(width + size, tokens, lengths, starts)
        n = len(tokens)
        block = starts.unsqueeze(1) + torch.arange(size, device=self.device)
        positions = torch.cat([torch.arange(width, device=self.device).expand(n, width), block], dim=1)
        shadow = tokens.new_full((n, size), mask_id)
        keys = (torch.arange(width, device=self.device) < lengths.unsqueeze(1)).unsqueeze(1)
        body = torch.cat([keys.expand(n, width, width), keys.new_zeros(n, width, size)], dim=2)
        others = keys & (torch.arange(width, device=self.device) != block.unsqueeze(-1))
        aside = torch.cat([others, keys.new_ones(n, size, size)], dim=2)
        mask = torch.cat([body, aside], dim=1).unsqueeze(1)
        ids = torch.cat([_resized(tokens, width), shadow], dim=1)
        hidden = self.forward(ids, positions, mask, use_cache=False)[:wanted]
        starts = starts[:wanted]
        return self._open_block(hidden[:, :width], starts, torch.zeros_like(starts)), hidden[:, width:]

    @torch.inference_mode()
    def move(self, source: int, target: int) -> None:
        """Give `target` the cache of `source`: how a freed row is filled."""
        self._kept.move(source, target)


def _padded(length: int) -> int:
    return -(-length // KEY_STEP) * KEY_STEP


def _resized(tokens: Tensor, width: int) -> Tensor:
    return torch.nn.functional.pad(tokens, (0, max(width - tokens.shape[1], 0)))[:, :width]


class CanvasCache(Cache):  # type: ignore[misc]
    """Keys and values of all rows, (rows, kv heads, capacity, head dim) per layer, written at each row's own positions.

    The buffers take heads and sizes from the first states that are written, so that any body fits.
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._capacity = 0
        self._buffers: dict[int, tuple[Tensor, Tensor]] = {}
        super().__init__(layers=[])

    def prepare(self, rows: Tensor, positions: Tensor, length: int) -> None:
        """Say where the next forward writes (`rows` (n,), `positions` (n, Q)) and how many keys it reads."""
        self._target = (rows.unsqueeze(1), positions)
        self._reads = length
        first, last = int(rows[0]), int(rows[-1])
        ordered = len(rows) == last - first + 1 and bool((rows.diff() == 1).all())
        # A slice of the buffer costs no copy.
        self._selected: slice | Tensor = slice(first, last + 1) if ordered else rows
        needed = max(length, int(positions.max()) + 1)
        if needed > self._capacity:
            self._grow(-(-needed // GROWTH) * GROWTH)

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        if layer_idx not in self._buffers:
            self._buffers[layer_idx] = (self._empty(key_states), self._empty(value_states))
        keys, values = self._buffers[layer_idx]
        rows, positions = self._target
        keys[rows, :, positions] = key_states.transpose(1, 2)
        values[rows, :, positions] = value_states.transpose(1, 2)
        return keys[self._selected][:, :, : self._reads], values[self._selected][:, :, : self._reads]

    def move(self, source: int, target: int) -> None:
        for keys, values in self._buffers.values():
            keys[target], values[target] = keys[source], values[source]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return 0

    def _empty(self, states: Tensor) -> Tensor:
        return states.new_zeros(self._rows, states.shape[1], self._capacity, states.shape[3])

    def _grow(self, capacity: int) -> None:
        missing = capacity - self._capacity
        self._capacity = capacity
        for layer, pair in self._buffers.items():
            keys, values = (torch.nn.functional.pad(tensor, (0, 0, 0, missing)) for tensor in pair)
            self._buffers[layer] = (keys, values)
