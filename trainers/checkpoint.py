"""Checkpoints of a policy: plain directories that transformers, `load_model` and `unmask eval` read.

Adapters are merged and sharded weights put together on the way; what is not a weight is copied from where training started.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..harness.models.model import Model
from .lora import plain_weights
from .parallel import rank
from .sharding import whole

SETTINGS = (
    *("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
    *("chat_template.jinja", "vocab.json", "merges.txt", "added_tokens.json", "LICENSE", "LICENSE.md"),
)


@torch.no_grad()
def save_policy(model: Model, path: Path) -> None:
    """Write the policy in the dtype of its rollouts. All ranks have to call it; rank 0 writes."""
    from safetensors.torch import save_file

    weights = {}
    dtype = getattr(torch, model.info.dtype)
    for name, weight in plain_weights(model.network):
        full = whole(weight)
        if rank() == 0:
            weights[name] = full.to("cpu", dtype if full.is_floating_point() else None).contiguous().clone()
    if rank() == 0:
        path.mkdir(parents=True, exist_ok=True)
        save_file(_without_twins(model.network, weights), path / "model.safetensors", metadata={"format": "pt"})
        copy_settings(model.checkpoint.path, path)


def copy_settings(source: Path, target: Path) -> None:
    """Copy config and tokenizer files."""
    for name in SETTINGS:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)


def set_block_size(path: Path, block_size: int) -> None:
    """Say in a checkpoint's config which block size it was trained with."""
    file = path / "config.json"
    config: dict[str, Any] = json.loads(file.read_text("utf-8"))
    file.write_text(json.dumps(config | {"block_size": block_size}, indent=1) + "\n", "utf-8")


def _without_twins(network: Any, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """A head that is the embedding is stored once."""
    if getattr(network.config, "tie_word_embeddings", False):
        weights.pop("lm_head.weight", None)
    return weights
