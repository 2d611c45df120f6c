"""Records: what is written is read back, and what is wrong is named with file, line and field."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unmask.rewards.errors import InputError
from unmask.rewards.records import Message, Problem, StepReward, Verdict
from unmask.rewards.serde import decode, dumps, encode, read_jsonl

PROBLEM = Problem("p1", "arith", (Message("user", "1+1?"),), "2", {"level": 1})


def test_records_survive_writing_and_reading() -> None:
    verdict = Verdict(0.5, "partial", "1", "2", {"a": 0.5}, (StepReward(0, 3, -1.0),), 0.01, "half")
    for record in (PROBLEM, verdict):
        assert decode(type(record), json.loads(dumps(record)), "here") == record


@given(st.text(), st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False)))
def test_any_text_and_any_number_survive(text: str, parts: dict[str, float]) -> None:
    verdict = Verdict(1.0, "correct", extracted=text, parts=parts)
    assert decode(Verdict, json.loads(dumps(verdict)), "here") == verdict


def test_a_cluster_defaults_to_the_id() -> None:
    assert PROBLEM.cluster == "p1"


def test_the_schema_version_is_written_and_checked() -> None:
    data = encode(PROBLEM)
    assert data["schema"] == 1
    with pytest.raises(InputError, match="'schema'"):
        decode(Problem, {**data, "schema": 2}, "here")


BAD: list[tuple[dict[str, Any], str]] = [
    ({"reward": "high"}, "'reward': expected a finite number, found 'high'"),
    ({"reward": None}, "'reward': is None with status 'correct'"),
    ({"status": "corect"}, "'status'.*did you mean 'correct'"),
    ({"statsu": "correct"}, "'statsu': not a field of Verdict .did you mean 'status'"),
    ({"seconds": True}, "'seconds'"),
    ({"parts": {"a": "b"}}, r"'parts\.a'"),
    ({"step_rewards": [{"start": 0, "end": 1}]}, r"step_rewards\[0\].*'value': missing"),
    ({"extracted": 5}, "'extracted': expected text"),
]


@pytest.mark.parametrize(("change", "names"), BAD)
def test_a_malformed_line_names_file_line_and_field(change: dict[str, Any], names: str, tmp_path: Path) -> None:
    good = {"reward": 1.0, "status": "correct"}
    file = tmp_path / "v.jsonl"
    file.write_text("\n".join(json.dumps(line) for line in (good, {**good, **change})) + "\n")
    with pytest.raises(InputError, match=rf"v\.jsonl, line 2.*{names}"):
        list(read_jsonl(file, Verdict))


def test_a_line_that_is_no_json_or_no_utf8_is_named(tmp_path: Path) -> None:
    file = tmp_path / "v.jsonl"
    file.write_bytes(b"{\n")
    with pytest.raises(InputError, match="line 1: not valid JSON"):
        list(read_jsonl(file, Verdict))
    file.write_bytes(b'{"reward": 1, "status": "\xff"}\n')
    with pytest.raises(InputError, match="line 1: not UTF-8"):
        list(read_jsonl(file, Verdict))


def test_a_torn_tail_is_dropped_only_when_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "v.jsonl"
    file.write_text('{"reward": 1.0, "status": "correct"}\n{"reward": 1.0, "sta')
    assert len(list(read_jsonl(file, Verdict, torn_tail=True))) == 1
    with pytest.raises(InputError, match="line 2"):
        list(read_jsonl(file, Verdict))


def test_numbers_that_are_not_finite_are_never_written() -> None:
    with pytest.raises(ValueError, match="JSON"):
        dumps(Verdict(float("inf"), "partial"))
