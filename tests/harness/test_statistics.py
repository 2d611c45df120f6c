"""Statistics against numbers worked out another way."""

import itertools
import math
import statistics

import numpy as np
import pytest
import scipy.stats
import statsmodels.api as sm
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint
from unmask.harness.statistics import (
    Estimate,
    estimate,
    estimate_difference,
    estimate_means,
    estimate_parts,
    maj_at_k,
    pass_at_k,
    sign_test,
    t_quantile,
    wilson,
)


def test_the_standard_error_is_that_of_the_problem_means() -> None:
    rewards = {"a": [1.0, 0.0], "b": [1.0, 1.0], "c": [0.0, 0.0], "d": [0.0, 1.0]}
    found = estimate(rewards, {})
    assert found is not None
    means = [0.5, 1.0, 0.0, 0.5]
    assert found.mean == pytest.approx(0.5)
    assert found.se == pytest.approx(statistics.stdev(means) / math.sqrt(4))
    assert found.interval == "t"


def test_more_samples_of_the_same_problems_do_not_shrink_the_error() -> None:
    few = {"a": [1.0], "b": [0.0], "c": [1.0]}
    many = {name: values * 50 for name, values in few.items()}
    first, second = estimate(few, {}), estimate(many, {})
    assert first is not None
    assert second is not None
    assert first.se == second.se


def test_clusters_that_agree_within_widen_the_error() -> None:
    rewards = {str(i): [float(i // 5 % 2)] for i in range(20)}
    alone = estimate(rewards, {})
    clustered = estimate(rewards, {str(i): str(i // 5) for i in range(20)})
    assert alone is not None
    assert clustered is not None
    assert clustered.mean == alone.mean
    # Four clusters of five equal values: the error of four observations.
    assert clustered.se == pytest.approx(statistics.stdev([0.0, 1.0, 0.0, 1.0]) / 2)
    assert alone.se is not None
    assert clustered.se is not None
    assert clustered.se > alone.se


def test_wilson_is_the_solution_of_the_score_equation() -> None:
    low, high = wilson(0.3, 40)
    for bound in (low, high):
        assert abs(0.3 - bound) == pytest.approx(1.959963984540054 * math.sqrt(bound * (1 - bound) / 40))
    assert wilson(0.0, 20)[0] == 0.0
    assert wilson(1.0, 20)[1] == 1.0


@pytest.mark.parametrize(("freedom", "expected"), [(1, 12.7062), (2, 4.3027), (9, 2.2622), (30, 2.0423), (1000, 1.9623)])
def test_t_quantiles_equal_the_tables(freedom: int, expected: float) -> None:
    assert t_quantile(0.975, freedom) == pytest.approx(expected, abs=1e-4)


def test_one_problem_has_no_error_and_no_problem_no_score() -> None:
    single = estimate({"a": [1.0]}, {})
    assert single is not None
    assert (single.mean, single.se, single.low) == (1.0, None, None)
    assert estimate({"a": []}, {}) is None


def test_a_problem_that_could_not_be_judged_is_left_out_of_the_mean() -> None:
    found = estimate({"a": [1.0], "b": [], "c": [0.0]}, {})
    assert found is not None
    assert (found.mean, found.n) == (0.5, 2)


def test_samples_that_are_all_wrong_do_not_make_a_certain_zero() -> None:
    found = estimate({str(i): [0.0, 0.0] for i in range(20)}, {})
    assert found is not None
    assert (found.mean, found.low, found.interval) == (0.0, 0.0, "wilson")
    assert found.high == pytest.approx(wilson(0.0, 20)[1])


def test_pass_at_k_equals_counting_subsets() -> None:
    outcomes = [True, False, False, True, False, False]
    for k in range(1, 7):
        subsets = list(itertools.combinations(outcomes, k))
        assert pass_at_k(6, 2, k) == pytest.approx(sum(any(subset) for subset in subsets) / len(subsets))
    with pytest.raises(ValueError, match="at least 7"):
        pass_at_k(6, 2, 7)


def test_one_part_with_equal_weights_is_the_plain_estimate() -> None:
    means = {"a": 0.5, "b": 1.0, "c": 0.0, "d": 0.25}
    plain = estimate({name: [value, value] for name, value in means.items()}, {})
    weighted = estimate_parts(means, {}, dict.fromkeys(means, ("all", 0.25)))
    assert plain is not None
    assert weighted is not None
    for name in ("mean", "se", "low", "high"):
        assert getattr(weighted, name) == pytest.approx(getattr(plain, name))


def test_a_total_of_parts_adds_up_the_errors_of_its_parts() -> None:
    small, large = [1.0, 0.0], [1.0, 1.0, 0.0, 0.5]
    means = {f"s{n}": v for n, v in enumerate(small)} | {f"l{n}": v for n, v in enumerate(large)}
    parts = {name: ("s", 1 / 4) if name[0] == "s" else ("l", 1 / 8) for name in means}
    found = estimate_parts(means, {}, parts)
    assert found is not None
    assert found.mean == pytest.approx((statistics.mean(small) + statistics.mean(large)) / 2)
    expected = (statistics.variance(small) / 2 + statistics.variance(large) / 4) / 4
    assert found.se == pytest.approx(math.sqrt(expected))


def test_a_part_of_one_problem_says_nothing_of_spread() -> None:
    found = estimate_parts({"a": 1.0, "b": 0.0, "c": 1.0}, {}, {"a": ("x", 0.5), "b": ("y", 0.25), "c": ("y", 0.25)})
    assert found is not None
    assert (found.mean, found.se, found.low) == (0.75, None, None)
    assert estimate_parts({}, {}, {}) is None


def sample(seed: int, problems: int = 60) -> tuple[dict[str, float], dict[str, str], dict[str, str]]:
    """Values with two crossed ways to cluster, both of which matter."""
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, 15, problems), rng.integers(0, 9, problems)
    noise = rng.normal(0, 1, 15)[first] + rng.normal(0, 1, 9)[second] + rng.normal(0, 0.5, problems)
    names = [f"p{i}" for i in range(problems)]
    groups = [{name: str(code) for name, code in zip(names, codes, strict=True)} for codes in (first, second)]
    return dict(zip(names, map(float, noise), strict=True)), groups[0], groups[1]


def regression(values: dict[str, float], *groups: dict[str, str]) -> tuple[float, float, float, float]:
    """Mean, clustered error and t interval as statsmodels has them: a regression on a constant."""
    codes = np.column_stack([np.unique([group[name] for name in values], return_inverse=True)[1] for group in groups])
    freedom = min(len(set(column)) for column in codes.T) - 1
    fit = sm.OLS(np.array(list(values.values())), np.ones(len(values))).fit(
        cov_type="cluster", cov_kwds={"groups": codes if len(groups) > 1 else codes[:, 0]}
    )
    half = scipy.stats.t.ppf(0.975, freedom) * fit.bse[0]
    return fit.params[0], fit.bse[0], fit.params[0] - half, fit.params[0] + half


def figures(found: Estimate | None) -> tuple[float | None, ...]:
    assert found is not None
    return found.mean, found.se, found.low, found.high


@pytest.mark.parametrize("seed", range(5))
def test_clustered_errors_and_intervals_equal_those_of_statsmodels(seed: int) -> None:
    values, first, second = sample(seed)
    assert figures(estimate_means(values, first, binary=False)) == pytest.approx(regression(values, first))
    assert figures(estimate_difference(values, first)) == pytest.approx(regression(values, first))
    two = estimate_means(values, first, binary=False, second=second)
    one_way = [regression(values, group)[1] for group in (first, second)]
    assert two is not None
    assert two.se is not None
    if two.se > max(one_way) * (1 + 1e-9):
        assert figures(two) == pytest.approx(regression(values, first, second))
        assert figures(estimate_difference(values, first, second)) == pytest.approx(regression(values, first, second))
    else:  # the textbook formula may fall below both, or below zero; ours never does
        assert regression(values, first, second)[1] <= max(one_way) * (1 + 1e-9)


def test_some_of_those_samples_need_the_second_cluster() -> None:
    wider = []
    for seed in range(5):
        values, first, second = sample(seed)
        one, two = (estimate_means(values, first, binary=False, second=other) for other in (None, second))
        wider.append(figures(two)[1] > figures(one)[1])  # type: ignore[operator]
    assert sum(wider) >= 3


def test_a_paired_difference_has_the_interval_of_the_paired_t_test() -> None:
    rng = np.random.default_rng(0)
    a = rng.binomial(4, 0.5, 80) / 4
    b = np.clip(a + rng.normal(0.1, 0.3, 80), 0, 1)
    found = estimate_difference({str(i): float(d) for i, d in enumerate(b - a)}, {})
    theirs = scipy.stats.ttest_rel(b, a).confidence_interval(0.95)
    assert figures(found)[2:] == pytest.approx((theirs.low, theirs.high))


def test_runs_that_agree_on_every_problem_may_still_differ_elsewhere() -> None:
    found = estimate_difference({str(i): 0.0 for i in range(30)}, {})
    bound = proportion_confint(0, 30, method="wilson")[1]
    assert figures(found) == pytest.approx((0.0, 0.0, -bound, bound))
    assert found is not None
    assert found.interval == "wilson"


@pytest.mark.parametrize(("correct", "n"), [(0, 20), (7, 20), (20, 20), (431, 1000)])
def test_wilson_equals_statsmodels(correct: int, n: int) -> None:
    assert wilson(correct / n, n) == pytest.approx(proportion_confint(correct, n, method="wilson"))


@pytest.mark.parametrize(("wins", "losses"), [(0, 0), (1, 0), (5, 5), (9, 2), (2, 9), (40, 61), (700, 600)])
def test_the_sign_test_is_exact(wins: int, losses: int) -> None:
    p = sign_test(wins, losses)
    if wins + losses:
        assert p == pytest.approx(scipy.stats.binomtest(wins, wins + losses).pvalue)
    assert p == pytest.approx(mcnemar([[0, wins], [losses, 0]], exact=True).pvalue if wins + losses else 1.0)


@pytest.mark.parametrize(
    ("votes", "expected"),
    [
        ([("4", True), ("4", True), ("5", False)], 1.0),
        ([("4", True), ("5", False), ("5", False)], 0.0),
        ([("0.5", True), ("1/2", True), ("5", False), ("5", False), ("6", False)], 0.5),  # ways to write it are one candidate
        ([("4", True), ("5", False), ("6", False)], 1 / 3),
        ([(None, False), (None, False), ("4", True)], 1.0),  # no answer is no vote
        ([(None, False), (None, False)], 0.0),
        ([], 0.0),
    ],
)
def test_the_majority_decides(votes: list[tuple[str | None, bool]], expected: float) -> None:
    assert maj_at_k(votes) == pytest.approx(expected)
