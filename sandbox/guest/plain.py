"""Plain data as tagged JSON: the only language in which a guest speaks about values.

`encode` looks at exact types, so a value with an `__eq__` or `__class__` of its own becomes what it is underneath or an
`opaque` tag, and nothing of its code travels. `decode` builds None, bool, int, float, complex, str, bytes, list, tuple,
set, frozenset, dict, deque, range, Decimal, Fraction and iterators of these; it never imports, looks up or calls what the
data names. Not covered: objects of classes, cycles, nesting beyond 200.
"""

import json
from collections import deque
from collections.abc import Iterator, Mapping, Set
from decimal import Decimal
from fractions import Fraction
from itertools import islice
from typing import Any

_DEPTH = 200
_LONGEST_ITERATOR = 1_000_000
_PLAIN_INT = 1 << 53
_SEQUENCES: dict[Any, Any] = {"tuple": tuple, "set": set, "frozenset": frozenset, "deque": deque, "iterator": iter}
_LAZY = {"generator", "map", "filter", "zip", "enumerate", "reversed", "list_iterator", "tuple_iterator", "range_iterator",
         "list_reverseiterator", "str_iterator", "set_iterator", "dict_keyiterator", "dict_itemiterator", "chain", "islice",
         "dict_keys", "dict_values", "dict_items"}  # fmt: skip


# What a process may put in for values that are not plain: `encode` returns JSON data or None, `decode` a value for a tag
# "handle". The assert style uses it for objects that stay in the candidate's process.
hooks: dict[str, Any] = {"encode": lambda value: None, "decode": None}


class NotPlain(ValueError):  # noqa: N818 - it names the property that the value lacks
    """The value, or the data, is not plain."""


class Opaque:
    """Stands for a value that is not plain. Equal to nothing but itself."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __repr__(self) -> str:
        return f"<{self.kind}>"


def dumps(value: Any) -> str:
    """Return `value` as one line of JSON. Raises NotPlain when it is nested too deeply."""
    return json.dumps(encode(value), separators=(",", ":"))


def loads(text: str | bytes) -> Any:
    """Return the value that `dumps` wrote. Raises NotPlain for anything else."""
    try:
        return decode(json.loads(text))
    except (ValueError, RecursionError, TypeError, ArithmeticError, LookupError, AttributeError) as error:
        raise NotPlain(f"not plain data: {error}") from None


def encode(value: Any, depth: int = 0) -> Any:
    """Return JSON data for `value`."""
    if depth > _DEPTH:
        raise NotPlain(f"nested more than {_DEPTH} deep")
    if value is None or value is True or value is False:
        return value
    for kind, encoder in _ENCODERS:
        if isinstance(value, kind):
            return encoder(value, depth + 1)
    return _encode_other(value, depth + 1)


def _encode_int(value: int, depth: int) -> Any:
    number = int.__pos__(value)
    return number if -_PLAIN_INT < number < _PLAIN_INT else {"t": "int", "v": hex(number)}


def _encode_float(value: float, depth: int) -> Any:
    number = float.__pos__(value)
    return number if number - number == 0 else {"t": "float", "v": repr(number)}


def _encode_list(value: list[Any], depth: int) -> Any:
    return [encode(item, depth) for item in list.__iter__(value)]


def _tagged(name: str) -> Any:
    def encoder(value: Any, depth: int) -> Any:
        return {"t": name, "v": [encode(item, depth) for item in value]}

    return encoder


def _encode_dict(value: dict[Any, Any], depth: int) -> Any:
    return {"t": "dict", "v": [[encode(key, depth), encode(item, depth)] for key, item in dict.items(value)]}


def _encode_set(name: str) -> Any:
    def encoder(value: Any, depth: int) -> Any:
        items = [encode(item, depth) for item in value]
        return {"t": name, "v": sorted(items, key=lambda item: json.dumps(item))}  # equal sets, equal text

    return encoder


_ENCODERS: list[tuple[type, Any]] = [
    (int, _encode_int),
    (float, _encode_float),
    (str, lambda value, depth: value if type(value) is str else "".join(list(str.__iter__(value)))),
    (list, _encode_list),
    (tuple, _tagged("tuple")),
    (dict, _encode_dict),
    (set, _encode_set("set")),
    (frozenset, _encode_set("frozenset")),
    (bytes, lambda value, depth: {"t": "bytes", "v": bytes.hex(value)}),
    (bytearray, lambda value, depth: {"t": "bytes", "v": bytearray.hex(value)}),
    (complex, lambda value, depth: {"t": "complex", "v": [encode(value.real, depth), encode(value.imag, depth)]}),
    (deque, _tagged("deque")),
    (range, lambda value, depth: {"t": "range", "v": [value.start, value.stop, value.step]}),
    (Decimal, lambda value, depth: {"t": "decimal", "v": str(value)}),
    (Fraction, lambda value, depth: {"t": "fraction", "v": [encode(value.numerator), encode(value.denominator)]}),
]


def _encode_other(value: Any, depth: int) -> Any:
    module = type(value).__module__
    if module == "numpy" and hasattr(value, "tolist"):
        return encode(value.tolist(), depth)
    if (type(value).__name__ in _LAZY and isinstance(value, (Iterator, Mapping, Set))) or type(value).__name__ == "dict_values":
        items = list(islice(iter(value), _LONGEST_ITERATOR + 1))
        if len(items) > _LONGEST_ITERATOR:
            raise NotPlain(f"an iterator of more than {_LONGEST_ITERATOR} items")
        return {"t": "iterator", "v": [encode(item, depth) for item in items]}
    return hooks["encode"](value) or {"t": "opaque", "v": str(type(value).__name__)[:100]}


def decode(data: Any, depth: int = 0) -> Any:
    """Build the value from JSON data. Raises ValueError or TypeError when the data is not what `encode` writes."""
    if depth > _DEPTH:
        raise NotPlain(f"nested more than {_DEPTH} deep")
    if isinstance(data, list):
        return [decode(item, depth + 1) for item in data]
    if not isinstance(data, dict):
        return data
    tag, value = data.get("t"), data.get("v")
    if tag in _SEQUENCES and isinstance(value, list):
        return _SEQUENCES[tag](decode(item, depth + 1) for item in value)
    if tag == "dict" and isinstance(value, list):
        return {decode(key, depth + 1): decode(item, depth + 1) for key, item in value}
    if tag == "handle" and hooks["decode"] is not None:
        return hooks["decode"](value)
    if tag in _SCALARS:
        return _SCALARS[tag](value, depth + 1)
    raise NotPlain(f"unknown tag {str(tag)[:20]!r}")


def _decode_decimal(value: Any, depth: int) -> Decimal:
    if not isinstance(value, str) or len(value) > 400:
        raise NotPlain("not a decimal of at most 400 characters")
    return Decimal(value)


def _decode_float(value: Any, depth: int) -> float:
    if value not in ("nan", "inf", "-inf"):
        raise NotPlain("not a float")
    return float(value)


_SCALARS: dict[Any, Any] = {
    "int": lambda value, depth: int(value, 16),
    "float": _decode_float,
    "bytes": lambda value, depth: bytes.fromhex(value),
    "complex": lambda value, depth: complex(decode(value[0], depth), decode(value[1], depth)),
    "range": lambda value, depth: range(*map(int, value[:3])),
    "decimal": _decode_decimal,
    "fraction": lambda value, depth: Fraction(decode(value[0], depth), decode(value[1], depth)),
    "opaque": lambda value, depth: Opaque(str(value)[:100]),
}
