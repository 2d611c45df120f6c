"""Checkpoints of a policy that may be sharded or have adapters: plain directories that `load_model` and `unmask eval` read.

Writing itself is `harness.models.saving`; here sharded weights are put together and adapters merged on the way.
"""

import json
from pathlib import Path
from typing import Any

import torch

from ..harness.models.model import Model
from ..harness.models.saving import save_model
from .lora import has_adapters, plain_weights
from .parallel import rank
from .sharding import whole


@torch.no_grad()
def save_policy(model: Model, path: Path) -> None:
    """Write the policy to `path` in the dtype of its rollouts. All ranks have to call it; rank 0 writes."""
    weights = {}
    dtype = getattr(torch, model.info.dtype)
    for name, weight in plain_weights(model.network):
        full = whole(weight)
        if rank() == 0:
            weights[name] = full.to("cpu", dtype if full.is_floating_point() else None)
    if rank() == 0:
        save_model(_without_adapters(model), path, weights)


def _without_adapters(model: Model) -> Model:
    """A model of the same shape that holds no weights and no adapters, where the network has some."""
    if not has_adapters(model.network):
        return model
    with torch.device("meta"):
        empty = type(model.network)(model.network.config)
    return Model(model.checkpoint, empty, model.info)


def set_block_size(path: Path, block_size: int) -> None:
    """Say in a checkpoint's config which block size it was trained with."""
    file = path / "config.json"
    config: dict[str, Any] = json.loads(file.read_text("utf-8"))
    file.write_text(json.dumps(config | {"block_size": block_size}, indent=1) + "\n", "utf-8")
