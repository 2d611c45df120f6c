"""Recomputes the log-probability of recorded tokens, each in the context in which it was fixed.

What a trainer's objective rests on, as a check of its own: the result equals `Rollout.logprobs` up to rounding, unless the
rollout was made by an approximation (a cache that is not exact, another engine or precision).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..harness.models.model import Model
from ..harness.records import Rollout
from .packing import collate, pack, plan
from .scoring import hidden_states, pieces_for, score
from .traces import layout_of, trace_of
from .views import trace_views


@torch.no_grad()
def recomputed(model: Model, rollouts: Sequence[Rollout], micro_tokens: int = 16384) -> list[list[float]]:
    """The log-probability of every token of each rollout, as the model gives it now; 0 for tokens that were never fixed."""
    layout = layout_of(model)
    traces = [trace_of(rollout, layout, tail=len(rollout.token_ids)) for rollout in rollouts]
    sequences, table = pack(traces, [trace_views(trace) for trace in traces], layout)
    out = [torch.zeros(len(trace.ids), dtype=torch.float64) for trace in traces]
    device = model.network.lm_head.weight.device
    for group in plan([len(sequence) for sequence in sequences], micro_tokens):
        batch = collate([sequences[i] for i in group], max(trace.width for trace in traces), device)
        hidden = hidden_states(model.network.model, batch, layout)
        slots = batch.slots.cpu()
        pieces = pieces_for(len(slots), model.network.lm_head.weight.shape[0])
        logprob = score(model.network.lm_head, hidden, table.label[slots].to(device), pieces).logprob.double().cpu()
        for sample in sorted(set(table.sample[slots].tolist())):
            mine = table.sample[slots] == sample
            out[sample][table.position[slots[mine]]] = logprob[mine]
    return [
        _response(values, len(rollout.prompt_ids), len(rollout.token_ids)) for values, rollout in zip(out, rollouts, strict=True)
    ]


def _response(values: Tensor, prompt: int, count: int) -> list[float]:
    found: list[float] = values[prompt : prompt + count].tolist()
    return found
