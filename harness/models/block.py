"""The denoiser of models whose open block sees nothing behind it: block-causal ones, and those with a causally computed context.

One buffer per layer holds keys and values of all rows; a row is a sequence being decoded. `run` writes the open block's keys and
values behind the row's context, where the next `run` of the same block overwrites them: a denoising pass keeps nothing. What
stays is written by a pass over the finished block: as a row's own turn (`commits` of `run`), or, after `keep`, together with the
next `run`, which already is the first step of the row's next block. Prompts, too, are run with the first step of their first
block. The cache is exact: earlier blocks never change.

On a CPU in float32 the result of a row is the same bit for bit whatever else is in the pass: matrices are padded to a number of
rows from which kernels no longer depend on it (`row_floor`, measured), and keys to whole vector widths.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from .denoiser import GROWTH, KEY_STEP, Body
from .experts import stable_experts
from .floor import row_floor
from .memory import CachePlan, Layout, position_bytes
from .rows import ATTENTION, Blocks, Padding, Piece, Prompt, RowCache

Context = Literal["blocks", "prompt_blocks", "causal"]
"""How the context sees itself: blocks from position 0, blocks counted from the end of the prompt, or causally."""


class BlockDenoiser(Body):
    """Runs blocks of `block_size` tokens for up to `rows` sequences at once. Not thread-safe.

    `budget` are bytes that the cache may take (None: no limit).
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
        super().__init__(network, row_floor(network))
        self.block_size, self.context, self.shift = block_size, context, shift
        self.plan = CachePlan(rows, position_bytes(network), budget)
        self._cache = RowCache()
        self._groups = network.config.num_attention_heads // network.config.num_key_value_heads
        self._last = next(network.parameters()).new_zeros(rows, network.config.hidden_size)
        self._prompts: list[tuple[int, list[int]]] = []
        self._shared: list[tuple[int, int, int]] = []
        self._kept: list[tuple[int, int, Tensor]] = []

    @property
    def cache_bytes(self) -> int:
        """Memory of the cache."""
        return self._cache.bytes

    def row_count(self, rows: int) -> int:
        """How many rows a pass over `rows` open blocks takes with its padding."""
        return max(rows, -(-self._floor // self.block_size))

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
            self._cache.resize(layout)
        return layout.rows

    def reset(self, rows: int) -> None:
        """Forget all rows, give the cache's memory back, and take at most `rows` from now on."""
        self.plan = replace(self.plan, rows=rows)
        self._cache = RowCache()
        self._prompts, self._shared, self._kept = [], [], []
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def prefill(self, row: int, ids: list[int]) -> None:
        """With the next pass, write the cache of `row` from position 0 on: the context before the first block."""
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
    def run(self, starts: Tensor, tokens: Tensor, commits: Tensor | None = None) -> Tensor:
        """Run one block of each of the first n rows on top of its context, and whatever waits for this pass.

        `starts` (n,) is the absolute position of each block, `tokens` (n, B) its ids, `commits` (n,) bool the rows whose block is
        finished, so that its keys become context; returns (w, B, H), the hidden states that predict the positions of the other
        rows. The keys of a block stay in the cache until the row runs again from the same start.
        """
        n, size = len(starts), self.block_size
        starts, tokens = starts.to(self.device), tokens.to(self.device)
        done = torch.zeros(n, dtype=torch.bool, device=self.device) if commits is None else commits.to(self.device)
        length = self._reserve(int(starts.max()) + size)
        flat = self._waiting(length)
        rows = torch.arange(n, device=self.device)
        self._add_blocks(flat, slice(0, n), rows, starts, tokens, length, done)
        hidden = self._run(flat)[-n * size :].view(n, size, -1)
        aligned = self._aligned(hidden, starts)[~done]
        self._last[:n] = torch.where(done.unsqueeze(1), hidden[:, -1], self._last[:n])
        return aligned

    @torch.inference_mode()
    def next_logits(self, rows: Tensor) -> Tensor:
        """Logits (w, V) of the token behind the context of each row: the left-to-right head of models that have one."""
        if self._prompts or self._kept:
            self._run(self._waiting(self._reserve(self._needed())))
        return self.logits(self._last[rows])

    def _needed(self) -> int:
        prompts = (len(ids) for _, ids in self._prompts)
        return max(*prompts, *(start + self.block_size for _, start, _ in self._kept), 0)

    def _waiting(self, length: int) -> "_Flat":
        """The pieces that wait for a pass."""
        flat = _Flat()
        for row, ids in self._prompts:
            self._add_prompt(flat, row, ids)
        if self._kept:
            rows, begins, kept = zip(*self._kept, strict=True)
            place = torch.tensor(rows, device=self.device)
            starts = torch.tensor(begins, device=self.device)
            done = torch.ones_like(place, dtype=torch.bool)
            self._add_blocks(flat, place, place, starts, torch.stack(kept).to(self.device), length, done)
        return flat

    def _add_prompt(self, flat: "_Flat", row: int, ids: list[int]) -> None:
        positions = torch.arange(len(ids), device=self.device)
        mask = positions <= self._context_limit(positions, len(ids)).unsqueeze(1)
        piece = Prompt(row, len(ids), mask.repeat(self._groups, 1))
        flat.add(piece, torch.tensor(ids, device=self.device), positions, torch.full_like(positions, row))

    def _context_limit(self, positions: Tensor, length: int) -> Tensor:
        """The last position that each position of the context sees."""
        size = self.block_size
        if self.context == "causal":
            return positions
        offset = length % size if self.context == "prompt_blocks" else 0
        return torch.div(positions - offset, size, rounding_mode="floor") * size + offset + size - 1

    def _add_blocks(
        self, flat: "_Flat", rows: slice | Tensor, index: Tensor, starts: Tensor, tokens: Tensor, length: int, done: Tensor
    ) -> None:
        """A block sees its row's keys up to its own end; a finished one of a causal context, each position up to itself."""
        positions = starts.unsqueeze(1) + torch.arange(self.block_size, device=self.device)
        limit = positions[:, -1:]
        if self.context == "causal":
            limit = torch.where(done.unsqueeze(1), positions, limit)
        mask = (torch.arange(length, device=self.device) <= limit.unsqueeze(-1)).repeat(1, self._repeats(limit), 1).unsqueeze(1)
        index = index.unsqueeze(1).expand_as(positions)
        flat.add(Blocks(rows, self.block_size, mask), tokens.flatten(), positions.flatten(), index.flatten())

    def _repeats(self, limit: Tensor) -> int:
        """One limit for a whole block serves all its folded queries; limits of its own it needs for each group."""
        return 1 if limit.shape[1] == 1 else self._groups

    def _reserve(self, positions: int) -> int:
        """Make the cache long enough; returns how many keys a row's queries are shown."""
        length = -(-positions // KEY_STEP) * KEY_STEP
        if length > self._cache.layout.positions:
            self._cache.resize(Layout(self.plan.rows, -(-length // GROWTH) * GROWTH))
        return length

    def _run(self, flat: "_Flat") -> Tensor:
        """Run a flat pass; returns the hidden states of its tokens, padding taken off, (tokens, H)."""
        ids, positions, rows = (torch.cat(parts) for parts in (flat.ids, flat.positions, flat.rows))
        self._cache.prepare(rows, positions, self._shared)
        pieces, missing = flat.pieces, self._floor - len(ids)
        if missing > 0:
            ids, positions, pieces = padded(ids, missing), padded(positions, missing), [*pieces, Padding(missing)]
        hidden = self._network_pass(ids, positions, pieces)[: len(rows)]
        self._note_context(hidden)
        return hidden

    def _network_pass(self, ids: Tensor, positions: Tensor, pieces: Sequence[Piece]) -> Tensor:
        if self.network.config._attn_implementation != ATTENTION:
            self.network.set_attn_implementation(ATTENTION)
        # transformers leaves a four-dimensional mask as it is; the attention looks at the pieces' own.
        unused = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=self.device)
        with stable_experts(self.network, self._expert_floor):
            out = self.network.model(
                input_ids=ids[None],
                position_ids=positions[None],
                attention_mask=unused,
                use_cache=True,
                pieces=pieces,
                **{self._cache_name: self._cache},
            )
        hidden: Tensor = out.last_hidden_state[0]
        return hidden

    def _note_context(self, hidden: Tensor) -> None:
        """Remember the last state of every context that the pass has made."""
        end = 0
        for row, ids in self._prompts:
            end += len(ids)
            self._last[row] = hidden[end - 1]
        for row, _, _ in self._kept:
            end += self.block_size
            self._last[row] = hidden[end - 1]
        for source, target, _ in self._shared:
            self._last[target] = self._last[source]
        self._prompts, self._shared, self._kept = [], [], []

    def _aligned(self, hidden: Tensor, starts: Tensor) -> Tensor:
        if not self.shift:
            return hidden
        before = torch.where((starts > 0).unsqueeze(1), self._last[: len(starts)], hidden[:, 0])
        return torch.cat([before.unsqueeze(1), hidden[:, :-1]], dim=1)


@dataclass(frozen=True, slots=True)
class _Flat:
    """The tokens of a pass, piece after piece."""

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
