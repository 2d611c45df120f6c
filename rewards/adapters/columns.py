"""Judging by columns: a dict of columns in, the same with rewards out.

The same callable serves `datasets.Dataset.map(batched=True)` and Ray Data's `map_batches` (as a class, made once per actor). A
row whose verifier fails gets the status `verifier_error` and no reward; it never raises for a row, so a job does not abort.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from ..records import Verdict
from ..verifier import Verifier
from .rows import completion_of, problem_of, rows_of
from .workers import PooledVerifier

FIELDS = ("reward", "status", "extracted", "expected", "detail")


class BatchScorer:
    """Adds the columns reward, status, extracted, expected and detail to a batch.

    A batch has a column of completions (`completion`, `response`, ...) and one of references (`solution`, `reference`, or
    verl's `reward_model`); an exported dataset has both. Raises InputError when one of them is missing.
    """

    def __init__(self, verifier: Verifier | str = "math", workers: int | None = None, **options: Any) -> None:
        self._judge = PooledVerifier(verifier, workers, **options)

    @property
    def name(self) -> str:
        """The verifier's name."""
        return self._judge.verifier.name

    def verdicts(self, columns: Mapping[str, Any]) -> list[Verdict]:
        """One verdict per row."""
        return self._judge.judge((problem_of(row), completion_of(row)) for row in rows_of(columns))

    def __call__(self, columns: Mapping[str, Any]) -> dict[str, Any]:
        """Return the batch with the columns of the verdicts."""
        verdicts = self.verdicts(columns)
        return dict(columns) | {name: [getattr(verdict, name) for verdict in verdicts] for name in FIELDS}


def score_batch(columns: Mapping[str, Any], verifier: str = "math") -> dict[str, Any]:
    """`BatchScorer` as a function, for a verifier named by text; its pool is kept for the next batch."""
    return _scorer(verifier)(columns)


@lru_cache(maxsize=8)
def _scorer(verifier: str) -> BatchScorer:
    return BatchScorer(verifier)
