"""AIME 2024, 2025 and 2026: 30 problems a year, the answer an integer from 0 to 999.

The problems are (c) Mathematical Association of America and no copy carries a licence from it, so none is shipped: they come
from the hub, the data folder or `--data`. One run over 30 problems has a standard error near 5 points at a score of 10, so the
metric is avg@k and 16 samples are suggested. Answers are kept as integers without leading zeros ("073" is 73).
"""

from ..rewards.errors import InputError
from .mathematics import ANSWER, QUESTION, Item, MathBenchmark, optional
from .rows import Row
from .sources import Hub, Source

# What is known to be wrong in circulating copies: words of the problem, the faulty answer (or None: any), the note.
_KNOWN_FAULTS = (
    (
        "Eight circles of radius $34$",
        "480",
        "label error in this copy (Gen-Verse/AIME2024): the official answer is 197 (AIME 2024 I, problem 8)",
    ),
    ("a_{j+1,i}-a_{j,i}", None, "typo in the statement, shared by the copies in circulation (AIME 2026, problem 11)"),
)


def read(row: Row) -> Item:
    """Read a row of any of the usual copies; they differ in column names and in leading zeros."""
    question, answer = row.text(*QUESTION), row.text(*ANSWER).strip()
    if not (answer.isascii() and answer.isdigit() and int(answer) <= 999):
        raise InputError(f"{row.where}: field 'answer': expected an integer from 0 to 999, found {answer[:40]!r}")
    number = str(int(answer))
    metadata = optional(row, year=("year",), url=("url",), problem_number=("problem_idx",))
    if note := _note(question, number):
        metadata["note"] = note
    return Item(question, number, metadata)


def _note(question: str, answer: str) -> str:
    plain = question.replace(" ", "")
    faults = [note for words, wrong, note in _KNOWN_FAULTS if words.replace(" ", "") in plain and wrong in (None, answer)]
    return "; ".join(faults)


def _aime(year: int, hub: Hub, notes: tuple[str, ...]) -> MathBenchmark:
    return MathBenchmark(
        name=f"aime{year}",
        description=f"American Invitational Mathematics Examination {year} (I and II)",
        size=30,
        sources={"test": Source(stem=f"aime/aime{year}", hub=hub)},
        read=read,
        metric="avg@k",
        samples=16,
        notes=notes,
    )


AIME2024 = _aime(
    2024,
    Hub("HuggingFaceH4/aime_2024", "2fe88a2f1091d5048c0f36abc874fb997b3dd99a", "train"),
    ("Older than the training data of Qwen2.5 and Qwen3 based models: likely contaminated.",),
)
AIME2025 = _aime(2025, Hub("math-ai/aime25", "563bb8404243c5f09de6ec262f2db674fe5bce9b", "test"), ())
AIME2026 = _aime(
    2026,
    Hub("MathArena/aime_2026", "d2de22f3c656b4f56cf8981212186377d1e23bc3", "train"),
    ("Problem 11 has a typo in the copies in circulation.",),
)
