"""LiveBench coding (to 2025-04-02): LiveCodeBench problems to solve, or to finish from a partial solution.

The program is the text between the last two fence lines; a partial solution goes before it unless it is repeated. Tests are
LiveCodeBench's, in the same encoding, and are read when a problem is judged. Not covered: the tasks that replaced these from
2025-04-25 on, and agentic coding.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from ...rewards.code import extract_code
from ...rewards.errors import InputError
from ...rewards.records import Completion, Problem, Verdict
from ..coding import as_answer
from ..lcb_verifier import LiveCodeBenchVerifier
from ..rows import Row, parse_json

TASKS = ("LCB_generation", "coding_completion")


def reference(row: Row, file: Path) -> dict[str, Any]:
    """Return what the verifier needs: where the tests are, and what the model was given. Raises InputError."""
    where = f"{row.where}: field 'original_json'"
    original = _object(row.values.get("original_json"), where)
    metadata = _object(original.get("metadata") or "{}", f"{where}: metadata")
    return {
        "tests_file": str(file),
        "question_id": row.text("question_id"),
        "func_name": metadata.get("func_name"),
        "partial_solution": str(row.first("partial_solution") or ""),
    }


def _object(value: Any, where: str) -> dict[str, Any]:
    found = parse_json(value, where) if isinstance(value, str) else value
    if not isinstance(found, dict):
        raise InputError(f"{where}: expected an object")
    return found


def judge(problem: Problem, text: str, finish: str | None, rule: Literal["default", "official"]) -> Verdict:
    """Run the program of an answer on the problem's tests."""
    code, begun = extract_code(text, "last_fences"), problem.reference["partial_solution"]
    if code is None:
        cut = " (the completion was cut at its length limit)" if finish == "length" else ""
        return Verdict(reward=0.0, status="unparsed", detail=f"no complete code block in the completion{cut}")
    whole = code if not begun or code.startswith(begun) else f"{begun}\n{code}"
    pointer = {key: problem.reference[key] for key in ("tests_file", "question_id", "func_name")}
    return LiveCodeBenchVerifier(rule)(replace(problem, reference=pointer), Completion(as_answer(whole), finish=finish))
