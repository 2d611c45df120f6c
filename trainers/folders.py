"""Makes a folder of rollouts or of an evaluation a run directory: `show`, `compare`, `report`, `audit` and `export` read it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..harness.config import RunConfig, write_config
from ..harness.dataset.origin import origin_of
from ..harness.dataset.rows import Entry
from ..harness.dataset.write import write_problems, write_samples
from ..harness.models.model import Model
from ..harness.plan import Job, TaskPlan
from ..harness.process.placement import token_rewards
from ..harness.records import Sample


@dataclass(frozen=True, slots=True)
class Made:
    """What was generated and judged of a task: jobs and their samples side by side, and the task's settings as a run's."""

    task: TaskPlan
    config: RunConfig
    jobs: Sequence[Job]
    samples: Sequence[Sample]


def write_tables(folder: Path, made: Sequence[Made], model: Model) -> None:
    """Write settings, problems and samples of what was made into `folder`. Several tasks have the first one's settings."""
    origins = {one.task.name: origin_of(one.task, one.config) for one in made}
    names = tuple(dict.fromkeys(name for one in made for name in one.config.task))
    write_config(
        replace(made[0].config, task=names, data=made[0].config.data if len(names) == 1 else None), folder / "config.yaml"
    )
    problems = {(one.task.name, job.problem.id): (job.problem, origins[one.task.name]) for one in made for job in one.jobs}
    write_problems(folder / "problems.parquet", problems.values())
    entries = (entry for one in made for entry in _entries(one, model))
    write_samples(folder / "samples.parquet", entries, origins)


def _entries(one: Made, model: Model) -> list[Entry]:
    return [
        Entry(job.key, job.problem, sample, _token_rewards(sample, model))
        for job, sample in zip(one.jobs, one.samples, strict=True)
    ]


def _token_rewards(sample: Sample, model: Model) -> list[float] | None:
    """The reward of each token, where the verifier rewards steps."""
    if sample.verdict.step_rewards is None or sample.verdict.reward is None:
        return None
    return token_rewards(sample.rollout, sample.verdict, model.text)
