"""Where the rows of a task come from, read off a run's plan: split, data revision, and how its verifier is named."""

from typing import Any

from ..config import RunConfig
from ..plan import TaskPlan
from .rows import Origin


def origin_of(plan: TaskPlan, config: RunConfig) -> Origin:
    """What the rows of a task have in common."""
    benchmark = plan.benchmark
    own = benchmark.verifier if isinstance(benchmark.verifier, str) else ""
    return Origin(
        task=plan.name,
        split=str(getattr(benchmark, "split", "") or ""),
        data_revision=str(getattr(benchmark, "revision", "")),
        ability=plan.verifier.name,
        verifier=config.verifier or own,
        verifier_options=_options(plan, config),
        verifier_version=plan.verifier.version,
        places={problem.id: index for index, problem in enumerate(plan.problems)},
    )


def _options(plan: TaskPlan, config: RunConfig) -> dict[str, Any]:
    """The options that the plan's verifier was made with (see `plan.load_task`)."""
    options = {} if config.verifier else dict(getattr(plan.benchmark, "verifier_options", {}))
    options |= config.verifier_options
    if config.rule is not None and (config.verifier or "rule" not in getattr(plan.benchmark, "options", ())):
        options["rule"] = config.rule
    return options
