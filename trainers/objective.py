"""The loss of one token and its weight in the update: pure functions of tensors.

    loss = sum over targets j of  w_j (policy_j + beta kl_j)
    policy_j = -min(rho_j A_j, clip(rho_j, 1 - low, 1 + high) A_j),  rho_j = exp(logprob_j - old_j)

The weights w_j say what is averaged over what. `paper` is TraceRL's equation 3 (arXiv 2509.06949): the mean over the tokens of a
step, summed over steps, and here averaged over responses. `code` is what its authors' code computes: for block-causal models
every token counts 1 / longest response, averaged over rows; for full attention the mean over the tokens of a row, averaged over
rows. `sequence-mean` is the mean over a response's tokens, then over responses (GRPO); `token-mean` the mean over all tokens
(DAPO). The KL term always has the policy term's weights; the authors' full-attention code sums it over a row instead.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

Weights = Literal["paper", "code", "sequence-mean", "token-mean"]
Estimator = Literal["k1", "k2", "k3"]

LOG_RATIO_LIMIT = 20.0
"""Log-ratios are cut to this before they are exponentiated: e^20 is far outside any clip range and still finite when squared."""


class Counts(NamedTuple):
    """What an update consists of, over all micro-batches and ranks: responses, rows and targets."""

    responses: float
    rows: float
    targets: float


class PolicyTerm(NamedTuple):
    """Per target: the loss, the ratio, and whether the clipped branch was the smaller one."""

    loss: Tensor
    ratio: Tensor
    clipped: Tensor


def token_weights(kind: Weights, sample: Tensor, step: Tensor, row: Tensor, counts: Counts, constant: float | None) -> Tensor:
    """The weight of every target, (m,), float64. `sample`, `step` and `row` (m,) number what it belongs to.

    `constant` is the length by which `code` divides for block-causal models; None for its full-attention form. The weights of
    several micro-batches or ranks add up to those of one big batch when all are given the same `counts`.
    """
    one = torch.ones(len(sample), dtype=torch.float64, device=sample.device)
    if kind == "paper":
        return one / size_of(step) / counts.responses
    if kind == "sequence-mean":
        return one / size_of(sample) / counts.responses
    if kind == "token-mean":
        return one / counts.targets
    return one / (size_of(row) if constant is None else constant) / counts.rows


def size_of(member: Tensor) -> Tensor:
    """For every entry, how many entries have its value, (m,) float64. Values are whole numbers from 0."""
    return torch.bincount(member)[member].double()


def policy_term(logprob: Tensor, old: Tensor, advantage: Tensor, low: float, high: float) -> PolicyTerm:
    """The clipped policy-gradient loss per target (PPO, arXiv 1707.06347), with a lower and an upper clip (DAPO)."""
    ratio = exp_ratio(logprob - old)
    free, bounded = ratio * advantage, ratio.clamp(1 - low, 1 + high) * advantage
    return PolicyTerm(-torch.minimum(free, bounded), ratio.detach(), (bounded < free).detach())


def kl_term(logprob: Tensor, target: Tensor, estimator: Estimator) -> Tensor:
    """Estimates of KL[policy || target] per token (Schulman, 2020, "Approximating KL divergence").

    k1 is unbiased, but its gradient as a loss is zero on average; k2 and k3 are never negative.
    """
    log_ratio = (logprob - target).clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)
    if estimator == "k1":
        return log_ratio
    if estimator == "k2":
        return 0.5 * log_ratio**2
    return torch.exp(-log_ratio) - 1 + log_ratio


def truncated_importance(old: Tensor, sampler: Tensor, cap: float) -> Tensor:
    """min(pi_trainer / pi_sampler, cap) per token, without gradient: corrects for samples drawn by another engine or precision.

    Source: Yao et al., 2025, "Your efficient RL framework secretly brings you off-policy RL training".
    """
    return exp_ratio((old - sampler).detach()).clamp(max=cap)


def exp_ratio(log_ratio: Tensor) -> Tensor:
    """exp of a log-ratio, kept finite."""
    return log_ratio.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT).exp()
