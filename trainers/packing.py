"""From views to the network's input: each token that several views share is there once, and only targets are scored.

A block-causal sequence is [clean | views]: the clean tokens are the context of all views, and a view adds one block. With full
attention nothing can be shared, since a hidden token changes the state of every other: one sequence per view. Sequences of
similar length are put into one batch, up to a budget of tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from .traces import Layout, Trace
from .views import Views


@dataclass(frozen=True, slots=True)
class Packed:
    """One sequence of n tokens with m targets.

    `ids`, `positions` and `copies` (0 clean, 1 and up a view) are (n,). `index` (m,) says at which place of the sequence the
    output stands that predicts each target. The targets are `first` to `first + m` of the table they were packed into.
    """

    ids: Tensor
    positions: Tensor
    copies: Tensor
    index: Tensor
    first: int

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Targets:
    """All targets of an update, (m,) each.

    `label` is the token, `sample` the trace it belongs to, `position` its place there, `step` a number for the view it is
    scored in (the same order as in time within a sample), `row` one for the row of the reference implementation, `scale` the
    view's factor, `sampler` the sampler's log-probability.
    """

    label: Tensor
    sample: Tensor
    position: Tensor
    step: Tensor
    row: Tensor
    scale: Tensor
    sampler: Tensor

    def __len__(self) -> int:
        return len(self.label)

    @property
    def rows(self) -> int:
        """How many rows of the reference implementation the targets come from."""
        return int((torch.bincount(self.row) > 0).sum())


@dataclass(frozen=True, slots=True)
class Batch:
    """Sequences padded to one length: `ids`, `positions`, `copies` (b, N), padding has copy -1.

    `index` (m,) counts along the flattened (b * N) outputs; `slots` (m,) are the targets' places in the table. `width` is that
    of a block.
    """

    ids: Tensor
    positions: Tensor
    copies: Tensor
    index: Tensor
    slots: Tensor
    width: int


def pack(traces: Sequence[Trace], views: Sequence[Views], layout: Layout) -> tuple[list[Packed], Targets]:
    """Pack the views of each trace. Returns the sequences and the table of their targets."""
    sequences: list[Packed] = []
    tables: list[Targets] = []
    count = steps = rows = 0
    for sample, (trace, view) in enumerate(zip(traces, views, strict=True)):
        if len(view) == 0:
            continue
        table = _targets(trace, view, sample, steps, rows)
        sequences += (
            _blocks(trace, view, layout, count) if layout.attention == "block_causal" else _rows(trace, view, layout, count)
        )
        tables.append(table)
        count, steps, rows = count + len(table), steps + len(view), rows + int(view.row.max()) + 1
    return sequences, join_targets(tables)


def join_targets(tables: Sequence[Targets]) -> Targets:
    """One table of all; steps and rows are expected to be numbered apart already."""
    whole, real = torch.zeros(0, dtype=torch.long), torch.zeros(0)
    empty = Targets(whole, whole, whole, whole, whole, real, real)
    return Targets(*(torch.cat([getattr(table, name) for table in (empty, *tables)]) for name in Targets.__slots__))


def _targets(trace: Trace, views: Views, sample: int, steps: int, rows: int) -> Targets:
    view, offset = views.target.nonzero(as_tuple=True)
    position = views.start[view] + offset
    return Targets(
        label=trace.ids[position],
        sample=torch.full_like(position, sample),
        position=position,
        step=steps + view,
        row=rows + views.row[view],
        scale=views.scale[view],
        sampler=trace.logprobs[position],
    )


def _shown(trace: Trace, views: Views, mask_id: int) -> tuple[Tensor, Tensor]:
    """Tokens and positions of each view, (v, W)."""
    positions = views.start.unsqueeze(1) + torch.arange(trace.width)
    return trace.ids[positions].masked_fill(views.masked, mask_id), positions


def _blocks(trace: Trace, views: Views, layout: Layout, first: int) -> list[Packed]:
    """[clean | views]. Clean tokens from the last block that can carry loss on are context of nothing and left out."""
    shown, positions = _shown(trace, views, layout.mask_id)
    clean = trace.last_trained_start
    copies = (views.row + 1).unsqueeze(1).expand_as(shown)
    return [
        Packed(
            ids=torch.cat([trace.ids[:clean], shown.flatten()]),
            positions=torch.cat([torch.arange(clean), positions.flatten()]),
            copies=torch.cat([torch.zeros(clean, dtype=torch.long), copies.flatten()]),
            index=clean + views.target.flatten().nonzero().squeeze(1),
            first=first,
        )
    ]


def _rows(trace: Trace, views: Views, layout: Layout, first: int) -> list[Packed]:
    """[prompt | view], one sequence per view."""
    shown, _ = _shown(trace, views, layout.mask_id)
    positions = torch.arange(len(trace.ids))
    out = []
    for window, target in zip(shown, views.target, strict=True):
        place = trace.first + target.nonzero().squeeze(1)
        ids = torch.cat([trace.ids[: trace.first], window])
        index = (place - 1).clamp(min=0) if layout.shift else place
        out.append(Packed(ids, positions, torch.zeros_like(ids), index, first))
        first += len(place)
    return out


def plan(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Group sequences of similar length, longest first, so that a group padded to its longest takes at most `budget` tokens.

    A sequence longer than the budget is a group of its own. Returns indices.
    """
    groups: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if groups and (len(groups[-1]) + 1) * lengths[groups[-1][0]] <= budget:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


def collate(sequences: Sequence[Packed], width: int, device: torch.device) -> Batch:
    """Pad sequences on the right to the longest."""
    ids, positions = (pad_sequence([getattr(s, name) for s in sequences], batch_first=True) for name in ("ids", "positions"))
    copies = pad_sequence([s.copies for s in sequences], batch_first=True, padding_value=-1)
    index = torch.cat([row * ids.shape[1] + s.index for row, s in enumerate(sequences)])
    slots = torch.cat([torch.arange(s.first, s.first + len(s.index)) for s in sequences])
    return Batch(ids.to(device), positions.to(device), copies.to(device), index.to(device), slots.to(device), width)


def dummy(layout: Layout, width: int) -> Packed:
    """The smallest sequence that runs the same layers: for a rank that has nothing to score while others have."""
    ids = torch.full((2 * width if layout.attention == "block_causal" else 2,), layout.mask_id)
    positions = torch.arange(len(ids))
    copies = torch.zeros_like(ids)
    return Packed(ids, positions, copies, torch.zeros(0, dtype=torch.long), 0)
