"""The model that is being trained: what the trainer changes, what rollouts are drawn from, and its checkpoints.

In one process both are the same network. Under torchrun the trained weights are float32 and sharded, and rollouts come from a
whole copy on every rank in the rollouts' dtype, which `sync` brings up to date after every update.
"""

import dataclasses
import hashlib
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ..harness.models.model import Model, load_model
from ..harness.records import ModelInfo
from .config import TrainConfig
from .lora import add_adapters
from .sharding import shard, whole

SAMPLED = 4096
"""Numbers of each weight that the fingerprint reads."""


class Learner:
    """`model` is for the trainer, `sampler` for rollouts and evaluation."""

    def __init__(self, config: TrainConfig) -> None:
        self.sampler = _load(config, config.dtype)
        self.is_sharded = dist.is_initialized()
        self.model = _load(config, "float32") if self.is_sharded else self.sampler
        self._first = self.sampler.info
        if self.is_sharded:
            self.sampler.network.requires_grad_(requires_grad=False)
            shard(self.model.network, self._first.dtype)
        self.sync(0)

    def trainable(self) -> dict[str, Tensor]:
        """The weights that training changes, by name."""
        return {name: weight for name, weight in self.model.network.named_parameters() if weight.requires_grad}

    @torch.no_grad()
    def sync(self, step: int) -> None:
        """Let rollouts come from the weights after `step` updates, and say so in their records."""
        if self.is_sharded:
            copies = dict(self.sampler.network.named_parameters())
            for name, weight in self.trainable().items():
                copies[name].copy_(whole(weight))
        self.model.network.eval()
        self.model.info = self.sampler.info = self._info(step)

    def _info(self, step: int) -> ModelInfo:
        if step == 0:
            return self._first
        return dataclasses.replace(self._first, revision=f"step-{step}", fingerprint=fingerprint_of(self.sampler.network))


def _load(config: TrainConfig, dtype: str) -> Model:
    model = load_model(config.model, dtype=dtype, device=config.device, **config.model_options())
    if config.lora is not None:
        torch.manual_seed(config.seed)  # the same adapters on every rank and in every session
        add_adapters(model.network, config.lora)
    return model


def fingerprint_of(network: Any) -> str:
    """A short hash of weights in memory: of each, its name, shape, and up to `SAMPLED` numbers at even distances."""
    digest = hashlib.sha256()
    for name, weight in network.named_parameters():
        flat = weight.detach().reshape(-1)
        some = flat[:: max(1, -(-len(flat) // SAMPLED))].float().cpu()
        digest.update(f"{name}:{tuple(weight.shape)}\n".encode())
        digest.update(some.numpy().tobytes())
    return digest.hexdigest()[:16]
