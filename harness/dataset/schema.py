"""The columns of a trajectory dataset: one explicit arrow schema, the same for every run.

The columns of a record (decode settings, model, events) are derived from its dataclass, so that the table and the record cannot
drift apart. `prompt`, `completion`, `reward` and `solution` are what TRL reads; `data_source`, `ability`, `reward_model` and
`extra_info` what verl reads. Not covered: which rows there are (`write`), other shapes of them (`views`).
"""

import dataclasses
import json
import types
from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

import pyarrow as pa

from ...rewards.records import StepReward
from ...rewards.serde import encode
from ..records import DecodeConfig, Event, ForwardPasses, ModelInfo, Rollout

_SCALARS: Mapping[Any, pa.DataType] = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}


@cache
def arrow_type(hint: Any) -> pa.DataType:
    """The arrow type of a record's annotation. What has no fixed shape (dict, Any) is JSON text."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        kinds = [arrow_type(option) for option in get_args(hint) if option is not type(None)]
        return kinds[0] if len(set(kinds)) == 1 else pa.string()
    if origin is Literal:
        first: Any = type(get_args(hint)[0])
        return arrow_type(first)
    if origin in (tuple, list):
        return pa.list_(arrow_type(get_args(hint)[0]))
    if dataclasses.is_dataclass(hint):
        record: Any = hint
        return pa.struct([(name, arrow_type(kind)) for name, kind in _fields(record).items()])
    return _SCALARS.get(hint, pa.string())


def cells(record: Any) -> dict[str, Any]:
    """A record as the value of a column of its `arrow_type`."""
    found: dict[str, Any] = _cell(type(record), encode(record))
    return found


def uncells(kind: type, row: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON data that `cells` came from, as far as `row` has it; other columns of the row are left out.

    A null where the record holds none is a column of another version: the field's default stands for it.
    """
    return {
        name: _uncell(hint, row[name])
        for name, hint in _fields(kind).items()
        if name in row and (row[name] is not None or type(None) in get_args(hint))
    }


@cache
def _fields(kind: Any) -> dict[str, Any]:
    return {name: hint for name, hint in get_type_hints(kind).items() if get_origin(hint) is not ClassVar}


def _cell(hint: Any, value: Any) -> Any:
    hint = _present(hint)
    if value is None:
        return None
    if dataclasses.is_dataclass(hint):
        kind: Any = hint
        return {name: _cell(field, value[name]) for name, field in _fields(kind).items()}
    if item := _record_of(hint):
        return [_cell(item, entry) for entry in value]
    return json.dumps(value, ensure_ascii=False) if _is_shapeless(hint) and not isinstance(value, str) else value


def _uncell(hint: Any, value: Any) -> Any:
    hint = _present(hint)
    if value is None:
        return None
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return uncells(hint, value)
    if item := _record_of(hint):
        return [uncells(item, entry) for entry in value]
    return json.loads(value) if _is_shapeless(hint) and isinstance(value, str) else value


@cache
def _present(hint: Any) -> Any:
    """The annotation of a value that is there: T of `T | None`."""
    options = [option for option in get_args(hint) if option is not type(None)]
    return options[0] if get_origin(hint) in (Union, types.UnionType) and len(options) == 1 else hint


@cache
def _record_of(hint: Any) -> Any:
    """The dataclass whose records a list or tuple holds, or None."""
    items = get_args(hint) if get_origin(hint) in (list, tuple) else ()
    return items[0] if items and dataclasses.is_dataclass(items[0]) else None


@cache
def _is_shapeless(hint: Any) -> bool:
    """Whether an annotation has no arrow type of its own, so that its values are kept as JSON text."""
    return arrow_type(hint) == pa.string() and hint is not str and get_origin(hint) is not Literal


TURNS = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
_INTS, _FLOATS = pa.list_(pa.int32()), pa.list_(pa.float32())
_PARTS = pa.list_(pa.struct([("name", pa.string()), ("value", pa.float32())]))

FOR_VERL = [
    ("data_source", pa.string()),
    ("ability", pa.string()),
    ("reward_model", pa.struct([("style", pa.string()), ("ground_truth", pa.string())])),
    (
        "extra_info",
        pa.struct(
            [
                ("index", pa.int64()),
                ("split", pa.string()),
                ("problem_id", pa.string()),
                ("question", pa.string()),
                ("data_revision", pa.string()),
                ("verifier", pa.string()),
                ("verifier_options", pa.string()),
                ("verifier_version", pa.string()),
                ("reference_is_json", pa.bool_()),
            ]
        ),
    ),
]

_SAMPLES = pa.schema(
    [
        ("id", pa.string()),
        ("task", pa.string()),
        ("split", pa.string()),
        ("problem_id", pa.string()),
        ("cluster", pa.string()),
        ("sample", pa.int32()),
        ("seed", pa.int64()),
        ("prompt", TURNS),
        ("completion", TURNS),
        ("reward", pa.float32()),
        ("solution", pa.string()),
        ("status", pa.string()),
        ("extracted", pa.string()),
        ("expected", pa.string()),
        ("detail", pa.string()),
        ("parts", _PARTS),
        ("step_rewards", pa.list_(arrow_type(StepReward))),
        ("token_rewards", _FLOATS),
        ("finish", pa.string()),
        ("error", pa.string()),
        ("prompt_ids", _INTS),
        ("completion_ids", _INTS),
        ("length", pa.int32()),
        ("step_map", _INTS),
        ("logprobs", _FLOATS),
        ("confidences", _FLOATS),
        ("block_size", pa.int32()),
        ("block_offset", pa.int32()),
        ("forward_passes", arrow_type(ForwardPasses)),
        ("nfe", pa.int32()),
        ("events", pa.list_(arrow_type(Event))),
        ("cache", pa.string()),
        ("decode", arrow_type(DecodeConfig)),
        ("model", arrow_type(ModelInfo)),
        ("seconds", pa.float32()),
        ("verify_seconds", pa.float32()),
        *FOR_VERL,
    ]
)

RENAMED = {"token_ids": "completion_ids", "text": "completion", "detail": "error"}
"""Fields of a rollout whose columns have another name."""

_LATER = [(name, arrow_type(hint)) for name, hint in _fields(Rollout).items() if RENAMED.get(name, name) not in _SAMPLES.names]
SAMPLES = pa.schema([*_SAMPLES, *(pa.field(name, kind) for name, kind in _LATER)])
"""`completion_ids` and the lists beside it run to the end of the last block; the response is their first `length` entries. A
field that the rollout has and no column above holds gets one at the end."""

PROBLEMS = pa.schema(
    [
        ("id", pa.string()),
        ("task", pa.string()),
        ("split", pa.string()),
        ("prompt", TURNS),
        ("reference", pa.string()),
        ("metadata", pa.string()),
        ("cluster", pa.string()),
        ("verifier", pa.string()),
        ("verifier_options", pa.string()),
    ]
)
"""`reference`, `metadata` and `verifier_options` hold JSON: their shape differs between tasks."""
