"""Benchmarks of programs: one task, tests that run in the sandbox, judged by the `code` verifier.

The prompts are zero-shot and ask for one code block (dLLM-RL's wording); an answer that was begun for the model (a prefilled
signature) is not offered. What a test needs is said by a `CodeReference` (unmask.rewards.code), as plain data.
"""

import ast
import builtins
import warnings
from collections.abc import Iterable
from dataclasses import dataclass

from ..rewards.errors import InputError
from .rows import Row
from .rowset import RowBenchmark

ONE_BLOCK = "Place your code within a single Python code block ```python ```. Do not include more than one code block."
FUNCTION_PROMPT = "{problem}\n" + ONE_BLOCK
STDIN_PROMPT = (
    "This is the problem:\n{problem}\nYou should put your code in ```python ```. Use input() to read input and print() to "
    "produce output in your script."
)
PROMPT_SOURCE = "code prompts of TraceRL's evaluation (Gen-Verse/dLLM-RL @ 10b4fd1c), without the prefilled answer"


@dataclass(frozen=True, kw_only=True)
class CodeBenchmark(RowBenchmark):
    """A set of programming tasks."""

    verifier: str = "code"
    prompt_template: str = FUNCTION_PROMPT
    prompt_source: str = PROMPT_SOURCE
    metric: str = "pass@1"


def as_answer(code: str) -> str:
    """Return a program as a model would give it."""
    return f"```python\n{code.rstrip()}\n```"


def called_functions(tests: Iterable[str], solution: str, where: str) -> list[str]:
    """Return the functions that tests use: those that the solution defines, else all that are not built in.

    Named because a task may ask for a function with the name of a built-in one.
    """
    called = [name for test in tests for name in _calls(test, where)]
    defined = _definitions(solution)
    wanted = [name for name in called if name in defined] or [name for name in called if not hasattr(builtins, name)]
    return list(dict.fromkeys(wanted))


def statements(code: str) -> list[ast.stmt]:
    """Return the statements of a program that is read and not run. Raises ValueError when it is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of invalid escapes in other people's code
        try:
            return ast.parse(code).body
        except (SyntaxError, RecursionError) as error:
            raise ValueError(str(error)) from None


def _calls(code: str, where: str) -> list[str]:
    try:
        nodes = [node for statement in statements(code) for node in ast.walk(statement)]
    except ValueError as error:
        raise InputError(f"{where}: field 'test_list': not Python ({error})") from None
    return [node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]


def _definitions(code: str) -> set[str]:
    try:
        return {node.name for node in statements(code) if isinstance(node, ast.FunctionDef)}
    except ValueError:
        return set()


def text_list(row: Row, name: str) -> list[str]:
    """Return a non-empty list of texts. Raises InputError naming file, line and field."""
    value = row.values.get(name)
    if not isinstance(value, list) or not value:
        raise InputError(f"{row.where}: field {name!r}: expected a list that is not empty")
    if not all(isinstance(item, str) for item in value):
        raise InputError(f"{row.where}: field {name!r}: expected a list of texts")
    return value
