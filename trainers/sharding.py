"""FSDP2: the trained weights spread over the ranks of a `torchrun` job, layer by layer.

Gradients are averaged over the ranks: a trainer that divides its loss by a count of the whole update (`all_sum`) multiplies it
by `world_size()`, and the update is the same whatever the number of ranks. A trainer calls `network.model` and
`network.lm_head`, or the network as a whole. Not covered: tensor and expert parallelism. Source: PyTorch's `fully_shard`.
"""

import os
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor

from ..rewards.errors import InputError

PATIENCE = timedelta(hours=2)
"""How long a rank waits for another one: as long as the longest rollout may take. A rank that dies is noticed by torchrun."""


def launched() -> bool:
    """Whether this process is one rank of a torchrun (or srun) job."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def is_first() -> bool:
    """Whether this process is the one that speaks to people, also before and after the ranks are joined."""
    return os.environ.get("RANK", "0") == "0" or not launched()


def start_ranks(device: str) -> None:
    """Join the job's process group; in a process that was started alone, do nothing."""
    if not launched() or dist.is_initialized():
        return
    accelerated = device != "cpu" and torch.cuda.is_available()
    if accelerated:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("nccl" if accelerated else "gloo", timeout=PATIENCE)


def end_ranks() -> None:
    """Leave the process group, if there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()


def barrier() -> None:
    """Wait for all ranks."""
    if dist.is_initialized():
        dist.barrier()


def shard(network: Any, compute: str) -> None:
    """Spread the weights of a transformers network over all ranks, in place; `compute` is the dtype of its forward pass.

    Raises InputError where this torch cannot.
    """
    from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

    if not hasattr(FSDPModule, "set_force_sum_reduction_for_comms"):
        raise InputError(f"training under torchrun needs a newer torch than {torch.__version__}")
    policy = MixedPrecisionPolicy(param_dtype=getattr(torch, compute), reduce_dtype=torch.float32)
    head = network.lm_head
    mesh = init_device_mesh(head.weight.device.type, (dist.get_world_size(),))
    tied = head.weight is network.get_input_embeddings().weight
    for unit in [*network.model.layers, network.model, *([] if tied else [head])]:
        fully_shard(unit, mesh=mesh, mp_policy=policy, ignored_params={head.weight} if tied else set())
        unit.set_force_sum_reduction_for_comms(True)  # gloo has no mean
    if tied:
        _replicate(head)


def _replicate(head: Any) -> None:
    """An embedding that is the head as well belongs to two units: every rank keeps it whole, and averages its gradient here."""
    if head.weight.requires_grad:
        head.weight.register_hook(averaged)
    head.register_forward_pre_hook(lambda module, inputs: (inputs[0].to(module.weight.dtype),))


def averaged(gradient: Tensor) -> Tensor:
    """The mean of a gradient over the ranks: a hook for weights that every rank holds whole."""
    mean = gradient / dist.get_world_size()
    dist.all_reduce(mean)
    return mean


def whole(weight: Tensor) -> Tensor:
    """A sharded weight with all its parts; all ranks have to ask at the same time. Others are returned as they are."""
    return weight.full_tensor() if isinstance(weight, DTensor) else weight
