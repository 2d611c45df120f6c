"""From how many rows on a matrix product gives each row the same result bit for bit, whatever the other rows are."""

from typing import Any

import torch
from torch import Tensor


def row_floor(network: Any) -> int:
    """The number of tokens from which a row of every matrix of the model comes out the same in any batch.

    Measured on the shapes of this model (linear layers, experts, routers) on this machine. Where no such number up to 256 is
    found, or the model is not in float32 on a CPU, returns 1: results then agree to rounding only.
    """
    weight = network.lm_head.weight
    if weight.device.type != "cpu" or weight.dtype != torch.float32:
        return 1
    matrices = [p for name, p in network.named_parameters() if p.ndim in (2, 3) and "embed" not in name]
    return max(_floor_of(*shape[-2:]) for shape in {tuple(p.shape) for p in (weight, *matrices)})


_FLOORS: dict[tuple[int, int, int], int] = {}
_PROBE = 512


@torch.inference_mode()
def _floor_of(outputs: int, inputs: int) -> int:
    key = (outputs, inputs, torch.get_num_threads())
    if key not in _FLOORS:
        generator = torch.Generator().manual_seed(0)
        weight = torch.randn(min(outputs, 4096), inputs, generator=generator)
        rows = torch.randn(_PROBE, inputs, generator=generator)
        expected = torch.nn.functional.linear(rows, weight)
        _FLOORS[key] = next((size for size in (16, 32, 64, 128, 256) if _stable_from(size, rows, weight, expected)), 1)
    return _FLOORS[key]


def _stable_from(size: int, rows: Tensor, weight: Tensor, expected: Tensor) -> bool:
    sizes = [n for n in (size, size + 4, size + 12, 2 * size, 3 * size + 8) if n <= _PROBE]
    return all(torch.equal(torch.nn.functional.linear(rows[-n:], weight), expected[-n:]) for n in sizes)
