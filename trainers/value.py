"""The value model: what a response is worth, seen from the context in which a token was fixed.

A bias-free linear head, zero at first, on the last hidden state at the output that predicts the token; below it either a copy of
the policy's backbone (as in TraceRL's code) or the policy's own. Works for every attention: the contexts are the policy's views.
"""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..harness.models.model import Model
from .copies import copy_network, replicated
from .optimizing import Optimizer, OptimizerOptions
from .packing import Batch
from .scoring import hidden_states
from .traces import Layout

ValueKind = Literal["none", "separate", "shared"]


class ValueModel:
    """Values of targets, and the optimizer of whatever the value loss alone changes: all of a copy, or just the head."""

    def __init__(self, model: Model, options: OptimizerOptions, *, shared: bool) -> None:
        self.shared = shared
        network = model.network
        self.backbone = network.model if shared else copy_network(model).model
        like = network.lm_head.weight
        self.head = nn.Linear(network.config.hidden_size, 1, bias=False, device=like.device, dtype=_wide(like.dtype))
        nn.init.zeros_(self.head.weight)
        replicated(self.head, network)
        parameters = [*self.head.parameters(), *([] if shared else self.backbone.parameters())]
        self.optimizer = Optimizer(parameters, options)

    def values(self, batch: Batch, layout: Layout, attention: str) -> Tensor:
        """The value at each target, (m,)."""
        return self.on(hidden_states(self.backbone, batch, layout, attention))

    def on(self, hidden: Tensor) -> Tensor:
        """Values from hidden states (m, H) of the backbone."""
        out: Tensor = self.head(hidden.to(self.head.weight.dtype)).squeeze(-1)
        return out

    def state_dict(self) -> dict[str, Any]:
        """Head, optimizer and, where it is a copy, the backbone."""
        state = {"head": self.head.state_dict(), "optimizer": self.optimizer.state_dict()}
        return state if self.shared else state | {"backbone": self.backbone.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.head.load_state_dict(state["head"])
        if not self.shared:
            self.backbone.load_state_dict(state["backbone"])
        self.optimizer.load_state_dict(state["optimizer"])


def value_loss(value: Tensor, old: Tensor, returns: Tensor, clip: float) -> Tensor:
    """Half the larger squared error of the value and of the value kept within `clip` of the old one, per target."""
    near = old + (value - old).clamp(-clip, clip)
    return 0.5 * torch.maximum((value - returns) ** 2, (near - returns) ** 2)


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)
