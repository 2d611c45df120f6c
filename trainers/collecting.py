"""Traces for responses that no sampler made: the order in which a model would fix the tokens of a given answer.

Teacher-forced: the model repeatedly fixes the positions of each window at which it gives the answer's own token the highest
probability, with the tokens fixed before in place (TraceRL, arXiv 2509.06949, appendix B.5; the authors' code has no such step).
All windows of a block-causal model go forward together, since each sees the clean tokens before it.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from .engine import Engine
from .traces import GIVEN, NEVER, Trace
from .views import Views


def collected(engine: Engine, traces: Sequence[Trace], per_step: int) -> list[Trace]:
    """The traces with their steps replaced by those of the model's own order, `per_step` tokens of a window at a time."""
    found = [torch.where(trace.steps == GIVEN, GIVEN, NEVER) for trace in traces]
    rank = 0
    while True:
        open_ = [_open(trace, steps) for trace, steps in zip(traces, found, strict=True)]
        if not any(bool(views.target.any()) for views in open_):
            return [replace(trace, steps=steps) for trace, steps in zip(traces, found, strict=True)]
        work = engine.pack(traces, open_)
        logprob = engine.logprobs(engine.network, work).double().cpu()
        for index, (trace, steps) in enumerate(zip(traces, found, strict=True)):
            mine = work.table.sample == index
            _fix(trace, steps, work.table.position[mine], logprob[mine], rank, per_step)
        rank += 1


def _open(trace: Trace, steps: Tensor) -> Views:
    """Every window with a token left to fix, as it is now; the open tokens are scored."""
    masked = (steps == NEVER)[trace.first :].view(-1, trace.width)
    target = masked & trace.trained[trace.first :].view(-1, trace.width)
    kept = target.any(dim=-1)
    count = int(kept.sum())
    return Views(trace.starts[kept], masked[kept], target[kept], torch.zeros(count, dtype=torch.long), torch.ones(count))


def _fix(trace: Trace, steps: Tensor, position: Tensor, logprob: Tensor, rank: int, per_step: int) -> None:
    """Fix the best positions of each window. Steps count up over the windows, as those of a sampler do."""
    scores = torch.full((len(trace.ids),), -torch.inf, dtype=torch.float64)
    scores[position] = logprob
    windows = scores[trace.first :].view(-1, trace.width)
    best = windows.topk(min(per_step, trace.width), dim=-1)
    row, column = (best.values > -torch.inf).nonzero(as_tuple=True)
    place = trace.first + row * trace.width + best.indices[row, column]
    steps[place] = row * trace.width + rank
