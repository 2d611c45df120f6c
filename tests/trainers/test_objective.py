"""Losses, weights, advantages and returns, each against plain Python loops in double precision."""

import math
import random
from collections.abc import Iterable, Sequence

import pytest
import torch
from unmask.trainers.advantages import Baseline, group_advantages, with_overlength
from unmask.trainers.objective import Counts, Estimator, Weights, kl_term, policy_term, token_weights, truncated_importance
from unmask.trainers.optimizing import OptimizerOptions, lr_factor
from unmask.trainers.packing import plan
from unmask.trainers.process import rewards_to_go, standardised
from unmask.trainers.returns import last_step_rewards, step_gae
from unmask.trainers.value import value_loss


def numbers(count: int, seed: int, scale: float = 1.0) -> list[float]:
    rng = random.Random(seed)
    return [rng.gauss(0, scale) for _ in range(count)]


def joined(parts: Iterable[list[float]]) -> list[float]:
    return [value for part in parts for value in part]


def tensor(values: Sequence[float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(("low", "high"), [(0.2, 0.2), (0.2, 0.28), (0.0, 5.0)])
def test_the_policy_term_is_the_clipped_surrogate(low: float, high: float) -> None:
    new, old, advantages = numbers(200, 0, 0.4), numbers(200, 1, 0.4), numbers(200, 2)
    found = policy_term(tensor(new), tensor(old), tensor(advantages), low, high)
    for i, (n, o, a) in enumerate(zip(new, old, advantages, strict=True)):
        ratio = math.exp(n - o)
        bounded = min(max(ratio, 1 - low), 1 + high)
        assert float(found.loss[i]) == pytest.approx(-min(ratio * a, bounded * a), abs=1e-12)
        assert bool(found.clipped[i]) == (bounded * a < ratio * a)
    assert 0 < int(found.clipped.sum()) < 200


@pytest.mark.parametrize("kind", ["k1", "k2", "k3"])
def test_kl_estimates(kind: Estimator) -> None:
    new, target = numbers(50, 3, 0.5), numbers(50, 4, 0.5)
    found = kl_term(tensor(new), tensor(target), kind).tolist()
    for value, n, t in zip(found, new, target, strict=True):
        expected = {"k1": n - t, "k2": (n - t) ** 2 / 2, "k3": math.exp(t - n) - 1 - (t - n)}[kind]
        assert value == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("kind", ["k1", "k2", "k3"])
def test_kl_estimates_agree_on_average_for_near_policies(kind: Estimator) -> None:
    policy, target = torch.tensor([0.5, 0.3, 0.2]).double(), torch.tensor([0.48, 0.33, 0.19]).double()
    exact = float((policy * (policy / target).log()).sum())
    assert float((policy * kl_term(policy.log(), target.log(), kind)).sum()) == pytest.approx(exact, rel=0.05)


def test_importance_weights_are_truncated_and_carry_no_gradient() -> None:
    old = tensor([-1.0, -1.0, -1.0]).requires_grad_()
    weights = truncated_importance(old, tensor([-1.0, -3.0, -0.5]), 2.0)
    assert weights.tolist() == pytest.approx([1.0, 2.0, math.exp(-0.5)])
    assert not weights.requires_grad


def test_a_ratio_of_far_policies_stays_finite() -> None:
    logprob = tensor([0.0]).requires_grad_()
    policy_term(logprob, tensor([-1e4]), tensor([-1.0]), 0.2, 0.2).loss.sum().backward()  # type: ignore[no-untyped-call]
    assert logprob.grad is not None
    assert torch.isfinite(logprob.grad).all()


SAMPLE = [0, 0, 0, 0, 1, 1, 2, 2, 2]
STEP = [0, 0, 1, 2, 3, 3, 4, 5, 5]
ROW = [0, 0, 0, 1, 2, 2, 3, 3, 3]


@pytest.mark.parametrize(
    ("kind", "constant"), [("paper", None), ("code", 12.0), ("code", None), ("sequence-mean", None), ("token-mean", None)]
)
def test_weights_of_tokens(kind: Weights, constant: float | None) -> None:
    counts = Counts(responses=3, rows=4, targets=9)
    found = token_weights(kind, torch.tensor(SAMPLE), torch.tensor(STEP), torch.tensor(ROW), counts, constant).tolist()
    for j, (sample, step, row) in enumerate(zip(SAMPLE, STEP, ROW, strict=True)):
        expected = {
            "paper": 1 / STEP.count(step) / 3,
            "code": 1 / (constant or ROW.count(row)) / 4,
            "sequence-mean": 1 / SAMPLE.count(sample) / 3,
            "token-mean": 1 / 9,
        }[kind]
        assert found[j] == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("kind", ["zscore", "mean", "leave-one-out"])
def test_advantages_of_groups(kind: Baseline) -> None:
    rewards = [1.0, 0.0, 0.25, 1.0, 0.0, 0.0]
    groups = ["a", "b", "a", "a", "b", "a"]
    found = group_advantages(rewards, groups, kind)
    for i, (reward, group) in enumerate(zip(rewards, groups, strict=True)):
        members = [r for r, g in zip(rewards, groups, strict=True) if g == group]
        others = [r for j, r in enumerate(rewards) if groups[j] == group and j != i]
        mean = sum(members) / len(members)
        std = math.sqrt(sum((r - mean) ** 2 for r in members) / len(members))
        expected = {
            "zscore": (reward - mean) / std if std else 0.0,
            "mean": reward - mean,
            "leave-one-out": reward - sum(others) / len(others),
        }[kind]
        assert found[i] == pytest.approx(expected, abs=1e-12)


def test_a_group_of_equal_rewards_has_no_advantage_at_all() -> None:
    assert group_advantages([0.1, 0.1, 0.1], ["a"] * 3, "zscore") == [0.0] * 3
    assert group_advantages([0.7], ["a"], "leave-one-out") == [0.0]


def test_the_floor_of_the_deviation_keeps_noise_small() -> None:
    assert max(group_advantages([0.5, 0.5001], ["a"] * 2, "zscore", floor=0.1)) < 0.001


def test_overlong_responses_are_kept_masked_or_penalised() -> None:
    rewards, overlong = [1.0, 0.3, None, -1.0], [True, False, True, True]
    assert with_overlength(rewards, overlong, "keep") == rewards
    assert with_overlength(rewards, overlong, "mask") == [None, 0.3, None, None]
    assert with_overlength(rewards, overlong, "penalise", 0.0) == [0.0, 0.3, None, -1.0]


def naive_gae(
    rewards: list[float], values: list[float], steps: list[int], gamma: float, lam: float
) -> tuple[list[float], list[float]]:
    """One response, straight from the equations."""
    last = max(steps)

    def mean(numbers: list[float], t: int) -> float:
        inside = [x for x, s in zip(numbers, steps, strict=True) if s == t]
        return sum(inside) / len(inside) if inside else 0.0

    def step_return(t: int) -> float:
        return 0.0 if t > last else mean(rewards, t) + gamma * step_return(t + 1)

    def step_advantage(t: int) -> float:
        if t > last:
            return 0.0
        delta = mean(rewards, t) - mean(values, t) + gamma * mean(values, t + 1)
        return delta + gamma * lam * step_advantage(t + 1)

    returns = [r + gamma * step_return(t + 1) for r, t in zip(rewards, steps, strict=True)]
    advantages = [
        r - v + gamma * mean(values, t + 1) + gamma * lam * step_advantage(t + 1)
        for r, v, t in zip(rewards, values, steps, strict=True)
    ]
    return returns, advantages


LENGTHS = (1, 7, 12, 4)


def episodes() -> tuple[list[list[int]], list[list[float]], list[list[float]]]:
    """Steps (in any order within a response, none empty), rewards and values of four responses."""
    rng = random.Random(5)
    steps = []
    for length in LENGTHS:
        count = rng.randint(1, length)
        chosen = [*range(count), *(rng.randrange(count) for _ in range(length - count))]
        rng.shuffle(chosen)
        steps.append(chosen)
    return steps, [numbers(n, n) for n in LENGTHS], [numbers(n, n + 50) for n in LENGTHS]


def flat(steps: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Steps numbered over all responses, and whose they are."""
    offset, out, sample = 0, [], []
    for i, own in enumerate(steps):
        out += [offset + s for s in own]
        sample += [i] * len(own)
        offset += max(own) + 1
    return torch.tensor(out), torch.tensor(sample)


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 1.0), (1.0, 0.0), (0.99, 0.95), (0.5, 1.0), (0.0, 0.0)])
def test_returns_and_advantages_over_steps(gamma: float, lam: float) -> None:
    steps, rewards, values = episodes()
    step, sample = flat(steps)
    found = step_gae(tensor(joined(rewards)), tensor(joined(values)), step, sample, gamma, lam)
    expected = [naive_gae(r, v, s, gamma, lam) for r, v, s in zip(rewards, values, steps, strict=True)]
    assert found.returns.tolist() == pytest.approx(joined(e[0] for e in expected), abs=1e-10)
    assert found.advantages.tolist() == pytest.approx(joined(e[1] for e in expected), abs=1e-10)


def test_with_gamma_and_lambda_one_the_advantage_is_return_minus_value() -> None:
    steps, rewards, values = episodes()
    r, v = tensor(joined(rewards)), tensor(joined(values))
    found = step_gae(r, v, *flat(steps), 1.0, 1.0)
    torch.testing.assert_close(found.advantages, found.returns - v, rtol=0, atol=1e-12)


def test_with_gamma_one_and_lambda_zero_the_advantage_looks_one_step_ahead() -> None:
    steps, rewards, values = episodes()
    found = step_gae(tensor(joined(rewards)), tensor(joined(values)), *flat(steps), 1.0, 0.0).advantages.tolist()
    place = 0
    for own, r, v in zip(steps, rewards, values, strict=True):
        for j, t in enumerate(own):
            following = [v[k] for k, s in enumerate(own) if s == t + 1]
            ahead = sum(following) / len(following) if following else 0.0
            assert found[place + j] == pytest.approx(r[j] - v[j] + ahead, abs=1e-12)
        place += len(own)


def test_the_outcome_lies_on_the_tokens_of_the_last_step() -> None:
    step, sample = torch.tensor([1, 0, 1, 3, 2, 3]), torch.tensor([0, 0, 0, 1, 1, 1])
    assert last_step_rewards(tensor([2.0, -1.0]), step, sample).tolist() == [2.0, 0.0, 2.0, -1.0, 0.0, -1.0]


def test_process_rewards_are_standardised_in_their_group_and_summed_from_their_step_on() -> None:
    vectors = [tensor([0.0, 1.0, 0.0, -1.0]), tensor([3.0, 0.0, 0.0, 0.0]), tensor([0.0, 5.0, 0.0, 5.0])]
    scaled = standardised(vectors, ["a", "a", "b"], 1e-6)
    mean, std = 1.0, math.sqrt(8 / 3)
    assert scaled[0].tolist() == pytest.approx([0.0, 0.0, 0.0, -2 / std])
    assert scaled[1].tolist() == pytest.approx([(3 - mean) / std, 0.0, 0.0, 0.0])
    assert scaled[2].tolist() == [0.0] * 4
    to_go = rewards_to_go(tensor([0.0, 1.0, 0.0, -1.0]), torch.tensor([0, 1, 1, 2]), torch.zeros(4, dtype=torch.long), 0.5)
    assert to_go.tolist() == pytest.approx([0.5 * (0.5 + 0.5 * -1), 1 - 0.5, -0.5, -1.0])


def test_the_value_loss_takes_the_larger_error() -> None:
    new, old, returns = numbers(60, 7), numbers(60, 8), numbers(60, 9)
    found = value_loss(tensor(new), tensor(old), tensor(returns), 0.2).tolist()
    for value, n, o, r in zip(found, new, old, returns, strict=True):
        near = o + min(max(n - o, -0.2), 0.2)
        assert value == pytest.approx(0.5 * max((n - r) ** 2, (near - r) ** 2), abs=1e-12)


def test_the_learning_rate_warms_up_and_falls_along_a_cosine() -> None:
    options = OptimizerOptions(schedule="cosine", warmup=2, final_lr=0.1)
    found = [lr_factor(step, 12, options) for step in (0, 1, 2, 7, 12, 20)]
    assert found == pytest.approx([0.5, 1.0, 1.0, 0.55, 0.1, 0.1])
    assert lr_factor(9, 12, OptimizerOptions()) == 1.0


def test_sequences_of_similar_length_share_a_batch_within_the_budget() -> None:
    lengths = [5, 100, 6, 90, 40, 300, 7]
    groups = plan(lengths, 200)
    assert sorted(i for group in groups for i in group) == list(range(7))
    assert [[lengths[i] for i in group] for group in groups] == [[300], [100, 90], [40, 7, 6, 5]]
