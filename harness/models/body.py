"""A network without its loop: one pass over given tokens, and the output layer over chosen hidden states.

Both denoisers stand on it. On a CPU in float32 what it gives for a token does not depend on the other tokens of the pass, as long
as a pass has at least `floor` of them: see `floor` and `experts`.
"""

from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from .experts import has_experts, stable_experts
from .floor import row_floor


class Body:
    """The network of a denoiser. `floor` is the least number of tokens in a pass."""

    def __init__(self, network: Any) -> None:
        self.network = network
        self.floor = row_floor(network)
        self._expert_floor = self.floor if has_experts(network) else 1

    @cached_property
    def device(self) -> torch.device:
        device: torch.device = next(self.network.parameters()).device
        return device

    def forward(self, tokens: Tensor, positions: Tensor, mask: Tensor, **options: Any) -> Tensor:
        """Hidden states (n, Q, H) of `tokens` (n, Q) at `positions` (n, Q) under a boolean mask."""
        with stable_experts(self.network, self._expert_floor):
            out = self.network.model(input_ids=tokens, position_ids=positions, attention_mask=mask, **options)
        hidden: Tensor = out.last_hidden_state
        return hidden

    @torch.inference_mode()
    def logits(self, hidden: Tensor) -> Tensor:
        """Logits (..., V) float32 of hidden states (..., H)."""
        vocabulary = self.network.lm_head.weight.shape[0]
        if hidden.numel() == 0:
            return hidden.new_zeros(*hidden.shape[:-1], vocabulary, dtype=torch.float32)
        flat = hidden.reshape(-1, hidden.shape[-1])
        missing = max(self.floor - len(flat), 0)
        logits = self.network.lm_head(torch.cat([flat, flat.new_zeros(missing, flat.shape[-1])]))[: len(flat)]
        out: Tensor = logits.reshape(*hidden.shape[:-1], vocabulary).float()
        return out
