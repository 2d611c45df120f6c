"""MBPP: short Python functions from a sentence and one of their tests; the full set and the sanitized one (google-research).

Splits of the full set by task id: 11 to 510 test, 1 to 10 prompt, 511 to 600 validation, 601 to 974 train. The question shows
the first test, as dLLM-RL's does (the official few-shot prompt shows all three).
"""

import ast
import builtins
from dataclasses import dataclass
from typing import Any

from ..rewards.errors import InputError
from .coding import CodeBenchmark, as_answer, called_functions, statements, text_list
from .rows import Row
from .rowset import Item
from .sources import Hub, Source

SPLITS = {"test": range(11, 511), "prompt": range(1, 11), "validation": range(511, 601), "train": range(601, 975)}
_HUB, _REVISION = "google-research-datasets/mbpp", "4bb6404fdc6cacfda99d4ac4205087b89d32030c"


def read(row: Row) -> Item:
    """Read a row of either set; they call the same things by different names."""
    tests = text_list(row, "test_list")
    solution = str(row.first("code") or "")
    imports = row.first("test_imports") or []
    setup = str(row.first("test_setup_code") or "")
    entries = called_functions(tests, solution, row.where)
    reference: dict[str, Any] = {"style": "assert", "setup": "\n".join(imports), "prelude": False}
    if setup or any(_passes_builtins(test) for test in tests):
        reference |= {"tests": [_beside_setup(test, setup, row) for test in tests], "entries": ["_run"], "prefix": _RUN}
    else:
        reference |= {"tests": tests, "entries": entries}
    question = f"{row.text('text', 'prompt')}\nYour code should pass the test:\n{tests[0]}\n"
    metadata = {"task_id": _task_id(row)}
    return Item(question, reference, metadata, as_answer(solution) if solution else None)


def _task_id(row: Row) -> int:
    number = row.text("task_id")
    if not (number.isascii() and number.isdigit()):
        raise InputError(f"{row.where}: field 'task_id': expected a number, found {number[:40]!r}")
    return int(number)


# Two tasks build trees of the candidate's own class, some pass a type: only plain data crosses to the candidate's process, so
# the call is made there. Its value still has to equal what only the tests know.
_RUN = """def _run(setup, expression):
    names = dict(globals())
    exec(setup, names)
    return eval(expression, names)

"""


def _passes_builtins(test: str) -> bool:
    nodes = (node for statement in statements(test) for node in ast.walk(statement))
    calls = (node for node in nodes if isinstance(node, ast.Call))
    return any(isinstance(argument, ast.Name) and hasattr(builtins, argument.id) for call in calls for argument in call.args)


def _beside_setup(test: str, setup: str, row: Row) -> str:
    """Return `assert call == value` with the call evaluated by the candidate, after the setup."""
    try:
        (statement,) = statements(test)
    except ValueError as error:
        raise InputError(f"{row.where}: field 'test_list': not one statement ({error})") from None
    compared = statement.test if isinstance(statement, ast.Assert) else None
    if not (isinstance(compared, ast.Compare) and len(compared.ops) == 1 and isinstance(compared.ops[0], ast.Eq)):
        raise InputError(f"{row.where}: field 'test_list': expected assert call == value beside test_setup_code")
    return f"assert _run({setup!r}, {ast.unparse(compared.left)!r}) == {ast.unparse(compared.comparators[0])}"


@dataclass(frozen=True, kw_only=True)
class FullMbpp(CodeBenchmark):
    """The full set, whose one file holds all splits."""

    def keeps(self, item: Item) -> bool:
        return item.metadata["task_id"] in SPLITS[self.split]


def _full(split: str) -> Source:
    return Source(
        stem="code/mbpp",
        hub=Hub(_HUB, _REVISION, split, ("full",)),
        embedded="mbpp.jsonl.gz",
        sha256="ccf64ceae9c5403bf50a044cb6d505bfd2a2963ee58338ba268fd65beab92a9f",
    )


MBPP = FullMbpp(
    name="mbpp",
    description="Short Python functions from a sentence and a test, the full set",
    size=500,
    sources={split: _full(split) for split in SPLITS},
    read=read,
    max_new_tokens=1024,
)
MBPP_SANITIZED = CodeBenchmark(
    name="mbpp_sanitized",
    description="Short Python functions from a sentence and a test, the part verified by its authors",
    size=257,
    sources={
        "test": Source(
            stem="code/mbpp_sanitized_test",
            hub=Hub(_HUB, _REVISION, "test", ("sanitized",)),
            embedded="mbpp_sanitized.jsonl.gz",
            sha256="ffdc47903bc8a2bcf733b2566090f1fb2324f4f1a139b1a38b4b3e3b767da8c0",
        )
    },
    read=read,
    max_new_tokens=1024,
)
