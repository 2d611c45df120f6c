"""Statistics of a score: mean, standard error clustered by problem, 95% interval, pass@k, maj@k, paired differences.

The score is the mean over problems of each problem's mean reward. Its standard error treats clusters as the unit of
sampling (Miller, arXiv 2411.00640, section 2.2, with the C / (C - 1) correction; for one problem per cluster it is the standard
deviation of the problem means over the square root of their number). The interval is Wilson's score interval where every
problem has one 0/1 sample, and where all samples are 0 or all are 1 (with the clusters as observations: that no spread was seen
does not mean that there is none); else Student's t with C - 1 degrees of freedom, cut to the range of possible values.
With a second way to cluster (problems that share a subject, say) the variance is that of Cameron, Gelbach and Miller (2011): both
one-way variances less that of their intersection, and at least the larger of the two; C is the smaller number of clusters.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its uncertainty. `se` and the interval are None below two clusters: one observation says nothing of spread."""

    mean: float
    se: float | None
    low: float | None
    high: float | None
    interval: Literal["wilson", "t"]
    n: int


def estimate(rewards: Mapping[str, Sequence[float]], clusters: Mapping[str, str]) -> Estimate | None:
    """Estimate the score from the rewards of each problem's samples. Problems without any are left out; None if none is left."""
    means = {problem: math.fsum(values) / len(values) for problem, values in rewards.items() if values}
    binary = all(len(values) == 1 and values[0] in (0.0, 1.0) for values in rewards.values() if values)
    return estimate_means(means, clusters, binary=binary)


def estimate_means(
    means: Mapping[str, float], clusters: Mapping[str, str], *, binary: bool, second: Mapping[str, str] | None = None
) -> Estimate | None:
    """Estimate the score from each problem's mean reward; `binary` says that each is one 0/1 sample. None without any.

    `clusters` and `second` map problems to the clusters they lie in; a problem that is not in there stands for itself.
    """
    if not means:
        return None
    mean = math.fsum(means.values()) / len(means)
    spread = _spread(means, clusters, second)
    # Where all means are 0 or all are 1, no spread was seen.
    single = (binary and spread.clusters == len(means)) or set(means.values()) in ({0.0}, {1.0})
    kind: Literal["wilson", "t"] = "wilson" if single else "t"
    if spread.clusters < 2:
        return Estimate(mean, None, None, None, kind, len(means))
    low, high = wilson(mean, spread.clusters) if single else _t_interval(mean, spread.se, spread.clusters - 1, means.values())
    return Estimate(mean, spread.se, low, high, kind, len(means))


def estimate_difference(
    differences: Mapping[str, float], clusters: Mapping[str, str], second: Mapping[str, str] | None = None
) -> Estimate | None:
    """Estimate the mean of paired differences, one a problem (Miller, arXiv 2411.00640, section 4.2).

    The interval is Student's t. Where no problem differs it is what Wilson's says of a share that was never seen, to both sides.
    """
    if not differences:
        return None
    mean = math.fsum(differences.values()) / len(differences)
    spread = _spread(differences, clusters, second)
    if spread.clusters < 2:
        return Estimate(mean, None, None, None, "t", len(differences))
    if not any(differences.values()):
        bound = wilson(0.0, spread.clusters)[1]
        return Estimate(0.0, 0.0, -bound, bound, "wilson", len(differences))
    half = t_quantile(0.975, spread.clusters - 1) * spread.se
    return Estimate(mean, spread.se, mean - half, mean + half, "t", len(differences))


class _Spread(NamedTuple):
    """The standard error of a mean, and how many clusters it comes from."""

    se: float
    clusters: int


def _spread(values: Mapping[str, float], clusters: Mapping[str, str], second: Mapping[str, str] | None = None) -> _Spread:
    """The standard error of the mean of `values`, clustered one or two ways; 0 below two clusters."""
    first = {problem: clusters.get(problem, problem) for problem in values}
    variance, count = _variance(values, first)
    if second is None:
        return _Spread(math.sqrt(variance), count)
    other = {problem: second.get(problem, problem) for problem in values}
    variance_2, count_2 = _variance(values, other)
    both, _ = _variance(values, {problem: f"{first[problem]}\0{other[problem]}" for problem in values})
    return _Spread(math.sqrt(max(variance + variance_2 - both, variance, variance_2)), min(count, count_2))


def _variance(values: Mapping[str, float], clusters: Mapping[str, str]) -> tuple[float, int]:
    mean = math.fsum(values.values()) / len(values)
    by_cluster: dict[str, float] = defaultdict(float)
    for problem, value in values.items():
        by_cluster[clusters[problem]] += value - mean
    count = len(by_cluster)
    spread = math.fsum(value**2 for value in by_cluster.values())
    return (spread * count / (count - 1) / len(values) ** 2 if count > 1 else 0.0), count


def estimate_parts(
    means: Mapping[str, float], clusters: Mapping[str, str], parts: Mapping[str, tuple[str, float]]
) -> Estimate | None:
    """Estimate a total that weights problems unequally: `parts` has each problem's part and its share in the total.

    Parts are fixed strata: the standard error adds up what the clusters of each part differ from their part's mean. It is None
    where a part has one cluster only. The interval is Student's t with as many degrees of freedom as clusters less parts.
    """
    if not means:
        return None
    total = math.fsum(parts[problem][1] * value for problem, value in means.items())
    by_part: dict[str, list[str]] = defaultdict(list)
    for problem in means:
        by_part[parts[problem][0]].append(problem)
    spread, freedom = 0.0, 0
    for problems in by_part.values():
        centre = math.fsum(means[problem] for problem in problems) / len(problems)
        by_cluster: dict[str, float] = defaultdict(float)
        for problem in problems:
            by_cluster[clusters.get(problem, problem)] += parts[problem][1] * (means[problem] - centre)
        count = len(by_cluster)
        if count < 2:
            return Estimate(total, None, None, None, "t", len(means))
        spread += math.fsum(value**2 for value in by_cluster.values()) * count / (count - 1)
        freedom += count - 1
    se = math.sqrt(spread)
    return Estimate(total, se, *_t_interval(total, se, freedom, means.values()), "t", len(means))


def wilson(share: float, n: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Wilson's score interval for a share of n independent 0/1 observations (Wilson, 1927)."""
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def _t_interval(mean: float, se: float, freedom: int, values: object) -> tuple[float, float]:
    half = t_quantile(0.975, freedom) * se
    low, high = mean - half, mean + half
    if 0.0 <= mean <= 1.0 and all(0.0 <= value <= 1.0 for value in values):  # type: ignore[attr-defined]
        return max(0.0, low), min(1.0, high)
    return low, high


def t_quantile(p: float, freedom: int) -> float:
    """Quantile of Student's t for p above one half, by bisection on the integrated density."""
    low, high = 0.0, 1e4
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_cdf(middle, freedom) < p else (low, middle)
    return (low + high) / 2


def _t_cdf(t: float, freedom: int) -> float:
    """P(T <= t) for t >= 0: Simpson's rule on cos**(freedom - 1), which t = sqrt(freedom) tan(angle) makes of the density."""
    end, steps = math.atan(t / math.sqrt(freedom)), 2000
    width = end / steps
    weights = (1 if i in (0, steps) else 4 if i % 2 else 2 for i in range(steps + 1))
    area = math.fsum(w * math.cos(i * width) ** (freedom - 1) for i, w in enumerate(weights)) * width / 3
    log_scale = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - math.log(math.pi) / 2
    return 0.5 + math.exp(log_scale) * area


def pass_at_k(n: int, correct: int, k: int) -> float:
    """Unbiased estimate of the chance that one of k samples is correct, from `correct` of n (Chen et al., arXiv 2107.03374)."""
    if not 0 < k <= n:
        raise ValueError(f"pass@{k} needs at least {k} samples, there are {n}")
    return 1.0 - math.prod((n - correct - i) / (n - i) for i in range(k))


def maj_at_k(votes: Sequence[tuple[str | None, bool]]) -> float:
    """The chance that the majority's answer is correct, from all samples of a problem: (answer, whether it is correct).

    All correct answers are one candidate, however they are written; a wrong one is what was extracted. Samples without an answer
    do not vote, and where none does the result is 0. A tie is broken by a fair draw.
    """
    counts = Counter("correct" if correct else f"wrong: {answer}" for answer, correct in votes if correct or answer is not None)
    if not counts:
        return 0.0
    most = max(counts.values())
    return (counts["correct"] == most) / sum(count == most for count in counts.values())


def sign_test(wins: int, losses: int) -> float:
    """Two-sided p of the exact sign test: how likely a split at least as uneven is if both sides are equally likely."""
    n, few = wins + losses, min(wins, losses)
    if n == 0:
        return 1.0
    log_half, log_all = n * math.log(2), math.lgamma(n + 1)
    terms = (math.exp(log_all - math.lgamma(i + 1) - math.lgamma(n - i + 1) - log_half) for i in range(few + 1))
    return min(1.0, 2 * math.fsum(terms))
