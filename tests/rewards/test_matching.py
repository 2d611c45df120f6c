"""`exact`, `choice`, `numeric`, `regex` and `json`: what they accept, what they do not, and what they call it."""

import json
import time
from typing import Any

import pytest
from unmask.rewards import Completion, InputError, PoolLimits, Problem, Verdict, VerifierPool, load_verifier


def judge(name: str, text: str, gold: Any, metadata: dict[str, Any] | None = None, **options: Any) -> Verdict:
    return load_verifier(name, **options)(Problem("p", "t", (), gold, metadata or {}), Completion(text))


@pytest.mark.parametrize(
    ("text", "options", "status"),
    [
        ("  Paris\n", {}, "correct"),
        ("<think>London</think> Paris", {}, "correct"),
        ("New   York", {}, "wrong"),
        ("paris", {}, "wrong"),
        ("paris", {"ignore_case": True}, "correct"),
        ("It is\nParis", {"find": "line"}, "correct"),
        (r"so \boxed{Paris}", {"find": "boxed"}, "correct"),
        ("so <answer> Paris </answer>.", {"find": "tag"}, "correct"),
        ("<answer>Paris", {"find": "tag"}, "unparsed"),
        ("", {}, "unparsed"),
    ],
)
def test_an_exact_answer_is_the_reference_and_nothing_else(text: str, options: dict[str, Any], status: str) -> None:
    assert judge("exact", text, "Paris", **options).status == status


def test_any_of_several_references_will_do_and_spaces_inside_count_only_if_asked() -> None:
    assert judge("exact", "NYC", ["New York", "NYC"]).reward == 1.0
    assert judge("exact", "New   York", ["New York"]).reward == 1.0
    assert judge("exact", "New   York", ["New York"], collapse=False).reward == 0.0


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("The answer is (B) because it rains.", "B"),
        ("The answer is B because it rains.", "B"),
        (r"\boxed{\text{B}}", "B"),
        (r"The answer is \textbf{(B)} 12", "B"),
        ("B. Paris", "B"),
        ("**B**", "B"),
        ("It is not A.\nAnswer: B", "B"),
        ("<think>The answer is A.</think>\nB", "B"),
        ("I think a lot about it.", None),
        ("A or B", None),
        ("The answer is A lot of water.", None),
        (r"\boxed{K}", None),
    ],
)
def test_a_choice_is_a_letter_that_is_announced_and_not_a_word(text: str, chosen: str | None) -> None:
    assert judge("choice", text, "B").extracted == chosen


def test_the_text_of_an_option_is_as_good_as_its_letter() -> None:
    options = {"choices": ["London", "Paris", "Rome"]}
    assert judge("choice", "The answer is Paris.", "(B)", options).status == "correct"
    assert judge("choice", "The answer is Rome.", "(B)", options).status == "wrong"


@pytest.mark.parametrize(
    "text", ["0.5", "1/2", r"\boxed{\frac12}", "50%", "the answer is 5e-1.", "so $0.50$", r"x = 2^{-1}", "0.5 metres"]
)
def test_a_number_is_recognised_in_any_notation(text: str) -> None:
    assert judge("numeric", text, "0.5").status == "correct"


def test_a_tolerance_is_absolute_or_relative_and_its_bound_is_exact() -> None:
    assert judge("numeric", "10.1", 10, absolute=0.1).status == "correct"
    assert judge("numeric", "10.1000000000000000001", 10, absolute=0.1).status == "wrong"
    assert judge("numeric", "-99", -100, relative=0.01).status == "correct"
    assert judge("numeric", "101.5", 100, relative=0.01).status == "wrong"
    assert "off by 1.5" in judge("numeric", "101.5", 100, relative=0.01).detail


@pytest.mark.parametrize(
    ("text", "status"),
    [("no idea", "unparsed"), (r"\boxed{3 or so}", "unparsed"), (r"\boxed{9^{9^{9^9}}}", "refused"), (r"\boxed{x}", "unparsed")],
)
def test_what_is_no_number_has_a_status_of_its_own(text: str, status: str) -> None:
    started = time.process_time()
    assert judge("numeric", text, 3).status == status
    assert time.process_time() - started < 1


def test_a_pattern_is_searched_matched_in_full_or_has_to_be_absent() -> None:
    assert judge("regex", "abc 42", r"\d+").extracted == "42"
    assert judge("regex", "abc 42", "", pattern=r"\d+", mode="full").status == "wrong"
    assert judge("regex", " 42\n", "", pattern=r"\d+", mode="full").status == "correct"
    assert judge("regex", "as an AI model", "", pattern="AS AN AI", flags="i", mode="absent").status == "wrong"
    assert judge("regex", "<think>42</think>", "", pattern=r"\d+", thinking=False).status == "wrong"


def test_the_last_match_can_be_compared_with_the_reference() -> None:
    options: dict[str, Any] = {"pattern": r"total: (\d+)", "compare": True}
    assert judge("regex", "total: 7, total: 8", "8", **options).status == "correct"
    assert judge("regex", "total: 8, total: 7", "8", **options).extracted == "7"
    assert judge("regex", "8", "8", **options).status == "unparsed"


def test_a_pattern_that_runs_away_costs_one_item_and_never_the_host() -> None:
    verifier = load_verifier("regex", pattern=r"(a+)+$")
    with VerifierPool(verifier, workers=1, limits=PoolLimits(wall=20.0, cpu=0.3)) as pool:
        runaway = pool.submit(Problem("p", "t", (), ""), Completion("a" * 60 + "b"))
        fine = pool.submit(Problem("p", "t", (), ""), Completion("aaa"))
        assert runaway.result(60).status == "verifier_error"
        assert fine.result(60).status == "correct"


SCHEMA = {"type": "object", "properties": {"age": {"type": "integer", "minimum": 0}}, "required": ["age"]}


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ('{"age": 3}', "correct"),
        ('Here it is:\n```json\n{"age": 3}\n```\nBye.', "correct"),
        ('It is {"age": 3}, I think.', "correct"),
        ('First {"age": -1}, no: {"age": 3}', "correct"),
        ('{"age": -3}', "wrong"),
        ('{"age": NaN}', "unparsed"),
        ("[" * 5000, "refused"),
        ("no json", "unparsed"),
    ],
)
def test_json_is_found_in_the_text_and_checked_against_a_schema(text: str, status: str) -> None:
    assert judge("json", text, None, schema=SCHEMA).status == status


def test_json_has_to_hold_keys_or_the_reference_and_partly_is_a_share() -> None:
    assert judge("json", '{"a": {"b": 1}}', None, keys=("a.b", "c"), partial=True).reward == 0.5
    gold = {"name": "Ana", "tags": [1, 2]}
    assert judge("json", json.dumps(gold | {"more": 0}), gold, reference="subset").status == "correct"
    assert judge("json", json.dumps(gold | {"more": 0}), gold, reference="equal").status == "wrong"
    half = judge("json", '{"name": "Ben", "tags": [2, 1, 3]}', gold, reference="subset", partial=True)
    assert half.status == "partial"
    assert "$.name" in half.detail
    assert judge("json", '{"flag": 1}', {"flag": True}, reference="equal").status == "wrong"


def test_a_strict_json_answer_has_nothing_around_it() -> None:
    assert judge("json", 'So: {"age": 3}', None, strict=True).status == "unparsed"


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("exact", {"ignorecase": True}, "did you mean 'ignore_case'"),
        ("exact", {"find": "box"}, "did you mean 'boxed'"),
        ("numeric", {"absolute": "much"}, "field 'absolute': expected a finite number"),
        ("numeric", {"absolute": -1}, "option 'absolute' is -1.0; it must be 0 or more"),
        ("choice", {"choices": 40}, "between 2 and 10"),
        ("regex", {"pattern": "("}, "no regular expression"),
        ("regex", {"pattern": "a", "flags": "q"}, "letters among"),
        ("json", {"schema": {"type": "integre"}}, "not a JSON Schema"),
    ],
)
def test_a_wrong_option_is_one_line_that_helps(name: str, options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError) as caught:
        load_verifier(name, **options)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "reference"), [("exact", 3), ("exact", []), ("choice", "Z"), ("numeric", "many"), ("numeric", True), ("regex", 3)]
)
def test_a_reference_that_the_verifier_cannot_use_is_bad_input(name: str, reference: Any) -> None:
    with pytest.raises(InputError, match="problem 'p'"):
        judge(name, "3", reference)


def test_verdicts_under_other_options_have_another_version() -> None:
    versions = {load_verifier("numeric", absolute=value).version for value in (0.0, 0.1, 0.2)}
    assert len(versions) == 3
    assert load_verifier("numeric").version == load_verifier("numeric", absolute=0).version
