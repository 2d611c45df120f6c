"""The denoiser of models whose open block sees nothing behind it: block-causal ones, and those with a causal context.

One buffer per layer holds keys and values of all rows; a row is a sequence being decoded. `run` writes the block's keys
and values behind the row's context, where the next `run` of the same block overwrites them: a denoising pass keeps nothing.
What stays is written by a pass over the finished block: a `run` of its own, or, after `keep`, together with the next `run`,
which already is the first step of the row's next block. Prompts, too, are run with the first step of their first block. Masks,
positions and the shift of the predictions are made here; callers see tokens in, and out the hidden states that predict each
position. The cache is exact: these models never change the keys of an earlier block. Models with full attention: `canvas`.

On a CPU in float32 the result of a row is the same bit for bit whatever the other rows are: rows are padded to a number
from which matrix kernels no longer depend on it (`floor`), and keys to whole vector widths.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from inspect import signature
from typing import Any, Literal

import torch
from torch import Tensor

from .body import Body
from .captured import Captured, CudaGraph
from .memory import CachePlan, Layout, position_bytes
from .rows import ATTENTION, Blocks, Padding, Piece, Prompt, RowCache

KEY_STEP = 64
"""Keys are padded to a multiple of this, so that sums over keys run in the same lanes whatever the longest row is."""

REPLAY_STEP = 512
"""Replayed passes show keys in multiples of this, so that few are captured."""

GROWTH = 256
"""The cache grows by this many positions at a time."""

Context = Literal["blocks", "prompt_blocks", "causal"]
"""How the context sees itself: in blocks from position 0, in blocks counted from the end of the prompt, or causally."""


class BlockDenoiser(Body):
    """Runs blocks of `block_size` tokens for up to `rows` sequences at once. Not thread-safe.

    With `shift` a position is predicted by the state before it, the first of a block by the last of its context. `budget` are
    bytes that the cache may take (None: no limit).
    """

    def __init__(
        self,
        network: Any,
        block_size: int,
        rows: int,
        *,
        context: Context = "blocks",
        shift: bool = False,
        budget: int | None = None,
    ) -> None:
        super().__init__(network)
        self.block_size, self.context, self.shift = block_size, context, shift
        self.plan = CachePlan(rows, position_bytes(network), budget)
        self.captured = Captured(self._static_pass, CudaGraph) if self.device.type == "cuda" else None
        self._cache = RowCache()
        self._prompts: list[tuple[int, list[int]]] = []
        self._shared: list[tuple[int, int, int]] = []
        self._kept: list[tuple[int, int, Tensor]] = []
        self._last = next(network.parameters()).new_zeros(rows, network.config.hidden_size)
        self._groups = network.config.num_attention_heads // network.config.num_key_value_heads
        # transformers renamed `past_key_values` to `cache` in 5.24.
        self._cache_name = "cache" if "cache" in signature(network.model.forward).parameters else "past_key_values"

    @property
    def cache_bytes(self) -> int:
        """Memory of the cache."""
        return self._cache.bytes

    def row_count(self, rows: int) -> int:
        """How many rows a pass over `rows` open blocks takes with its padding."""
        return max(rows, -(-self.floor // self.block_size))

    @torch.inference_mode()
    def room(self, positions: int, used: int) -> int:
        """How many rows there may be once a sequence of `positions` is among them; makes the room if the `used` ones still fit.

        With a budget the cache is laid out for whole sequences ahead; without one it grows with them. Raises InputError if the
        budget does not hold one such sequence.
        """
        if self.plan.budget is None:
            return self.plan.rows
        wanted = max(-(-positions // KEY_STEP) * KEY_STEP, self._cache.layout.positions)
        layout = self.plan.layout(wanted)
        if layout != self._cache.layout and used < layout.rows:
            self._resize(layout)
        return layout.rows

    def reset(self, rows: int) -> None:
        """Forget all rows, give the cache's memory back, and take at most `rows` from now on."""
        self.plan = replace(self.plan, rows=rows)
        self._cache = RowCache()
        self._moved()
        self._prompts, self._shared, self._kept = [], [], []
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def prefill(self, row: int, ids: list[int]) -> None:
        """With the next pass, write the cache of `row` from position 0 on: the context before its first block."""
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
        self._cache.copy(source, target, self._cache.layout.positions)
        self._last[target] = self._last[source]
        self._kept = [(target if row == source else row, start, tokens) for row, start, tokens in self._kept]

    @torch.inference_mode()
    def run(self, starts: Tensor, tokens: Tensor, commits: Tensor) -> Tensor:
        """Run one block of each of the first n rows on top of its context, and whatever waits for this pass.

        `starts` (n,) is the absolute position of each block, `tokens` (n, B) its ids, `commits` (n,) bool the rows whose block is
        finished and becomes context; returns (w, B, H), the hidden states that predict the positions of the other rows. The keys
        of a block stay in the cache until the row runs again from the same start.
        """
        n = len(starts)
        furthest, unfinished = int(starts.max()), (~commits).nonzero().squeeze(-1)
        starts, tokens, commits = (value.to(self.device, non_blocking=True) for value in (starts, tokens, commits))
        if self.captured is not None and not self._prompts:
            hidden = self._replayed(self.captured, furthest, starts, tokens, commits)
        else:
            flat = _Flat(self.device)
            length = self._add_waiting(flat, furthest + self.block_size)
            self._add_blocks(flat, slice(0, n), torch.arange(n, device=self.device), starts, tokens, commits, length)
            hidden = self._forward(flat)[-n * self.block_size :].view(n, self.block_size, -1)
        aligned = self._aligned(hidden, starts)
        if len(unfinished) < n:
            aligned = aligned[unfinished.to(self.device)]
        self._last[:n] = torch.where(commits.unsqueeze(1), hidden[:, -1], self._last[:n])
        return aligned

    def _replayed(self, captured: Captured, furthest: int, starts: Tensor, tokens: Tensor, commits: Tensor) -> Tensor:
        """The same pass in one of a few shapes, so that it can be replayed: rows and finished blocks are filled up to powers of
        two, with rows that are free and with the first finished block once more; both write what nobody reads.
        """
        n, size = len(starts), self.block_size
        self._reserve(furthest + size)
        layout = self._cache.layout
        rows = min(_power(n), layout.rows)
        length = min(-(-(furthest + size) // REPLAY_STEP) * REPLAY_STEP, layout.positions)
        kept = self._kept + self._kept[:1] * (_power(len(self._kept)) - len(self._kept))
        inputs = {name: padded(value, rows - n) for name, value in (("starts", starts), ("tokens", tokens), ("commits", commits))}
        if kept:
            places, begins, blocks = zip(*kept, strict=True)
            inputs["kept_rows"] = torch.tensor(places, device=self.device)
            inputs["kept_starts"] = torch.tensor(begins, device=self.device)
            inputs["kept_tokens"] = torch.stack(blocks).to(self.device)
        hidden = captured((length,), inputs)
        self._remember(hidden)
        self._shared, self._kept = [], []
        return hidden[len(kept) * size :][: n * size].view(n, size, -1)

    def _static_pass(
        self,
        length: int,
        *,
        starts: Tensor,
        tokens: Tensor,
        commits: Tensor,
        kept_rows: Tensor | None = None,
        kept_starts: Tensor | None = None,
        kept_tokens: Tensor | None = None,
    ) -> Tensor:
        """A pass whose shapes say all that is not on the device: hidden states (tokens, H)."""
        flat = _Flat(self.device)
        if kept_rows is not None and kept_starts is not None and kept_tokens is not None:
            everything = torch.ones_like(kept_starts, dtype=torch.bool)
            self._add_blocks(flat, kept_rows, kept_rows, kept_starts, kept_tokens, everything, length)
        n = len(starts)
        self._add_blocks(flat, slice(0, n), torch.arange(n, device=self.device), starts, tokens, commits, length)
        return self._network_pass(flat, ())

    @torch.inference_mode()
    def settle(self) -> None:
        """Run what waits for the next pass now: where something is to be read off the context first."""
        if self._prompts or self._kept:
            flat = _Flat(self.device)
            self._add_waiting(flat, max((len(ids) for _, ids in self._prompts), default=1))
            self._forward(flat)

    def next_logits(self, row: int) -> Tensor:
        """Logits (V,) of the token behind the context of a row: the left-to-right head of models that have one."""
        return self.logits(self._last[row : row + 1])[0]

    def _aligned(self, hidden: Tensor, starts: Tensor) -> Tensor:
        if not self.shift:
            return hidden
        before = torch.where((starts > 0).unsqueeze(1), self._last[: len(starts)], hidden[:, 0])
        return torch.cat([before.unsqueeze(1), hidden[:, :-1]], dim=1)

    def _add_waiting(self, flat: "_Flat", positions: int) -> int:
        """Add prompts and finished blocks; returns how many keys the queries of a row are shown."""
        for row, ids in self._prompts:
            self._add_prompt(flat, row, ids)
        ends = [start + self.block_size for _, start, _ in self._kept]
        length = self._reserve(max([positions, *ends, *(len(ids) for _, ids in self._prompts)]))
        if self.device.type == "cpu" and self.context != "causal":
            # One by one: each then sees the keys of its row where they lie, which is cheaper than to gather them.
            for row, start, tokens in self._kept:
                self._add_kept(flat, row, start, tokens)
        elif self._kept:
            rows, begins, kept = zip(*self._kept, strict=True)
            place = torch.tensor(rows, device=self.device)
            begin = torch.tensor(begins, device=self.device)
            everything = torch.ones_like(begin, dtype=torch.bool)
            self._add_blocks(flat, place, place, begin, torch.stack(kept), everything, length)
        return length

    def _add_kept(self, flat: "_Flat", row: int, start: int, tokens: Tensor) -> None:
        end = start + self.block_size
        positions = torch.arange(start, end)
        mask = (torch.arange(-(-end // KEY_STEP) * KEY_STEP) < end)[None, None, None]
        flat.add(Blocks(slice(row, row + 1), self.block_size, mask), tokens, positions, torch.full_like(positions, row))

    def _add_prompt(self, flat: "_Flat", row: int, ids: list[int]) -> None:
        positions = torch.arange(len(ids), device=self.device)
        mask = (positions <= self._context_limit(positions).unsqueeze(1)).repeat(self._groups, 1)
        flat.add(Prompt(row, len(ids), mask), torch.tensor(ids, device=self.device), positions, torch.full_like(positions, row))

    def _context_limit(self, positions: Tensor) -> Tensor:
        """The last position that each position of a context sees."""
        size = self.block_size
        if self.context == "causal":
            return positions
        offset = len(positions) % size if self.context == "prompt_blocks" else 0
        return torch.div(positions - offset, size, rounding_mode="floor") * size + offset + size - 1

    def _add_blocks(
        self,
        flat: "_Flat",
        rows: slice | Tensor,
        index: Tensor,
        starts: Tensor,
        tokens: Tensor,
        commits: Tensor,
        length: int,
    ) -> None:
        """A block sees its row's keys up to its own end; where the context is causal, a finished one up to each token."""
        positions = starts.unsqueeze(1) + torch.arange(self.block_size, device=self.device)
        keys = torch.arange(length, device=self.device)
        mask = (keys < starts.unsqueeze(1) + self.block_size)[:, None, None]
        if self.context == "causal":
            limit = torch.where(commits.unsqueeze(1), positions, positions[:, -1:])
            mask = (keys <= limit.unsqueeze(-1)).unsqueeze(1).repeat(1, 1, self._groups, 1)
        index = index.unsqueeze(1).expand_as(positions)
        flat.add(Blocks(rows, self.block_size, mask), tokens.to(self.device).flatten(), positions.flatten(), index.flatten())

    def _reserve(self, positions: int) -> int:
        """Make the cache long enough; returns how many keys a row's queries are shown."""
        length = -(-positions // KEY_STEP) * KEY_STEP
        if length > self._cache.layout.positions:
            self._resize(Layout(self.plan.rows, -(-length // GROWTH) * GROWTH))
        return length

    def _forward(self, flat: "_Flat") -> Tensor:
        """Run the flat pass; returns the hidden states of its tokens, padding taken off, (tokens, hidden)."""
        hidden = self._network_pass(flat, self._shared)
        self._remember(hidden)
        self._prompts, self._shared, self._kept = [], [], []
        return hidden

    def _network_pass(self, flat: "_Flat", copies: Sequence[tuple[int, int, int]]) -> Tensor:
        ids, positions, rows = (torch.cat(parts) for parts in (flat.ids, flat.positions, flat.rows))
        self._cache.prepare(rows, positions, copies)
        pieces = flat.pieces
        missing = self.floor - len(ids)
        if missing > 0:
            ids, positions, pieces = padded(ids, missing), padded(positions, missing), [*pieces, Padding(missing)]
        # transformers leaves a four-dimensional mask as it is; `attend` looks at the pieces' own.
        unused = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=self.device)
        if self.network.config._attn_implementation != ATTENTION:
            self.network.set_attn_implementation(ATTENTION)
        out = self.forward(ids[None], positions[None], unused, use_cache=True, pieces=pieces, **{self._cache_name: self._cache})
        return out[0, : len(rows)]

    def _resize(self, layout: Layout) -> None:
        self._cache.resize(layout)
        self._moved()

    def _moved(self) -> None:
        if self.captured is not None:
            self.captured.forget()

    def _remember(self, hidden: Tensor) -> None:
        """Note the last state of every context that this pass wrote or copied."""
        start = 0
        for row, ids in self._prompts:
            start += len(ids)
            self._last[row] = hidden[start - 1]
        for row, _, _ in self._kept:
            start += self.block_size
            self._last[row] = hidden[start - 1]
        for source, target, _ in self._shared:
            self._last[target] = self._last[source]


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


def padded(values: Tensor, missing: int) -> Tensor:
    """`values` with `missing` zeros behind them, along the first dimension."""
    return torch.cat([values, values.new_zeros(missing, *values.shape[1:])])


def _power(count: int) -> int:
    """The least power of two that holds `count`; 0 for nothing."""
    return 1 << (count - 1).bit_length() if count else 0
