"""Advantages of responses from the rewards of their group, and what is done with responses that hit the length limit.

A group holds all responses to one problem. Pure functions on lists; token-wise advantages from a value model are in `returns`.
"""

from collections.abc import Hashable, Sequence
from statistics import fmean, pstdev
from typing import Literal

Baseline = Literal["zscore", "mean", "leave-one-out"]
Overlength = Literal["keep", "mask", "penalise"]


def group_advantages(rewards: Sequence[float], groups: Sequence[Hashable], kind: Baseline, floor: float = 1e-6) -> list[float]:
    """The advantage of each response within its group.

    `zscore`: (r - mean) / max(std, floor), population std (GRPO; TraceRL). `mean`: r - mean (Dr. GRPO, arXiv 2503.20783).
    `leave-one-out`: r - mean of the others (RLOO, arXiv 2402.14740). A group of equal rewards gives exact zeros.
    """
    members: dict[Hashable, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    out = [0.0] * len(rewards)
    for indices in members.values():
        for index, value in zip(indices, _one_group([rewards[i] for i in indices], kind, floor), strict=True):
            out[index] = value
    return out


def _one_group(rewards: list[float], kind: Baseline, floor: float) -> list[float]:
    if min(rewards) == max(rewards):
        return [0.0] * len(rewards)
    mean = fmean(rewards)
    if kind == "leave-one-out":
        others = len(rewards) - 1
        return [reward - (mean * len(rewards) - reward) / others for reward in rewards]
    scale = max(pstdev(rewards), floor) if kind == "zscore" else 1.0
    return [(reward - mean) / scale for reward in rewards]


def with_overlength(
    rewards: Sequence[float | None], overlong: Sequence[bool], rule: Overlength, penalised: float = 0.0
) -> list[float | None]:
    """Rewards after the rule for responses that hit the length limit; None is a response that takes no part.

    `keep` changes nothing; `mask` leaves such a response out of the loss and of its group's statistics (DAPO, arXiv
    2503.14476); `penalise` gives it at most the reward `penalised`, as the reference implementation does.
    """
    out: list[float | None] = []
    for reward, long in zip(rewards, overlong, strict=True):
        if reward is None or not long or rule == "keep":
            out.append(reward)
        else:
            out.append(None if rule == "mask" else min(reward, penalised))
    return out
