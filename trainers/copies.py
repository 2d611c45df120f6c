"""A second network beside the policy's: a reference that stays, or the backbone of a value model.

A sharded network cannot be copied; its copy is loaded from the checkpoint that training started from and sharded like it.
"""

from copy import deepcopy
from typing import Any

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from ..harness.models.model import Model
from ..harness.models.network import load_network
from .sharding import averaged, shard


def copy_network(model: Model) -> Any:
    """The model's network once more, with the weights that it has before the first update."""
    weight = model.network.lm_head.weight
    if not any(isinstance(parameter, DTensor) for parameter in model.network.parameters()):
        return deepcopy(model.network)
    copy = load_network(model.checkpoint, torch.float32, weight.device.type)
    shard(copy, model.info.dtype)
    return copy.eval()


def replicated(module: nn.Module, like: Any) -> None:
    """Let a module that every rank holds whole learn the same everywhere, where the network `like` is sharded."""
    if any(isinstance(parameter, DTensor) for parameter in like.parameters()):
        for parameter in module.parameters():
            parameter.register_hook(averaged)  # type: ignore[no-untyped-call]
