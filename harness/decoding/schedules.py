"""How many tokens a step fixes, as small functions of the step. Which ones is for `rules` to say."""

from functools import cache

import torch
from torch import Tensor

from ..records import DecodeConfig


def even(block_size: int, steps: int) -> tuple[int, ...]:
    """block_size // steps tokens in each step, the remainder one each to the first steps (SDAR's and LLaDA's generate.py)."""
    base, rest = divmod(block_size, steps)
    return tuple(base + (step < rest) for step in range(steps))


@cache
def shares(steps: int, eps: float) -> Tensor:
    """The share 1 - t[i+1] / t[i] of the masks left that step i fixes on Dream's time grid from 1 to `eps`; all in the last.

    Float32 as in Dream's generation_utils.py: with as many steps as tokens, rounding makes the first step fix none.
    """
    grid = torch.linspace(1, eps, steps + 1)
    share = 1 - grid[1:] / grid[:-1]
    share[-1] = 1.0
    return share


def scheduled(decode: DecodeConfig, step: Tensor, left: Tensor) -> Tensor:
    """The number of tokens to fix, (rows,), where `step` (rows,) counts the block's steps and `left` (rows,) its masks.

    After the last step of an even schedule one token a step goes on; the linear one ends with all that is left.
    """
    size, steps = decode.block_size or 1, decode.steps_per_block or decode.block_size or 1
    index = step.clamp(max=steps - 1)
    if decode.schedule == "linear":
        return (left.float() * shares(steps, decode.schedule_eps)[index.cpu()].to(left.device)).long()
    return torch.tensor(even(size, steps), device=step.device)[index].clamp(min=1)
