"""The verifier `json`: whether a completion holds the JSON that was asked for.

The JSON is the whole text, else the last fenced block that parses, else the last object or list in the text that does. What is
asked of it: a JSON Schema (draft 2020-12 unless `$schema` names another), some keys, or to equal or contain the reference. Text
nested deeper than `DEPTH` is `refused`. Schemas may hold regular expressions, so a schema is only judged where it can be killed.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from .errors import InputError
from .extract import after_thinking
from .limits import PoolLimits
from .options import OptionVerifier
from .records import Completion, Problem, Verdict

DEPTH = 64
LONGEST = 200_000
"""Characters of a completion beyond which nothing is parsed."""
_ATTEMPTS = 200  # places in the text at which an object or list may begin; each costs one parse
_MISSING = object()

Wanted = Literal["valid", "equal", "subset"]


@dataclass(frozen=True)
class JsonVerifier(OptionVerifier):
    """The completion is JSON as asked for.

    `reference`: what the reference has to do with it: nothing (`valid`), the same value (`equal`: the order of keys and 1
    against 1.0 do not count), or a part of it (`subset`: every key and, in lists, every item of the reference occurs).
    `schema`: a JSON Schema that it fulfils. `keys`: keys that its top level has (`a.b` for nested ones). `strict`: nothing
    stands around the JSON. With `partial`, the reward is the share of what was asked for that is fulfilled (each key, each leaf
    of the reference, the schema), else 1 or 0.
    """

    kind: ClassVar[str] = "json"

    reference: Wanted = "valid"
    schema: dict[str, Any] = field(default_factory=dict)
    keys: tuple[str, ...] = ()
    strict: bool = False
    partial: bool = False

    def check(self) -> None:
        if self.schema:
            _check_schema(self.schema)

    @property
    def limits(self) -> PoolLimits:
        """Parsing is linear; a schema's regular expressions need not be."""
        return PoolLimits(wall=20.0, cpu=3.0, memory=512 << 20)

    def __call__(self, problem: Problem, completion: Completion) -> Verdict:
        """Judge one completion. Raises InputError for a schema that is none."""
        answer = after_thinking(completion.text).strip()
        expected = None if self.reference == "valid" else json.dumps(problem.reference)[:500]
        if len(answer) > LONGEST or _depth(answer) > DEPTH:
            return Verdict(0.0, "refused", expected=expected, detail=f"beyond {LONGEST} characters or {DEPTH} levels")
        value = next(_values(answer, strict=self.strict), _MISSING)
        if value is _MISSING:
            where = "the text is not JSON" if self.strict else "no JSON in the text"
            return Verdict(0.0, "unparsed", expected=expected, detail=where)
        faults, asked = self._faults(value, problem.reference)
        share = 1 - len(faults) / asked
        reward = share if self.partial else float(not faults)
        status: Literal["correct", "partial", "wrong"] = "correct" if not faults else "partial" if reward > 0 else "wrong"
        detail = "; ".join(faults[:3]) + (f"; and {len(faults) - 3} more" if len(faults) > 3 else "")
        return Verdict(reward, status, json.dumps(value)[:500], expected, {"share": share}, detail=detail[:500])

    def gold_completion(self, problem: Problem) -> Completion:
        """Return the reference as JSON (for `validate`). Raises InputError where the reference is not what is asked for."""
        if self.reference == "valid":
            raise InputError("verifier 'json': any valid JSON passes, so there is no gold answer; set verifier.reference=equal")
        return Completion(json.dumps(problem.reference))

    def _faults(self, value: Any, reference: Any) -> tuple[list[str], int]:
        """What is not as asked, and how many things were asked for."""
        faults = [f"key {key!r} is missing" for key in self.keys if _lookup(value, key) is _MISSING]
        asked = len(self.keys)
        if self.schema:
            asked += 1
            faults += _schema_faults(self.schema, value)
        if self.reference == "equal":
            asked += 1
            faults += [] if _same(reference, value) else ["differs from the reference"]
        if self.reference == "subset":
            leaves = list(_absent("$", reference, value))
            asked += len(leaves)
            faults += [f"{path} is not as in the reference" for path, absent in leaves if absent]
        return faults, max(asked, 1)


def _values(text: str, *, strict: bool) -> Iterator[Any]:
    """Candidates for the JSON value, best first."""
    whole = _parsed(text)
    if whole is not _MISSING or strict:
        if whole is not _MISSING:
            yield whole
        return
    for block in reversed(text.split("```")[1::2]):
        value = _parsed(block.partition("\n")[2] if not block.lstrip().startswith(("{", "[")) else block)
        if value is not _MISSING:
            yield value
    decoder = json.JSONDecoder(parse_constant=_no_constant)
    yield from _embedded(text, decoder)


def _embedded(text: str, decoder: json.JSONDecoder) -> Iterator[Any]:
    """Objects and lists in running text, the last outermost one first."""
    found: list[Any] = []
    position, attempts = 0, 0
    while attempts < _ATTEMPTS and (start := _next_opening(text, position)) >= 0:
        attempts += 1
        try:
            value, position = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            position = start + 1
        else:
            found.append(value)
    yield from reversed(found)


def _next_opening(text: str, position: int) -> int:
    places = [place for place in (text.find("{", position), text.find("[", position)) if place >= 0]
    return min(places, default=-1)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return _MISSING


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _depth(text: str) -> int:
    depth = deepest = 0
    for character in text:
        if character in "{[":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "}]":
            depth = max(depth - 1, 0)
    return deepest


def _lookup(value: Any, key: str) -> Any:
    if isinstance(value, dict) and key in value:
        return value[key]
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            return _MISSING
        value = value[part]
    return value


def _same(left: Any, right: Any) -> bool:
    """Equality of JSON values; Python alone would take true for 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, float) and isinstance(right, float) and math.isinf(left):
        return left == right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_same, left, right))
    return bool(left == right)


def _absent(path: str, reference: Any, value: Any) -> Iterator[tuple[str, bool]]:
    """Every leaf of the reference and whether it is absent from `value`; an item of a list may stand anywhere in the other."""
    if isinstance(reference, Mapping) and reference:
        for key, part in reference.items():
            inside = value.get(key, _MISSING) if isinstance(value, dict) else _MISSING
            yield from _absent(f"{path}.{key}", part, inside)
    elif isinstance(reference, list) and reference:
        for index, part in enumerate(reference):
            items = value if isinstance(value, list) else []
            missing = not any(all(not absent for _, absent in _absent("", part, item)) for item in items)
            yield f"{path}[{index}]", missing
    else:
        yield path, value is _MISSING or not _same(reference, value)


def _check_schema(schema: Mapping[str, Any]) -> None:
    jsonschema = _library()
    try:
        jsonschema.validators.validator_for(schema, jsonschema.Draft202012Validator).check_schema(schema)
    except jsonschema.SchemaError as error:
        raise InputError(f"verifier 'json': option 'schema': not a JSON Schema ({error.message})") from None


def _schema_faults(schema: Mapping[str, Any], value: Any) -> list[str]:
    """At most one fault: a value that breaks a schema in many places has still not fulfilled one request."""
    import referencing

    jsonschema = _library()
    kind = jsonschema.validators.validator_for(schema, jsonschema.Draft202012Validator)
    # An empty registry: references to other documents are never fetched.
    first = next(kind(schema, registry=referencing.Registry()).iter_errors(value), None)
    return [] if first is None else [f"{first.json_path}: {first.message}"]


def _library() -> Any:
    try:
        import jsonschema
    except ImportError:
        raise InputError("verifier 'json': option 'schema' needs jsonschema: `pip install unmask[json]`") from None
    return jsonschema
