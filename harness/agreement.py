"""`unmask validate --model M --decode D`: how far a way of decoding agrees with the exact one.

The reference is the same decoder, one request at a time and without any cache: every pass runs everything. What is compared is
the decoder as it is asked for: batched, fused, with its cache. Both run the same requests with the same seeds. Reported are the
share of equal tokens, of equal responses and of equal answers (the verifier's extraction), both scores, and the speed ratio.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from ..rewards.pool import VerifierPool
from ..rewards.records import Verdict
from .config import RunConfig
from .evaluate import completion_of
from .models.checkpoint import open_checkpoint
from .models.model import Model, load_model
from .plan import Job, TaskPlan, jobs, plan_tasks
from .progress import show_progress
from .records import DecodeConfig, Rollout
from .tables import print_rows


@dataclass(frozen=True, slots=True)
class Agreement:
    """What was compared on one task. Shares are of all tokens up to the longer response, and of all requests."""

    task: str
    requests: int
    tokens: float
    responses: float
    answers: float
    score: float
    exact_score: float
    speed: float


class _Run(NamedTuple):
    rollouts: dict[tuple[str, int], Rollout]
    verdicts: dict[tuple[str, int], Verdict]
    seconds: float


def exact(decode: DecodeConfig) -> DecodeConfig:
    """The same decoder without a cache."""
    return decode if decode.algorithm == "diffusion_gemma" else replace(decode, cache="none", horizon=None)


def print_agreement(config: RunConfig) -> int:
    """Compare and print; returns 0 if every token agrees or the cache is a declared approximation, else 1."""
    plans = plan_tasks(config, open_checkpoint(config.model, **config.model_options()))
    model = load_model(config.model, dtype=config.dtype, device=config.device, **config.model_options())
    found = [_compare(model, plan, config) for plan in plans]
    shown = [(a.task, str(a.requests), *map(_share, (a.tokens, a.responses, a.answers)), *_scores(a)) for a in found]
    columns = ("task", "requests", "equal tokens", "equal responses", "equal answers", "score", "exact score", "speed")
    print_rows(columns, shown)
    approximate = plans[0].decode.cache in ("prefix", "dual")
    print(f"{plans[0].decode.cache} cache, batches of {config.max_batch}, against one request at a time without a cache")
    return 0 if approximate or all(a.tokens == 1 for a in found) else 1


def _share(value: float) -> str:
    return f"{100 * value:.1f}%"


def _scores(a: Agreement) -> tuple[str, str, str]:
    return f"{100 * a.score:.1f}", f"{100 * a.exact_score:.1f}", f"{a.speed:.2f} x"


def _compare(model: Model, plan: TaskPlan, config: RunConfig) -> Agreement:
    todo = list(jobs(plan, model, config.seed))
    with VerifierPool(plan.verifier, config.workers) as pool, show_progress(plan.name, 2 * len(todo)) as progress:
        ours = _run(model, plan.decode, todo, pool, progress.generated, config.max_batch, fuse=True)
        theirs = _run(model, exact(plan.decode), todo, pool, progress.generated, 1, fuse=False)
    return compare(plan.name, ours, theirs)


def _run(
    model: Model,
    decode: DecodeConfig,
    todo: Sequence[Job],
    pool: VerifierPool,
    generated: Callable[[Rollout], None],
    max_batch: int,
    *,
    fuse: bool,
) -> _Run:
    started = time.monotonic()
    rollouts = {}
    for rollout in model.generate([job.request for job in todo], decode, max_batch=max_batch, fuse=fuse):
        rollouts[rollout.problem_id, rollout.sample] = rollout
        generated(rollout)
    seconds = time.monotonic() - started
    waiting = {}
    for job in todo:
        key = (job.request.problem_id, job.request.sample)
        waiting[key] = pool.submit(job.problem, completion_of(rollouts[key]))
    return _Run(rollouts, {key: future.result() for key, future in waiting.items()}, seconds)


def compare(task: str, ours: _Run, theirs: _Run) -> Agreement:
    """The figures of two runs of the same requests."""
    pairs = [(rollout, theirs.rollouts[key]) for key, rollout in ours.rollouts.items()]
    longest = sum(max(a.length, b.length) for a, b in pairs)
    same = sum(_equal(a.token_ids[: a.length], b.token_ids[: b.length]) for a, b in pairs)
    answers = [ours.verdicts[key].extracted == theirs.verdicts[key].extracted for key in ours.rollouts]
    return Agreement(
        task=task,
        requests=len(pairs),
        tokens=same / longest if longest else 1.0,
        responses=_mean(a.token_ids[: a.length] == b.token_ids[: b.length] for a, b in pairs),
        answers=_mean(answers),
        score=_mean(verdict.reward or 0.0 for verdict in ours.verdicts.values()),
        exact_score=_mean(verdict.reward or 0.0 for verdict in theirs.verdicts.values()),
        speed=theirs.seconds / ours.seconds if ours.seconds else 1.0,
    )


def _equal(ours: Sequence[int], theirs: Sequence[int]) -> int:
    return sum(a == b for a, b in zip(ours, theirs, strict=False))


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found) if found else 0.0
