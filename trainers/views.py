"""Views of a trace: which windows are shown to the network, with which tokens masked, and which of these carry loss.

TraceRL shows every window as it was before each (shrunk) step of the sampler, so that the context of a token is the one it was
fixed in (arXiv 2509.06949, sections 4.1 and 4.3). The peers that mask at random are in `masking`. A *row* is what the
reference implementation forwards as one sequence: the r-th step of all blocks, or one masked copy of the whole response.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from .traces import GIVEN, NEVER, Trace


@dataclass(frozen=True, slots=True)
class Views:
    """v views of windows that are W tokens wide, in the order (start, row).

    `start` (v,) is where the window begins, `masked` (v, W) which of its tokens are hidden, `target` (v, W) which of those
    carry loss, `row` (v,) the row of the reference implementation, and `scale` (v,) a factor of the loss.
    """

    start: Tensor
    masked: Tensor
    target: Tensor
    row: Tensor
    scale: Tensor

    def __len__(self) -> int:
        return len(self.start)

    def where(self, chosen: Tensor) -> "Views":
        """Some of the views: `chosen` are their indices, or (v,) bool."""
        return Views(*(getattr(self, name)[chosen] for name in Views.__slots__))


def trace_views(trace: Trace, shrink: int = 1) -> Views:
    """One view per window and shrunk step that fixed a token which may carry loss.

    `shrink` joins that many successive steps of a window; the steps of a block are its own, those of a full-attention canvas
    are the whole response's.
    """
    trained = trace.trained[trace.first :].view(-1, trace.width)
    rank = shrunk(trace.steps[trace.first :].view(-1, trace.width), shrink)
    last = int(rank[rank != NEVER].max()) if bool((rank != NEVER).any()) else -1
    found = []
    for row in range(last + 1):
        target = (rank == row) & trained
        kept = target.any(dim=-1)
        count = int(kept.sum())
        scale = torch.ones(count)
        found.append(
            Views(trace.starts[kept], (rank >= row)[kept], target[kept], torch.full((count,), row, dtype=torch.long), scale)
        )
    return join(found, trace.width)


def shrunk(steps: Tensor, shrink: int) -> Tensor:
    """The shrunk step of every token of a window, counted from 0 in each window: (w, W) to (w, W).

    The distinct steps of a window are joined `shrink` at a time, the first ones first. GIVEN and NEVER stay.
    """
    ordered, order = steps.sort(dim=-1, stable=True)
    fixed = (ordered != GIVEN) & (ordered != NEVER)
    changed = torch.ones_like(fixed)
    changed[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    rank = ((changed & fixed).cumsum(dim=-1) - 1) // shrink
    rank = torch.where(fixed, rank, ordered)
    return torch.empty_like(rank).scatter(-1, order, rank)


def join(parts: list[Views], width: int) -> Views:
    """All views of `parts`, in the order (start, row)."""
    nothing = Views(
        torch.zeros(0, dtype=torch.long),
        torch.zeros(0, width, dtype=torch.bool),
        torch.zeros(0, width, dtype=torch.bool),
        torch.zeros(0, dtype=torch.long),
        torch.zeros(0),
    )
    parts = [nothing, *parts]
    start, row = torch.cat([part.start for part in parts]), torch.cat([part.row for part in parts])
    order = torch.argsort(row, stable=True)
    order = order[torch.argsort(start[order], stable=True)]
    masked, target = torch.cat([part.masked for part in parts]), torch.cat([part.target for part in parts])
    scale = torch.cat([part.scale for part in parts])
    return Views(start[order], masked[order], target[order], row[order], scale[order])
