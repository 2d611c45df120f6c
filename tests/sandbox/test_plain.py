"""The tagged JSON in which guests speak about values."""

import json
import math
from collections import OrderedDict, defaultdict, deque, namedtuple
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unmask.sandbox.guest import plain

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.complex_numbers(allow_nan=False)
)
HASHABLE = SCALARS | st.tuples(SCALARS, SCALARS) | st.frozensets(st.integers())
VALUES = st.recursive(
    HASHABLE | st.sets(HASHABLE),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(HASHABLE, inner),
    max_leaves=20,
)


@given(VALUES)
def test_plain_values_arrive_as_they_were(value: object) -> None:
    arrived = plain.loads(plain.dumps(value))
    assert arrived == value
    assert type(arrived) is type(value)


def test_values_that_json_does_not_know_arrive() -> None:
    for value in (Decimal("1.50"), Fraction(1, 3), range(3), deque([1]), 10**5000, -0.0, float("inf"), {1: {2: 3}}, {"t": "set"}):
        assert plain.loads(plain.dumps(value)) == value
    assert math.isnan(plain.loads(plain.dumps(float("nan"))))
    assert math.copysign(1, plain.loads(plain.dumps(-0.0))) == -1
    assert list(plain.loads(plain.dumps(x for x in "ab"))) == ["a", "b"]


def test_subclasses_become_what_they_are_underneath() -> None:
    class Liar(int):
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = int.__hash__

    point = namedtuple("point", "x y")
    for value, arrives in (
        (Liar(5), 5),
        (point(1, 2), (1, 2)),
        (OrderedDict(a=1), {"a": 1}),
        (defaultdict(list, a=[1]), {"a": [1]}),
    ):
        arrived = plain.loads(plain.dumps(value))
        assert type(arrived) is type(arrives)
        assert arrived == arrives


def test_what_is_not_plain_becomes_opaque_and_equal_to_nothing() -> None:
    class Equal:
        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 0

    for value in (Equal(), len, Equal, lambda: 0):
        arrived = plain.loads(plain.dumps(value))
        assert isinstance(arrived, plain.Opaque)
        assert not plain.loads("1") == arrived  # noqa: SIM201


@pytest.mark.parametrize(
    "text",
    [
        '{"t":"nope","v":1}', '{"v":1}', "{}", '{"t":"set","v":[[1]]}', '{"t":"dict","v":[[[1],2]]}', '{"t":"dict","v":[[1]]}',
        '{"t":"int","v":5}', '{"t":"int","v":"zz"}', '{"t":"float","v":"1"}', '{"t":"bytes","v":"x"}', '{"t":"complex","v":[1]}',
        '{"t":"range","v":[1,2,0]}', '{"t":"decimal","v":"x"}', '{"t":"fraction","v":[1,0]}', '{"t":["set"],"v":[]}',
        '{"t":"handle","v":0}', "[" * 10**5 + "]" * 10**5, "[" * 300 + "]" * 300, "1" * 5000, "nonsense", '{"t":"tuple","v":5}',
    ],
)  # fmt: skip
def test_hostile_data_is_refused_and_never_an_accident(text: str) -> None:
    with pytest.raises(plain.NotPlain):
        plain.loads(text)


def test_nesting_without_end_is_refused_when_writing() -> None:
    value: list[object] = []
    value.append(value)
    with pytest.raises(plain.NotPlain):
        plain.dumps(value)


def test_equal_sets_have_equal_text() -> None:
    assert plain.dumps({"b", "a", "c"}) == plain.dumps({"c", "b", "a"})
    assert json.loads(plain.dumps({2, 1}))["t"] == "set"
