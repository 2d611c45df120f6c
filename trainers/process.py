"""Process rewards: values for parts of a response, as advantages of the tokens that were fixed before them.

A vector has one value per response token, 0 where there is no reward. How it meets the outcome is declared: `ignore` it, `add`
both, or `only` it. With a value model the raw vector is part of the token rewards; without one, the values of a group are
standardised and each token gets the sum from its own step on (DeepSeekMath, arXiv 2402.03300, section 4.1.3, with steps of the
sampler as time). Not covered: how spans of characters become tokens.
"""

from collections.abc import Hashable, Sequence
from typing import Literal

import torch
from torch import Tensor

from .returns import step_gae

Combination = Literal["ignore", "add", "only"]


def standardised(vectors: Sequence[Tensor], groups: Sequence[Hashable], floor: float) -> list[Tensor]:
    """Each group's values other than 0, z-scored over all of them; zeros stay."""
    found: dict[Hashable, list[Tensor]] = {}
    for vector, group in zip(vectors, groups, strict=True):
        found.setdefault(group, []).append(vector[vector != 0].double())
    stats = {group: _mean_and_std(torch.cat(values)) for group, values in found.items()}
    return [_scaled(vector.double(), *stats[group], floor) for vector, group in zip(vectors, groups, strict=True)]


def rewards_to_go(rewards: Tensor, step: Tensor, sample: Tensor, gamma: float) -> Tensor:
    """For each token the discounted rewards of its own and all later steps, (m,)."""
    return step_gae(rewards, torch.zeros_like(rewards), step, sample, gamma, 1.0).returns


def _mean_and_std(values: Tensor) -> tuple[float, float]:
    if len(values) == 0:
        return 0.0, 0.0
    return float(values.mean()), float(values.std(unbiased=False))


def _scaled(vector: Tensor, mean: float, std: float, floor: float) -> Tensor:
    return torch.where(vector != 0, (vector - mean) / max(std, floor), 0.0)
