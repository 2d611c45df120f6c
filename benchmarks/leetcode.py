"""LeetCode problems: LeetCodeDataset (newfacade) with solutions, and the contest set of DeepSeek-Coder without.

LeetCodeDataset stands in for a verified coding RL set: functions with many asserts and a reference solution. Rows that share a
problem with LiveCodeBench are left out (train: 78 of 1,890, test: 158 of 228), and so are rows of either set whose arguments are
linked lists or trees: their tests pass objects to the candidate, and only plain data crosses to its process. The contest set
(weekly and biweekly contests of July 2023 to January 2024) overlaps LiveCodeBench v1.

Problems that take their results in any order, with tests that expect one, are compared without order and carry a note.
"""

import ast
import re
from typing import Any

from ..rewards.errors import InputError
from .coding import CodeBenchmark, as_answer, statements
from .rows import Row
from .rowset import Item
from .sources import Source

_OBJECTS = re.compile(r"\b(?:list_node|tree_node|is_same_list|is_same_tree)\(")
_ANY_ORDER = ("word-ladder-ii",)
_ANY_ORDER_NOTE = "The problem takes its results in any order, the tests of the data set expect one; compared without order here."
_CANDIDATE = "def candidate(*args, **keywords):\n    return {entry}(*args, **keywords)\n"


def read(row: Row) -> Item | None:
    """Read a row of either version; None for what is left out."""
    test, entry = row.text("test"), row.text("entry_point")
    if row.first("overlaps_livecodebench") or _OBJECTS.search(test):
        return None
    prelude, slug = row.text("prompt"), row.text("task_id")
    reference: dict[str, Any] = {
        "style": "assert",
        "tests": _asserts(row, test, slug in _ANY_ORDER),
        "setup": f"{prelude}\n{_CANDIDATE.format(entry=entry)}",
        "prefix": f"{prelude}\n",
        "prelude": False,
    }
    meta = row.first("meta") or {}
    difficulty = row.first("difficulty") or (meta.get("difficulty") if isinstance(meta, dict) else None)
    metadata = {"slug": slug, **({"difficulty": difficulty} if difficulty else {})}
    if slug in _ANY_ORDER:
        metadata["note"] = _ANY_ORDER_NOTE
    solution = row.first("completion")
    return Item(row.text("query"), reference, metadata, as_answer(str(solution)) if solution else None)


def _asserts(row: Row, test: str, any_order: bool) -> list[str]:
    """Return the statements of `check(candidate)` one by one; with `any_order`, both sides of an equality are sorted."""
    try:
        (check,) = statements(test)
    except ValueError as error:
        raise InputError(f"{row.where}: field 'test': expected one function check(candidate) ({error})") from None
    body = getattr(check, "body", [])
    if not body or not all(isinstance(statement, ast.Assert) for statement in body):
        raise InputError(f"{row.where}: field 'test': expected a function of asserts")
    return [ast.unparse(_sorted_sides(statement) if any_order else statement) for statement in body]


def _sorted_sides(statement: ast.Assert) -> ast.Assert:
    test = statement.test
    if not isinstance(test, ast.Compare) or len(test.ops) != 1 or not isinstance(test.ops[0], ast.Eq):
        return statement
    left, right = (ast.Call(ast.Name("sorted"), [side], []) for side in (test.left, test.comparators[0]))
    return ast.Assert(ast.Compare(left, test.ops, [right]))


def read_contest(row: Row) -> Item | None:
    """Read a row of the contest set: `my_solution = Solution()`, then pairs of test_input and assert."""
    try:
        first, *rest = [ast.unparse(statement) for statement in statements(row.text("test"))]
    except ValueError as error:
        raise InputError(f"{row.where}: field 'test': not Python ({error})") from None
    if "ListNode(" in row.text("test"):
        return None
    if first != "my_solution = Solution()" or not rest or len(rest) % 2:
        raise InputError(f"{row.where}: field 'test': expected my_solution, then pairs of test_input and assert")
    tests = [f"{given}\n{asserted}" for given, asserted in zip(rest[::2], rest[1::2], strict=True)]
    reference = {"style": "assert", "tests": tests, "setup": first}
    meta = row.first("meta") or {}
    return Item(row.text("prompt_sft"), reference, {"slug": row.text("title"), "difficulty": str(meta.get("difficulty", ""))})


LEETCODE = CodeBenchmark(
    name="leetcode",
    description="LeetCode functions with asserts and reference solutions, without LiveCodeBench's problems",
    size=None,
    sources={
        "train": Source(stem="code/leetcodedataset_v0.2.0_train", origin="newfacade/LeetCodeDataset v0.2.0, train"),
        "test": Source(stem="code/leetcodedataset_v0.3.1_test", origin="newfacade/LeetCodeDataset v0.3.1, test"),
    },
    read=read,
    prompt_template="{problem}",
    prompt_source="the row's own query",
)
LEETCODE_CONTEST = CodeBenchmark(
    name="leetcode_contest",
    description="LeetCode contest problems, July 2023 to January 2024, a hundred tests each",
    size=178,
    sources={
        "test": Source(
            stem="code/leetcode_contest_20240121",
            origin="Evaluation/LeetCode/data/20240121-Jul.jsonl of github.com/deepseek-ai/DeepSeek-Coder",
        )
    },
    read=read_contest,
    prompt_template="{problem}",
    prompt_source="the row's own prompt_sft (deepseek-ai/DeepSeek-Coder @ 2f9fd859)",
    notes=("Overlaps LiveCodeBench v1.",),
)
