"""Returns and advantages over the steps of a trajectory: generalised advantage estimation in which a step, not a token, is the
unit of time (TraceRL, arXiv 2509.06949, section 4.2 and appendix A).

With r*_t and V*_t the means over the tokens of step t, and both zero behind the last step:

    R*_t = r*_t + g R*_{t+1}          A*_t = r*_t - V*_t + g V*_{t+1} + g l A*_{t+1}
    R_j  = r_j  + g R*_{t+1}          A_j  = r_j  - V_j  + g V*_{t+1} + g l A*_{t+1}     for a token j of step t

Two identities follow: A_j = R_j - V_j for (g, l) = (1, 1), and A_j = r_j - V_j + V*_{t+1} for (1, 0). Everything in float64 and
for all responses at once; the loop runs over steps only.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Estimate(NamedTuple):
    """Per token, (m,): `returns` and `advantages`."""

    returns: Tensor
    advantages: Tensor


def step_gae(rewards: Tensor, values: Tensor, step: Tensor, sample: Tensor, gamma: float, lam: float) -> Estimate:
    """Returns and advantages of m tokens.

    `rewards` and `values` (m,); `step` (m,) numbers the steps of all responses without gaps, in time order within each
    response; `sample` (m,) says which response a token belongs to, in the order of the steps.
    """
    if len(step) == 0:
        return Estimate(rewards.double(), values.double())
    table = _Table(step, sample)
    reward, value = table.means(rewards.double()), table.means(values.double())
    later_return, later_value, later_advantage = (torch.zeros_like(reward) for _ in range(3))
    returns, advantages = (torch.zeros(len(reward), dtype=torch.float64) for _ in range(2))
    next_value = torch.zeros(len(reward), dtype=torch.float64)
    for t in range(reward.shape[1] - 1, -1, -1):
        later_return[:, t], later_value[:, t], later_advantage[:, t] = returns, next_value, advantages
        advantages = reward[:, t] - value[:, t] + gamma * next_value + gamma * lam * advantages
        returns, next_value = reward[:, t] + gamma * returns, value[:, t]
    behind = gamma * table.spread(later_value) + gamma * lam * table.spread(later_advantage)
    return Estimate(rewards + gamma * table.spread(later_return), rewards - values + behind)


def last_step_rewards(outcome: Tensor, step: Tensor, sample: Tensor) -> Tensor:
    """The outcome of each response (s,) on the tokens of its last step, zero elsewhere: (m,)."""
    last = torch.full((len(outcome),), -1).scatter_reduce(0, sample, step, "amax")
    return torch.where(step == last[sample], outcome[sample], 0.0)


class _Table:
    """Steps laid out as (responses, steps), so that all responses go back in time together."""

    def __init__(self, step: Tensor, sample: Tensor) -> None:
        count = int(step.max()) + 1
        self._step, self._size = step, torch.bincount(step, minlength=count).double()
        owner = torch.zeros(count, dtype=torch.long).scatter(0, step, sample)
        lengths = torch.bincount(owner)
        self._row = owner
        self._column = torch.arange(count) - (lengths.cumsum(0) - lengths)[owner]
        self._shape = (len(lengths), int(lengths.max()))

    def means(self, tokens: Tensor) -> Tensor:
        """The mean over the tokens of each step; zero behind a response's last step."""
        total = torch.zeros(len(self._size), dtype=torch.float64).index_add(0, self._step, tokens)
        out = torch.zeros(self._shape, dtype=torch.float64)
        out[self._row, self._column] = total / self._size
        return out

    def spread(self, steps: Tensor) -> Tensor:
        """The entry of each token's step."""
        return steps[self._row, self._column][self._step]
