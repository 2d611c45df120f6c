"""What a run reports: one `TaskResult` per task, with everything a number needs to be trusted, repeated and compared."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..benchmarks.base import Benchmark
from ..rewards.errors import InputError
from ..rewards.records import Problem
from .records import DecodeConfig, ModelInfo, Sample
from .statistics import Estimate, maj_at_k, pass_at_k
from .tally import TaskTally


@dataclass(frozen=True, slots=True)
class VerifierInfo:
    """Which verifier judged."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class TaskResult:
    """The result of one task.

    `score` is None when no sample could be judged; it is the benchmark's official total where that is not the mean over problems.
    `breakdown` has the scores of the benchmark's parts, `metrics` what else its verdicts measure. `tokens` counts response tokens
    with stop tokens; `tokens_per_step` divides them by denoising passes, `tokens_per_forward` by all passes, cache writes and
    prefill included. `tokens_per_second` is this machine's, batching included, over the sessions that ended in good order.
    `pass_at_k` is unbiased. `maj_at_k` has the share of problems whose most frequent answer is correct, for k = `samples`; it is
    there for tasks whose references are answers, where two samples can give the same wrong one.
    """

    schema: ClassVar[int] = 1

    task: str
    metric: str
    score: Estimate | None
    breakdown: dict[str, float]
    metrics: dict[str, float]
    pass_at_k: dict[str, float]
    problems: int
    samples: int
    statuses: dict[str, int]
    finishes: dict[str, int]
    tokens: int
    tokens_per_step: float
    tokens_per_forward: float
    tokens_per_second: float | None
    model: ModelInfo
    decode: DecodeConfig
    data_revision: str
    verifier: VerifierInfo
    seed: int
    notes: tuple[str, ...] = ()
    maj_at_k: dict[str, float] = field(default_factory=dict)


def summarise(rows: Iterable[Sample], benchmark: Benchmark, problems: Sequence[Problem], /, **facts: Any) -> TaskResult:
    """Reduce a task's samples to its result. `facts` are the fields of the result that samples do not hold."""
    tally = _Tally(TaskTally(benchmark, problems), {problem.id for problem in problems if _is_answer(problem.reference)})
    for sample in rows:
        tally.add(sample)
    if tally.model is None or tally.decode is None:
        raise InputError(f"task {facts['task']!r}: there is nothing to report, no sample was generated")
    return TaskResult(
        problems=len(problems),
        score=tally.scores.score(),
        breakdown=tally.scores.breakdown(),
        metrics=tally.scores.metrics(),
        pass_at_k=_pass_at_k(tally, facts["samples"]),
        maj_at_k=_maj_at_k(tally, facts["samples"]),
        statuses=dict(tally.statuses.most_common()),
        finishes=dict(tally.finishes.most_common()),
        tokens=tally.tokens,
        tokens_per_step=_ratio(tally.tokens, tally.denoise),
        tokens_per_forward=_ratio(tally.tokens, tally.passes),
        model=tally.model,
        decode=tally.decode,
        **facts,
    )


class _Tally:
    def __init__(self, scores: TaskTally, voting: Set[str]) -> None:
        self.scores, self._voting = scores, voting
        self.votes: dict[str, list[tuple[str | None, bool]]] = defaultdict(list)
        self.judged: Counter[str] = Counter()
        self.correct: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.finishes: Counter[str] = Counter()
        self.tokens = self.denoise = self.passes = 0
        self.model: ModelInfo | None = None
        self.decode: DecodeConfig | None = None

    def add(self, sample: Sample) -> None:
        rollout, verdict = sample.rollout, sample.verdict
        self.model, self.decode = rollout.model, rollout.decode
        self.scores.add(sample.problem_id, sample.cluster, verdict.reward, verdict.parts)
        self.statuses[verdict.status] += 1
        self.finishes[rollout.finish] += 1
        self.tokens += rollout.length
        self.denoise += rollout.forward_passes.denoise
        self.passes += rollout.forward_passes.total
        if verdict.reward is not None:
            self.judged[sample.problem_id] += 1
            self.correct[sample.problem_id] += verdict.status == "correct"
            if sample.problem_id in self._voting:
                self.votes[sample.problem_id].append((verdict.extracted, verdict.status == "correct"))


def _pass_at_k(tally: _Tally, samples: int) -> dict[str, float]:
    """pass@1, powers of two and k = samples, over the problems all of whose samples were judged."""
    whole = [problem for problem, count in tally.judged.items() if count == samples]
    if not whole:
        return {}
    ks = sorted({1, samples, *(2**i for i in range(1, samples.bit_length()) if 2**i < samples)})
    return {str(k): sum(pass_at_k(samples, tally.correct[p], k) for p in whole) / len(whole) for k in ks}


def _maj_at_k(tally: _Tally, samples: int) -> dict[str, float]:
    """maj@k for k = samples, over the problems all of whose samples were judged."""
    whole = [votes for votes in tally.votes.values() if len(votes) == samples]
    if not whole or samples == 1:
        return {}
    return {str(samples): sum(map(maj_at_k, whole)) / len(whole)}


def _is_answer(reference: object) -> bool:
    return isinstance(reference, str | int | float)


def _ratio(value: int, by: int) -> float:
    return round(value / by, 4) if by else 0.0
