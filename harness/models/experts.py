"""Experts whose result for a token does not depend on which other tokens chose the same expert.

A mixture-of-experts layer sorts the tokens of a pass by expert, so that the number of rows of each product depends on the whole
batch. Where a floor is known from which that number no longer matters (`floor`), each expert's rows are padded to it. A token's
experts are summed in the order of their numbers. Registered with transformers' own interface for experts.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

_NAME = "unmask_padded"
_LOCK = threading.RLock()
"""The setting lies on the network's config, which threads share: one pass at a time."""


def has_experts(network: Any) -> bool:
    """Whether the network has layers of experts of transformers' own kind."""
    return any(_is_experts(module) for module in network.modules())


def _is_experts(module: Any) -> bool:
    return hasattr(module, "gate_up_proj") and hasattr(module, "_apply_gate") and module.gate_up_proj.ndim == 3


@contextmanager
def stable_experts(network: Any, floor: int) -> Iterator[None]:
    """Run the experts of `network` padded to `floor` rows. A floor of 1 leaves them alone."""
    if floor <= 1:
        yield
        return
    from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

    ALL_EXPERTS_FUNCTIONS.register(_NAME, padded_experts)
    config = network.config
    with _LOCK:
        own = config._experts_implementation
        config._experts_implementation, config.expert_row_floor = _NAME, floor
        try:
            yield
        finally:
            config._experts_implementation = own
            del config.expert_row_floor


def padded_experts(module: Any, hidden: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
    """The weighted sum of each token's experts: `hidden` (T, H), `chosen` and `weights` (T, k); returns (T, H)."""
    out = torch.zeros_like(hidden)
    for expert in sorted(set(chosen.flatten().tolist())):
        token, place = torch.where(chosen == expert)
        rows = hidden[token]
        rows = torch.cat([rows, rows.new_zeros(max(module.config.expert_row_floor - len(rows), 0), rows.shape[1])])
        inner = module._apply_gate(torch.nn.functional.linear(rows, module.gate_up_proj[expert]))
        result = torch.nn.functional.linear(inner, module.down_proj[expert])[: len(token)]
        out.index_add_(0, token, (result * weights[token, place, None]).to(out.dtype))
    return out
