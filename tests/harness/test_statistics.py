"""Statistics against numbers worked out another way."""

import itertools
import math
import statistics

import pytest
from unmask.harness.statistics import estimate, estimate_parts, pass_at_k, t_quantile, wilson


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
