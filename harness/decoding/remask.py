"""Which candidates are kept in a denoising step, and which positions stay masked.

Pure step functions. In every rule only masked positions compete, and a count larger than the masks left fixes them all: a
position that is fixed, a prompt token among them, is never touched, except under `overshoot: overwrite`.
"""

import torch
from torch import Tensor

from ..records import DecodeConfig


def schedule(block_size: int, steps: int) -> tuple[int, ...]:
    """Tokens to fix in each step: block_size // steps, the remainder one each to the first steps (SDAR's `generate.py`)."""
    base, rest = divmod(block_size, steps)
    return tuple(base + (step < rest) for step in range(steps))


def select(confidence: Tensor, masked: Tensor, count: Tensor, decode: DecodeConfig) -> Tensor:
    """Return the positions to fix, (rows, B) bool.

    `confidence` (rows, B) float, `masked` (rows, B) bool, `count` (rows,) the scheduled number for this step.
    """
    if decode.remasking == "sequential":
        return leftmost(masked, count)
    rule = most_confident_anywhere if decode.overshoot == "overwrite" else most_confident
    best = rule(confidence, masked, count)
    if decode.remasking == "static":
        return best
    above = masked & (confidence > decode.threshold)
    enough = above.sum(dim=-1) >= count
    return torch.where(enough.unsqueeze(-1), above, best)


def most_confident(confidence: Tensor, masked: Tensor, count: Tensor) -> Tensor:
    """The `count` most confident masked positions of each row; of equal ones the leftmost."""
    keys = confidence.masked_fill(~masked, float("-inf"))
    rank = keys.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)
    return masked & (rank < count.unsqueeze(-1))


def most_confident_anywhere(confidence: Tensor, masked: Tensor, count: Tensor) -> Tensor:
    """SDAR's own top-k: with a count beyond the masks left it goes on among the fixed positions, in top-k's order of ties."""
    keys = confidence.masked_fill(~masked, float("-inf"))
    chosen = torch.zeros_like(masked)
    for row, n in enumerate(count.tolist()):
        chosen[row, keys[row].topk(n).indices] = True
    return chosen


def leftmost(masked: Tensor, count: Tensor) -> Tensor:
    """The first `count` masked positions of each row."""
    return masked & (masked.cumsum(dim=-1) <= count.unsqueeze(-1))
