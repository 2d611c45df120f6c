"""Strict (de)serialisation of frozen dataclasses: plain JSON data in, validated records out.

`decode` checks every field against its annotation and says which field is wrong; `read_jsonl` adds the file and the line.
Covered: str, int, float, bool, None, Any, Literal, unions, list, tuple, dict with string keys, nested dataclasses. Not
covered: anything else; an annotation that is not understood is a programming error and raises TypeError. Values are never
coerced, except an int where a float is asked for.
"""

import dataclasses
import json
import math
import types
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import orjson

from .errors import InputError, nearest

T = TypeVar("T")


def encode(value: Any) -> Any:
    """Return `value` as JSON data: dataclasses become dicts (with their `schema` version, if they have one)."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if dataclasses.is_dataclass(kind):
        version = getattr(value, "schema", None)
        out = {} if version is None else {"schema": version}
        for name, plain in _names(kind):
            item = getattr(value, name)
            out[name] = list(item) if plain else encode(item)
        return out
    if isinstance(value, Mapping):
        return {key: encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    return value


_PLAIN = {str, int, float, bool, type(None)}


@cache
def _names(kind: Any) -> tuple[tuple[str, bool], ...]:
    """The fields of a dataclass, and which of them are tuples of numbers: long ones, whose elements need no call each."""
    hints = _hints(kind)
    return tuple((field.name, hints[field.name] in (tuple[int, ...], tuple[float, ...])) for field in dataclasses.fields(kind))


def dumps(value: Any) -> str:
    """Encode `value` as JSON. Raises ValueError where a number is not finite."""
    return dump_line(value)[:-1].decode()


def dump_line(value: Any) -> bytes:
    """Encode `value` as one line of JSON in UTF-8, with its newline. Raises ValueError where a number is not finite."""
    data = encode(value)
    _check_finite(data)
    try:
        return orjson.dumps(data, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # half a surrogate pair, or an integer beyond 64 bits: rare, and the slower way knows them
        return json.dumps(data, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _check_finite(data: Any) -> None:
    """JSON has no word for NaN and the infinities, and orjson would write null."""
    if isinstance(data, float):
        if not math.isfinite(data):
            raise ValueError(f"JSON cannot hold {data}")
    elif isinstance(data, dict):
        for item in data.values():
            _check_finite(item)
    elif isinstance(data, list) and not _sums_up(data):
        for item in data:
            _check_finite(item)


def _sums_up(values: list[Any]) -> bool:
    """Whether these are numbers with a finite sum: then each is finite, which is told faster than one by one."""
    try:
        return math.isfinite(sum(values))
    except (TypeError, OverflowError):
        return False


def decode(kind: type[T], data: Any, where: str) -> T:
    """Build the dataclass `kind` from JSON data. Raises InputError naming `where` and the field."""
    if not isinstance(data, Mapping):
        raise InputError(f"{where}: expected an object for {kind.__name__}, found {_describe(data)}")
    data = dict(data)
    version = getattr(kind, "schema", None)
    if version is not None and data.pop("schema", version) != version:
        raise InputError(f"{where}: field 'schema': this unmask reads {kind.__name__} version {version}; the record has another")
    hints: dict[str, Any] = _hints(kind)  # type: ignore[arg-type]
    for key in data:
        if key not in hints:
            raise InputError(f"{where}: field {key!r}: not a field of {kind.__name__}{nearest(str(key), hints)}")
    values = {}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        if field.name in data:
            values[field.name] = _convert(hints[field.name], data[field.name], where, field.name)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise InputError(f"{where}: field {field.name!r}: missing")
    try:
        return kind(**values)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def convert(hint: Any, value: Any, where: str, field: str) -> Any:
    """Check one value against an annotation and return it in the record's own types. Raises InputError."""
    return _convert(hint, value, where, field)


def read_jsonl(path: Path, kind: type[T], *, torn_tail: bool = False) -> Iterator[T]:
    """Yield one record per line of `path`. With `torn_tail`, a last line without newline (a torn write) is dropped."""
    for number, line in _lines(path, torn_tail):
        where = f"{path}, line {number}"
        try:
            data = json.loads(line)
        except ValueError as error:
            raise InputError(f"{where}: not valid JSON ({error})") from None
        yield decode(kind, data, where)


def _lines(path: Path, torn_tail: bool) -> Iterator[tuple[int, str]]:
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            if torn_tail and not raw.endswith(b"\n"):
                return
            if not raw.strip():
                continue
            try:
                yield number, raw.decode("utf-8")
            except UnicodeDecodeError as error:
                raise InputError(f"{path}, line {number}: not UTF-8 ({error.reason} at byte {error.start})") from None


@cache
def _hints(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {name: hint for name, hint in hints.items() if get_origin(hint) is not ClassVar}


def _convert(hint: Any, value: Any, where: str, field: str) -> Any:
    if hint is Any or (hint is type(value) and hint in (str, int, bool)):
        return value
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return _convert_union(hint, value, where, field)
    if origin is Literal:
        if value in get_args(hint) and isinstance(value, type(get_args(hint)[0])):
            return value
        known = ", ".join(map(str, get_args(hint)))
        raise InputError(
            f"{where}: field {field!r}: {value!r} is not one of {known}{nearest(str(value), map(str, get_args(hint)))}"
        )
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return decode(hint, value, f"{where}: field {field!r}") if not isinstance(value, hint) else value
    if origin in (list, tuple):
        return _convert_sequence(hint, value, where, field)
    if origin is dict or hint is dict:
        return _convert_dict(hint, value, where, field)
    return _convert_scalar(hint, value, where, field)


def _convert_union(hint: Any, value: Any, where: str, field: str) -> Any:
    options = get_args(hint)
    if value is None and type(None) in options:
        return None
    rest = [option for option in options if option is not type(None)]
    if len(rest) == 1:
        return _convert(rest[0], value, where, field)
    for option in rest:
        try:
            return _convert(option, value, where, field)
        except InputError:
            continue
    raise InputError(f"{where}: field {field!r}: expected {_name(hint)}, found {_describe(value)}")


def _convert_sequence(hint: Any, value: Any, where: str, field: str) -> Any:
    if not isinstance(value, list | tuple):
        raise InputError(f"{where}: field {field!r}: expected a list, found {_describe(value)}")
    origin, args = get_origin(hint), get_args(hint)
    if origin is tuple and (len(args) != 2 or args[1] is not Ellipsis):
        if len(args) != len(value):
            raise InputError(f"{where}: field {field!r}: expected {len(args)} values, found {len(value)}")
        return tuple(_convert(arg, item, where, f"{field}[{i}]") for i, (arg, item) in enumerate(zip(args, value, strict=True)))
    fast = _all_of(args[0], value)
    items = value if fast else [_convert(args[0], item, where, f"{field}[{i}]") for i, item in enumerate(value)]
    return tuple(items) if origin is tuple else list(items)


def _all_of(hint: Any, values: Any) -> bool:
    """Whether these are plain numbers of one kind: long lists of them need no call per element."""
    if hint is int:
        return set(map(type, values)) <= {int}
    if hint is float:
        return set(map(type, values)) <= {float} and _sums_up(values)
    return False


def _convert_dict(hint: Any, value: Any, where: str, field: str) -> Any:
    if not isinstance(value, Mapping):
        raise InputError(f"{where}: field {field!r}: expected an object, found {_describe(value)}")
    args = get_args(hint) or (str, Any)
    return {_convert(args[0], key, where, field): _convert(args[1], item, where, f"{field}.{key}") for key, item in value.items()}


def _convert_scalar(hint: Any, value: Any, where: str, field: str) -> Any:
    if hint is float:
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    elif hint in (int, str, bool, type(None)):
        if type(value) is hint:
            return value
    else:
        raise TypeError(f"records cannot hold a field of type {hint!r} (field {field!r})")
    raise InputError(f"{where}: field {field!r}: expected {_name(hint)}, found {_describe(value)}")


_NAMES = {int: "an integer", float: "a finite number", str: "text", bool: "true or false", type(None): "nothing"}


def _name(hint: Any) -> str:
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(_name(option) for option in get_args(hint))
    return _NAMES.get(hint, getattr(hint, "__name__", str(hint)))


def _describe(value: Any) -> str:
    if value is None:
        return "nothing"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
