"""Rows of coding problems as others write them: dLLM-RL's JSON, PrimeIntellect's verified problems, SandboxFusion's samples.

- dLLM-RL: `question`, `test_method` "function" (`test_list`: check scripts, `prefix`: the answer begun for the model) or "stdio"
  (`test_input`, `test_output`), `test_time_limit` in seconds. stdout is compared token by token, as there.
- PrimeIntellect/verifiable-coding-problems: `prompt`, `gold_standard_solution`, `verification_info` (JSON text with `language`
  and `test_cases` of type "stdin_stdout" or "function_call").
- SandboxFusion: `content`, and `test`: JSON text with a list of {"input": {"stdin"}, "output": {"stdout"}}, or assert statements.

Not covered: languages other than Python, tests with files. The time limit is CPU time of the program; there it includes the start
of the interpreter, so that scores fall with machine load.
"""

import ast
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..rewards.errors import InputError
from .coding import (
    FUNCTION_PROMPT,
    PROMPT_SOURCE,
    STDIN_PROMPT,
    CodeBenchmark,
    as_answer,
    called_functions,
    statements,
    text_list,
)
from .rows import Row, parse_json
from .rowset import Item
from .sources import Source

_FENCE = re.compile(r"```python\n")


def is_code_row(row: Row) -> bool:
    """Tell whether a row is a coding problem in one of the formats."""
    return "test_method" in row.values or "verification_info" in row.values or {"content", "test"} <= row.values.keys()


def read(row: Row) -> Item:
    """Read a row of any of the formats."""
    if "test_method" in row.values:
        return _dllm_rl(row)
    return _prime_intellect(row) if "verification_info" in row.values else _sandbox_fusion(row)


def benchmark(data: Path, name: str, **options: Any) -> CodeBenchmark:
    """Return the rows of `data` as a benchmark."""
    return CodeBenchmark(
        name=name,
        description=f"Coding problems of {data}",
        size=None,
        sources={"all": Source(stem=data.stem)},
        read=read,
        data=data,
        **{"prompt_template": "{problem}", "prompt_source": PROMPT_SOURCE, **options},
    )


def _dllm_rl(row: Row) -> Item:
    method = row.text("test_method")
    if method not in ("function", "stdio"):
        raise InputError(f"{row.where}: field 'test_method': {method!r} is neither function nor stdio")
    limits = {"cpu_seconds": _seconds(row)}
    question = row.text("question")
    if method == "stdio":
        tests = _pairs(row, text_list(row, "test_input"), text_list(row, "test_output"))
        reference: dict[str, Any] = {"style": "stdin", "tests": tests, "compare": "tokens", "limits": limits}
        return Item(STDIN_PROMPT.replace("{problem}", question), reference, {"test_method": method})
    prefix = str(row.first("prefix") or "")
    begun = _FENCE.split(prefix, maxsplit=1)[-1] if _FENCE.search(prefix) else ""
    reference = {
        "style": "assert",
        "tests": text_list(row, "test_list"),
        "prefix": begun,
        "entry": _entry(begun),
        "limits": limits,
        "prelude": False,
    }
    return Item(FUNCTION_PROMPT.replace("{problem}", question), reference, {"test_method": method})


def _entry(begun: str) -> str:
    """Return the last function of a begun answer: the one to complete."""
    names = re.findall(r"^def\s+(\w+)", begun, re.M)
    return names[-1] if names else ""


def _seconds(row: Row) -> float:
    limit = row.first("test_time_limit")
    if limit is None:
        return 1.0
    if not isinstance(limit, int | float) or isinstance(limit, bool) or not 0 < limit <= 600:
        raise InputError(f"{row.where}: field 'test_time_limit': expected seconds, found {limit!r}")
    return float(limit)


def _pairs(row: Row, inputs: Sequence[str], outputs: Sequence[str]) -> list[dict[str, str]]:
    if len(inputs) != len(outputs):
        raise InputError(f"{row.where}: field 'test_output': {len(outputs)} outputs for {len(inputs)} inputs")
    return [{"input": one, "output": other} for one, other in zip(inputs, outputs, strict=True)]


def _prime_intellect(row: Row) -> Item:
    where = f"{row.where}: field 'verification_info'"
    info = row.values["verification_info"]
    info = parse_json(info, where) if isinstance(info, str) else info
    cases = info.get("test_cases") if isinstance(info, dict) else None
    if not isinstance(cases, list) or not cases or not all(isinstance(case, dict) for case in cases):
        raise InputError(f"{where}: expected an object with test_cases that are not empty")
    if info.get("language", "python") != "python":
        raise InputError(f"{where}: language {info['language']!r}; only Python programs can be judged")
    solution = row.first("gold_standard_solution")
    gold = None if not solution else str(solution) if "```" in str(solution) else as_answer(str(solution))
    return Item(row.text("prompt"), _reference(cases, where), {}, gold)


def _reference(cases: list[dict[str, Any]], where: str) -> dict[str, Any]:
    kinds = {case.get("type") for case in cases}
    if kinds == {"stdin_stdout"}:
        tests = [{"input": _text(case, "input", where), "output": _text(case, "output", where)} for case in cases]
        return {"style": "stdin", "tests": tests}
    names = {case.get("fn_name") for case in cases}
    if kinds == {"function_call"} and len(names) == 1 and None not in names:
        calls = [{"arguments": _list(case, "input", where), "value": _value(case.get("output"))} for case in cases]
        return {"style": "call", "entry": names.pop(), "tests": calls}
    raise InputError(f"{where}: test types {sorted(map(str, kinds))}: expected stdin_stdout, or function_call of one fn_name")


def _sandbox_fusion(row: Row) -> Item:
    test, content = row.text("test"), row.text("content")
    where = f"{row.where}: field 'test'"
    if not test.lstrip().startswith("["):
        return Item(FUNCTION_PROMPT.replace("{problem}", content), _asserts(test, row), {})
    cases = parse_json(test, where)
    if not cases or not all(isinstance(case, dict) for case in cases):
        raise InputError(f"{where}: expected a list of tests that is not empty")
    inputs, outputs = ([case.get(side) or {} for case in cases] for side in ("input", "output"))
    tests = [
        {"input": _text(one, "stdin", where), "output": _text(other, "stdout", where)}
        for one, other in zip(inputs, outputs, strict=True)
    ]
    return Item(STDIN_PROMPT.replace("{problem}", content), {"style": "stdin", "tests": tests}, {})


def _asserts(test: str, row: Row) -> dict[str, Any]:
    try:
        tests = [ast.unparse(statement) for statement in statements(test)]
    except ValueError as error:
        raise InputError(f"{row.where}: field 'test': neither JSON nor Python ({error})") from None
    return {"style": "assert", "tests": tests, "entries": called_functions(tests, "", row.where), "prelude": False}


def _text(case: dict[str, Any], key: str, where: str) -> str:
    value = case.get(key)
    if not isinstance(value, str):
        raise InputError(f"{where}: {key!r} of a test should be text")
    return value


def _list(case: dict[str, Any], key: str, where: str) -> list[Any]:
    value = case.get(key)
    if not isinstance(value, list):
        raise InputError(f"{where}: {key!r} of a function call should be a list of arguments")
    return value


def _value(output: Any) -> Any:
    """An expected value stands alone, or (as in APPS) in a list of one."""
    return output[0] if isinstance(output, list) and len(output) == 1 else output
