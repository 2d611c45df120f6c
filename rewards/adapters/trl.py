"""Our verifiers as TRL reward functions: `GRPOTrainer(reward_funcs=[as_trl("math")], ...)`.

TRL calls a reward function with keyword columns, one entry per completion: `prompts`, `completions` (text, or lists of one
message), `completion_ids`, every further column of the dataset, and its helpers `log_extra`, `log_metric`, `trainer_state`.
Source: TRL's documentation of GRPOTrainer and `trl/trainer/grpo_trainer.py` of version 1.16.
"""

from collections.abc import Callable, Sequence
from typing import Any

from ..records import Verdict
from ..verifier import Verifier
from .columns import BatchScorer


def as_trl(verifier: Verifier | str, name: str | None = None, workers: int | None = None, **options: Any) -> "TrlReward":
    """Make a reward function of a verifier, or of what `load_verifier` takes with `options`.

    The dataset needs a column `solution` (or `reference`); `name` is what TRL calls the metric (default: the verifier's name).
    """
    scorer = BatchScorer(verifier, workers, **options)
    return TrlReward(scorer, name or scorer.name)


class TrlReward:
    """A reward function: picklable, with a `__name__`. None, "does not apply" to TRL, is a completion that nobody could judge."""

    def __init__(self, scorer: BatchScorer, name: str) -> None:
        self._scorer = scorer
        self.__name__ = name

    def __call__(
        self,
        *,
        completions: Sequence[Any],
        log_extra: Callable[[str, list[Any]], None] | None = None,
        log_metric: Callable[[str, float], None] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """Return one reward per completion; log extracted answers and the shares of statuses if TRL lets us."""
        verdicts = self._scorer.verdicts({"completions": completions, **columns})
        if log_extra is not None:
            log_extra(f"{self.__name__}/extracted", [verdict.extracted for verdict in verdicts])
            log_extra(f"{self.__name__}/status", [verdict.status for verdict in verdicts])
        if log_metric is not None:
            for status in ("correct", "unparsed", "verifier_error"):
                log_metric(f"{self.__name__}/{status}", _share(verdicts, status))
        return [verdict.reward for verdict in verdicts]


def _share(verdicts: Sequence[Verdict], status: str) -> float:
    return sum(verdict.status == status for verdict in verdicts) / len(verdicts)
