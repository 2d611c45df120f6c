"""Sums and maxima over the ranks of a training job; without a process group there is one rank and they return their argument."""

import torch
import torch.distributed as dist


def rank() -> int:
    """This process's rank, from 0."""
    return dist.get_rank() if _running() else 0


def world_size() -> int:
    """The number of ranks."""
    return dist.get_world_size() if _running() else 1


def all_sum(value: float) -> float:
    """The sum of `value` over all ranks."""
    return _reduced(value, dist.ReduceOp.SUM)


def all_max(value: float) -> float:
    """The largest `value` of all ranks."""
    return _reduced(value, dist.ReduceOp.MAX)


def _running() -> bool:
    return dist.is_available() and dist.is_initialized()


def _reduced(value: float, operation: "dist.ReduceOp.RedOpType") -> float:
    if not _running():
        return value
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    total = torch.tensor(value, dtype=torch.float64, device=device)
    dist.all_reduce(total, operation)
    return float(total)
