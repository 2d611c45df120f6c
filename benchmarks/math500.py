r"""MATH-500: 500 competition problems drawn from the MATH test split by PRM800K (HuggingFaceH4/MATH-500).

Asked zero-shot with a boxed answer (SDAR and TraDo). Subject and level are kept for breakdowns.
"""

from typing import Any

from ..rewards.errors import InputError
from .mathematics import ANSWER, QUESTION, Item, MathBenchmark, optional
from .rows import Row
from .sources import Hub, Source


def read(row: Row) -> Item:
    """Read a row of the hub set, or of dLLM-RL's copy (which has neither subject nor level)."""
    metadata = optional(row, subject=("subject", "type"))
    if (given := row.first("level")) is not None:
        metadata["level"] = level(row, given)
    return Item(row.text(*QUESTION), row.text(*ANSWER), metadata)


def level(row: Row, value: Any) -> int:
    """Return the level 1 to 5; the sets write it as 3, "3" or "Level 3"."""
    digits = str(value).removeprefix("Level ").strip()
    if digits not in ("1", "2", "3", "4", "5"):
        raise InputError(f"{row.where}: field 'level': expected 1 to 5, found {value!r}")
    return int(digits)


MATH500 = MathBenchmark(
    name="math500",
    description="Competition mathematics, 500 problems of the MATH test split",
    size=500,
    sources={
        "test": Source(
            stem="math/math500",
            hub=Hub("HuggingFaceH4/MATH-500", "6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be", "test"),
            embedded="math500.jsonl.gz",
            sha256="35dc41080a3680858b27fa7e0533d2d547825316fc5dafe5d316f4ccc5a06132",
        ),
    },
    read=read,
    notes=("Public since 2023 and part of many training mixes.",),
)
