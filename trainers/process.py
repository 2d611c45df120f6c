"""Process rewards: values for parts of a response, as advantages of the tokens that were fixed before them.

A verdict's reward is the whole of it, its step rewards the parts whose place is known. Trainers `ignore` the places, `add` the
parts to what is left of the reward as an outcome, or take `only` the parts. A part's value goes to those tokens of its span that
were fixed last, as in TraceRL's code. With a value model it is part of the token rewards; without one, the values of a group are
standardised and each token gets the sum from its own step on (DeepSeekMath, arXiv 2402.03300, section 4.1.3, with the sampler's
steps as time).
"""

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from ..harness.process.placement import decoder_of, token_rewards
from ..harness.records import Sample
from ..rewards.errors import InputError
from ..rewards.steps import total
from .returns import step_gae

Combination = Literal["ignore", "add", "only"]


def step_rewards_on_tokens(sample: Sample, tokenizer: Any) -> list[float] | None:
    """The verdict's step rewards, one number per response token; None where it has none.

    Raises InputError for a rollout whose text the tokenizer does not give.
    """
    steps = sample.verdict.step_rewards
    if not steps:
        return None
    verdict = replace(sample.verdict, reward=total(steps))
    try:
        return token_rewards(sample.rollout, verdict, decoder_of(tokenizer), "last_fixed", "repeat")
    except ValueError as error:
        raise InputError(f"{sample.problem_id}, sample {sample.rollout.sample}: {error}") from None


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
