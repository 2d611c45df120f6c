"""Reads what other frameworks hand over as our records: plain or conversational completions, references as text.

The column names are those of an exported dataset (`solution`, `problem_id`, `task`, `extra_info`, ...) and their usual
alternatives. Arrays in the place of lists (Ray, `datasets` in numpy format) are fine.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import InputError
from ..records import Completion, Message, Problem

COMPLETIONS = ("completions", "completion", "response", "solution_str", "text")
REFERENCES = ("solution", "reference", "answer", "ground_truth")
PROMPTS = ("prompts", "prompt")
IDS = ("problem_id", "id")
TASKS = ("task", "data_source")

Row = Mapping[str, Any]


def rows_of(columns: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One mapping per row of columns of equal length; what is no column (a trainer's state, a function) is left out."""
    lists = {
        name: values for name, values in columns.items() if hasattr(values, "__len__") and not isinstance(values, str | dict)
    }
    name = next((name for name in COMPLETIONS if name in lists), None)
    if name is None:
        raise InputError(f"no column of completions, looked for {', '.join(COMPLETIONS)}; there are: {', '.join(columns)}")
    count = len(lists[name])
    return [{key: values[i] for key, values in lists.items() if len(values) == count} for i in range(count)]


def completion_of(row: Row) -> Completion:
    """The completion of a row: its text, and its tokens and finish reason where they are known."""
    length = row.get("length")
    ids, steps = _whole_numbers(row.get("completion_ids"), length), _whole_numbers(row.get("step_map"), length)
    finish = row.get("finish")
    return Completion(text_of(_first(row, COMPLETIONS)), ids, steps, finish if isinstance(finish, str) else None)


def problem_of(row: Row) -> Problem:
    """The problem of a row. Raises InputError when it has no reference."""
    reference = _first(row, REFERENCES)
    extra, truth = row.get("extra_info") or {}, row.get("reward_model") or {}
    if reference is None:
        reference = truth.get("ground_truth")
    if reference is None:
        raise InputError(f"a row has no reference, looked for {', '.join(REFERENCES)} and reward_model.ground_truth")
    task, name = _first(row, TASKS) or "", _first(row, IDS) or extra.get("problem_id") or ""
    metadata = row.get("metadata")
    return Problem(
        id=str(name),
        task=str(task),
        prompt=_messages(_first(row, PROMPTS)),
        reference=read_reference(reference, extra.get("reference_is_json")),
        metadata=dict(metadata) if isinstance(metadata, Mapping) else {},
    )


def read_reference(reference: Any, is_json: bool | None = None) -> Any:
    """A reference that may have travelled as JSON text. Where nobody said so, only text of a JSON object is taken for it."""
    if not isinstance(reference, str) or is_json is False:
        return reference
    try:
        found = json.loads(reference)
    except ValueError:
        return reference
    return found if is_json or (isinstance(found, dict) and found) else reference


def text_of(completion: Any) -> str:
    """The text of a completion: itself, or the contents of the assistant's turns of a conversation."""
    if isinstance(completion, str):
        return completion
    if isinstance(completion, Mapping):
        completion = [completion]
    return "\n".join(str(turn["content"]) for turn in completion if turn.get("role", "assistant") == "assistant")


def _messages(prompt: Any) -> tuple[Message, ...]:
    if prompt is None:
        return ()
    if isinstance(prompt, str):
        return (Message("user", prompt),)
    return tuple(Message(str(turn["role"]), str(turn["content"])) for turn in prompt)


def _first(row: Row, names: Sequence[str]) -> Any:
    return next((row[name] for name in names if row.get(name) is not None), None)


def _whole_numbers(values: Any, length: Any) -> tuple[int, ...] | None:
    if values is None:
        return None
    return tuple(int(value) for value in (values if length is None else values[: int(length)]))
