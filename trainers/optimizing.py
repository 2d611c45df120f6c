"""The optimizer of a trainer: AdamW on the trainable parameters, gradient clipping, the schedule of the learning rate.

Weights narrower than float32 are updated through a float32 copy: steps of 1e-6 would be lost to rounding in bfloat16. An update
whose gradient is not finite changes nothing and raises. State is restored exactly.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from .parallel import all_max
from .sharding import whole


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerOptions:
    """AdamW's settings and the learning rate over the updates: `warmup` linear ones, then constant or a half cosine.

    `final_lr` is the fraction of `lr` at which the cosine ends. `clip_norm` bounds the norm of the whole gradient.
    """

    lr: float = 1e-6
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    schedule: Literal["constant", "cosine"] = "constant"
    warmup: int = 0
    final_lr: float = 0.0


def lr_factor(step: int, total: int, options: OptimizerOptions) -> float:
    """The learning rate of update `step` (from 0) of `total`, as a fraction of the highest."""
    if step < options.warmup:
        return (step + 1) / options.warmup
    if options.schedule == "constant":
        return 1.0
    done = min(1.0, (step - options.warmup) / max(1, total - options.warmup))
    return options.final_lr + (1 - options.final_lr) * 0.5 * (1 + math.cos(math.pi * done))


class Optimizer:
    """Updates the parameters that require a gradient; the others are left alone (LoRA)."""

    def __init__(self, parameters: Iterable[nn.Parameter], options: OptimizerOptions) -> None:
        self.options = options
        self.parameters = [parameter for parameter in parameters if parameter.requires_grad]
        self._masters = [_master(parameter) for parameter in self.parameters]
        self._adamw = torch.optim.AdamW(
            [{"params": group} for group in _by_kind(self._masters)],
            lr=options.lr,
            betas=(options.beta1, options.beta2),
            eps=options.eps,
            weight_decay=options.weight_decay,
        )

    def clear(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def norm(self) -> float:
        """The norm of the whole gradient, over all ranks when it is sharded."""
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        return math.hypot(*(float(whole(nn.utils.get_total_norm(group))) for group in _by_kind(gradients)))

    def step(self, norm: float, factor: float) -> None:
        """Clip the gradient, whose norm is `norm`, and update with `factor` times the learning rate."""
        scale = min(1.0, self.options.clip_norm / (norm + 1e-6))
        for group in self._adamw.param_groups:
            group["lr"] = self.options.lr * factor
        for parameter, master in zip(self.parameters, self._masters, strict=True):
            if parameter.grad is not None:
                parameter.grad.mul_(scale)
                master.grad = parameter.grad if master is parameter else parameter.grad.to(master.dtype)
        self._adamw.step()
        self._copy_back()
        self.clear()

    def _copy_back(self) -> None:
        with torch.no_grad():
            for parameter, master in zip(self.parameters, self._masters, strict=True):
                if master is not parameter:
                    parameter.copy_(master)
                    master.grad = None

    def state_dict(self) -> dict[str, Any]:
        """Moments, and the float32 copies of narrower weights."""
        masters = {i: m.detach() for i, (p, m) in enumerate(zip(self.parameters, self._masters, strict=True)) if m is not p}
        return {"adamw": self._adamw.state_dict(), "masters": masters}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._adamw.load_state_dict(state["adamw"])
        with torch.no_grad():
            for index, master in state["masters"].items():
                self._masters[int(index)].copy_(master)

    def backup(self) -> list[Tensor]:
        """A copy of this rank's weights and state, in host memory."""
        return [_local(tensor).to("cpu", copy=True) for tensor in self._tensors()]

    @torch.no_grad()
    def restore(self, backup: Sequence[Tensor]) -> None:
        """Undo all that happened since `backup`."""
        if len(backup) < len(self._tensors()):
            self._adamw.state.clear()  # the copy is from before the first update
        for tensor, kept in zip(self._tensors(), backup, strict=True):
            _local(tensor).copy_(kept)

    def _tensors(self) -> list[Tensor]:
        """Weights, float32 copies and moments."""
        masters = [m for p, m in zip(self.parameters, self._masters, strict=True) if m is not p]
        moments = [value for master in self._masters for value in self._adamw.state.get(master, {}).values()]
        return [tensor.detach() for tensor in (*self.parameters, *masters, *moments)]


def require_finite(name: str, value: float) -> None:
    """Raise FloatingPointError on every rank when `value` is not finite on any."""
    if all_max(0.0 if math.isfinite(value) else 1.0):
        raise FloatingPointError(f"the {name} is not finite ({value}); the update was dropped")


def _master(parameter: nn.Parameter) -> Tensor:
    narrow = torch.finfo(parameter.dtype).bits < 32
    return parameter.detach().float().requires_grad_() if narrow else parameter


def _local(tensor: Tensor) -> Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _by_kind(tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    """Sharded tensors and others apart: one operation cannot take both."""
    kinds = [[t for t in tensors if isinstance(t, DTensor) == sharded] for sharded in (True, False)]
    return [group for group in kinds if group]
