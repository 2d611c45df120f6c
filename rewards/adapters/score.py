"""`compute_score`, the reward function that verl calls for every response. `verl.py` beside it is the file to name to verl.

Which verifier judges: `verifier` of verl's reward_kwargs, else what the row says (an exported dataset says it in `extra_info`),
else the table below, by `data_source`. Source of the signature: verl's documentation of custom reward functions.
"""

import json
import threading
import warnings
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ..errors import InputError, nearest
from ..records import Completion, Message, Problem
from .rows import read_reference
from .workers import PooledVerifier

DATA_SOURCES: Mapping[str, str] = MappingProxyType(
    {
        "openai/gsm8k": "math",
        "lighteval/MATH": "math",
        "DigitalLearningGmbH/MATH-lighteval": "math",
        "HuggingFaceH4/MATH-500": "math",
        "HuggingFaceH4/aime_2024": "math",
        "math_dapo": "math",
        "math_dapo_reasoning": "math",
    }
)
"""Data sources that verl's own preprocessing writes and whose ground truth is a short answer."""

_judges: dict[tuple[str, str], PooledVerifier] = {}
_making = threading.Lock()


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None,
    verifier: str | None = None,
    workers: int | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Judge one response. Returns `score`, `acc`, `status`, `extracted` and `verifier_error`, in every row the same keys.

    verl hands over no prompt; `extra_info["question"]`, which verl's own preprocessing writes too, stands in for it, where the
    way a question is put matters (percentages, choices). A response that could not be judged scores 0, which verl cannot tell
    from a wrong one: `verifier_error` is 1 then, so that verl's metrics show the share, and a warning is given. Raises InputError
    when it is not known how to judge.
    """
    extra = extra_info or {}
    judge = _judge(*_which(data_source, extra, verifier, options), workers)
    reference = read_reference(ground_truth, extra.get("reference_is_json"))
    prompt = (Message("user", str(extra["question"])),) if extra.get("question") else ()
    problem = Problem(str(extra.get("problem_id") or extra.get("index", "")), data_source, prompt, reference)
    (verdict,) = judge.judge([(problem, Completion(solution_str))])
    if verdict.reward is None:
        warnings.warn(f"{data_source}: a response could not be judged: {verdict.detail}", RuntimeWarning, stacklevel=2)
    return {
        "score": verdict.reward or 0.0,
        "acc": float(verdict.status == "correct"),
        "status": verdict.status,
        "extracted": verdict.extracted or "",
        "verifier_error": float(verdict.reward is None),
    }


def _which(data_source: str, extra: Mapping[str, Any], verifier: str | None, options: dict[str, Any]) -> tuple[str, str]:
    """The verifier's name, and its options as JSON."""
    if verifier is not None:
        return verifier, json.dumps(options, sort_keys=True)
    if extra.get("verifier"):
        return extra["verifier"], extra.get("verifier_options") or "{}"
    if data_source in DATA_SOURCES:
        return DATA_SOURCES[data_source], json.dumps(options, sort_keys=True)
    raise InputError(
        f"data_source {data_source!r}{nearest(data_source, DATA_SOURCES)}: no verifier is known for it; set "
        "custom_reward_function.reward_kwargs.verifier, for example to math or file.py:reward"
    )


def _judge(verifier: str, options: str, workers: int | None) -> PooledVerifier:
    with _making:
        if (verifier, options) not in _judges:
            _judges[verifier, options] = PooledVerifier(verifier, workers, **json.loads(options))
        return _judges[verifier, options]
