"""`format`, `length` and `repetition`: rewards for the form of a completion."""

import pytest
from unmask.rewards import Completion, InputError, Problem, load_verifier

PROBLEM = Problem("p", "t", (), None)
GOOD = "<think>2+2</think>\nIt is \\boxed{4}."


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (GOOD, ""),
        ("It is 4.", "no boxed answer"),
        (r"\boxed{4} or \boxed{5}", "2 boxed answers"),
        (r"\boxed{}", "an empty box"),
        (r"<think>\boxed{4}</think> 4", "no boxed answer"),
        (r"<think>a<think>b</think> \boxed{4}", "not one pair"),
        (r"<think>a \boxed{4}", "not one pair"),
        (r"Hm. <think>a</think> \boxed{4}", "text before <think>"),
        (r"<think> </think> \boxed{4}", "nothing is thought"),
    ],
)
def test_the_form_is_one_box_after_one_well_formed_thought(text: str, fault: str) -> None:
    verdict = load_verifier("format")(PROBLEM, Completion(text))
    assert fault in verdict.detail
    assert verdict.reward == float(not fault)


def test_thinking_can_be_required_or_forbidden() -> None:
    assert load_verifier("format", think="required")(PROBLEM, Completion(r"\boxed{4}")).detail == "no think tags"
    assert load_verifier("format", think="none")(PROBLEM, Completion(GOOD)).detail == "think tags"


def test_each_check_is_a_part_and_may_count_by_itself() -> None:
    verifier = load_verifier("format", finished=True, script="latin", partial=True)
    verdict = verifier(PROBLEM, Completion(r"答案是 \boxed{4}", finish="length"))
    assert verdict.parts == {"boxed": 1.0, "think": 1.0, "script": 0.0, "finished": 0.0}
    assert (verdict.reward, verdict.status) == (0.5, "partial")


def test_formulas_and_code_are_not_prose_of_any_language() -> None:
    verifier = load_verifier("format", boxed="any", script="chinese")
    assert verifier(PROBLEM, Completion(r"因此 $x = \frac{abc}{def}$，用 `print(x)` 可得 \boxed{4}")).status == "correct"
    assert verifier(PROBLEM, Completion("Therefore 因此")).status == "wrong"


def test_the_length_penalty_is_the_one_of_dapo() -> None:
    verifier = load_verifier("length", limit=100, buffer=20)
    rewards = [verifier(PROBLEM, Completion("", tuple(range(n)))).reward for n in (0, 80, 85, 90, 100, 150)]
    assert rewards == [0.0, 0.0, -0.25, -0.5, -1.0, -1.0]
    hard = load_verifier("length", limit=3, unit="words")
    assert [hard(PROBLEM, Completion(text)).reward for text in ("a b c", "a b c d")] == [0.0, -1.0]


def test_a_length_in_tokens_without_tokens_is_no_zero() -> None:
    assert load_verifier("length", limit=10)(PROBLEM, Completion("text")).status == "verifier_error"


def test_repetition_is_the_share_of_n_grams_seen_before() -> None:
    verifier = load_verifier("repetition", n=2)
    assert verifier(PROBLEM, Completion("one two three")).reward == 0.0
    looping = verifier(PROBLEM, Completion("go on " * 50))
    assert looping.reward == pytest.approx(-97 / 99)
    assert looping.parts["repeated"] == pytest.approx(97 / 99)
    assert load_verifier("repetition", n=2, allowed=0.99)(PROBLEM, Completion("go on " * 50)).reward == 0.0


def test_hostile_text_is_judged_in_no_time() -> None:
    for text in ("<think>" * 50_000, "\\boxed{" * 50_000, "$" * 300_000, "`a" * 100_000, "http://" * 50_000):
        assert load_verifier("format", script="latin")(PROBLEM, Completion(text)).status == "wrong"


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("length", {}, "option 'limit' is 0; it must be given"),
        ("length", {"limit": 10, "buffer": 11}, "between 0 and the limit"),
        ("repetition", {"n": 0}, "at least 1"),
        ("format", {"boxed": "any", "think": "any"}, "asks for nothing"),
        ("format", {"script": "latn"}, "did you mean 'latin'"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(name: str, options: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        load_verifier(name, **options)
