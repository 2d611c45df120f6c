"""The columns of a trajectory dataset: one explicit arrow schema, the same for every run.

The columns of a record (decode settings, model, events) are derived from its dataclass, so that the table and the record cannot
drift apart. `prompt`, `completion`, `reward` and `solution` are what TRL reads; `data_source`, `ability`, `reward_model` and
`extra_info` what verl reads. Not covered: which rows there are (`write`), other shapes of them (`views`).
"""

import dataclasses
import json
import types
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

import pyarrow as pa

from ...rewards.records import StepReward
from ...rewards.serde import encode
from ..records import DecodeConfig, Event, ForwardPasses, ModelInfo

_SCALARS: Mapping[Any, pa.DataType] = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}


def arrow_type(hint: Any) -> pa.DataType:
    """The arrow type of a record's annotation. What has no fixed shape (dict, Any) is JSON text."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        kinds = [arrow_type(option) for option in get_args(hint) if option is not type(None)]
        return kinds[0] if len(set(kinds)) == 1 else pa.string()
    if origin is Literal:
        return arrow_type(type(get_args(hint)[0]))
    if origin in (tuple, list):
        return pa.list_(arrow_type(get_args(hint)[0]))
    if dataclasses.is_dataclass(hint):
        return pa.struct([(name, arrow_type(kind)) for name, kind in _fields(hint).items()])
    return _SCALARS.get(hint, pa.string())


def cells(record: Any) -> dict[str, Any]:
    """A record as the value of a column of its `arrow_type`."""
    data = encode(record)
    return {name: _cell(hint, data[name]) for name, hint in _fields(type(record)).items()}


def uncells(kind: type, row: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON data that `cells` came from. A null that the record does not know (a column of another version) is left out."""
    hints = _fields(kind)
    found = {name: value for name, value in row.items() if value is not None or type(None) in get_args(hints.get(name))}
    return {name: json.loads(value) if _is_text_of(hints.get(name), value) else value for name, value in found.items()}


def _fields(kind: Any) -> dict[str, Any]:
    return {name: hint for name, hint in get_type_hints(kind).items() if get_origin(hint) is not ClassVar}


def _cell(hint: Any, value: Any) -> Any:
    as_text = value is not None and arrow_type(hint) == pa.string() and not isinstance(value, str)
    return json.dumps(value, ensure_ascii=False) if as_text else value


def _is_text_of(hint: Any, value: Any) -> bool:
    """Whether `value` is the JSON text of something that an annotation has no fixed shape for."""
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    return isinstance(value, str) and not any(option is str or get_origin(option) is Literal for option in options)


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
                ("data_revision", pa.string()),
                ("verifier", pa.string()),
                ("verifier_options", pa.string()),
                ("verifier_version", pa.string()),
                ("reference_is_json", pa.bool_()),
            ]
        ),
    ),
]

SAMPLES = pa.schema(
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
"""`completion_ids` and the lists beside it run to the end of the last block; the response is their first `length` entries."""

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
