r"""GSM8K: grade-school word problems, 1,319 for testing and 7,473 for training (openai/grade-school-math).

Asked zero-shot with a boxed answer (SDAR and TraDo); the official answer line `#### N` is understood as well. The five-shot
protocol of lm-evaluation-harness is not offered here.
"""

import re

from ..rewards.errors import InputError
from .mathematics import ANSWER, QUESTION, Item, MathBenchmark
from .rows import Row
from .sources import Hub, Source

_REVISION = "740312add88f781978c0658806c59bc2815b9866"
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


def read(row: Row) -> Item:
    """Read an official row (a rationale ending in `#### N`) or a bare answer, as dLLM-RL stores it.

    Thousands commas go: 14 answers of the Gen-Verse copy keep them, and the official comparison drops them too.
    """
    answer = row.text(*ANSWER).rpartition("####")[2].strip().replace(",", "")
    if not _NUMBER.fullmatch(answer):
        raise InputError(f"{row.where}: field 'answer': no number after the last '####' (found {answer[:40]!r})")
    return Item(row.text(*QUESTION), answer, {})


GSM8K = MathBenchmark(
    name="gsm8k",
    description="Grade-school word problems with a number as answer",
    size=1319,
    sources={
        "test": Source(
            stem="gsm8k/gsm8k_test",
            hub=Hub("openai/gsm8k", _REVISION, "test", ("main",)),
            embedded="gsm8k_test.jsonl.gz",
            sha256="3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14",
        ),
        "train": Source(stem="gsm8k/gsm8k_train", hub=Hub("openai/gsm8k", _REVISION, "train", ("main",))),
    },
    read=read,
    verifier_options={"order": ("boxed", "hash", "phrase", "number")},  # the answer is always a number: take the last one
    notes=(
        "GSM8K-Platinum (madrylab/gsm8k-platinum) drops 110 of the 1,319 test questions as ambiguous and corrects others: "
        "differences below 2 points say little.",
    ),
)
