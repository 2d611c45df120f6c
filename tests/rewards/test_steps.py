"""Process rewards that need no model: equations in a chain of thought, programs line by line, and the shapes of steps."""

import json
import time
from pathlib import Path

import pytest
from unmask.rewards import Completion, Problem, StepReward, Verdict, load_verifier
from unmask.rewards.equations import equations
from unmask.rewards.steps import shaped, total

DATA = Path(__file__).parents[3] / "shared" / "data"
PROBLEM = Problem("p", "t", (), None)


def found(text: str) -> list[tuple[str, bool]]:
    return [(text[one.start : one.end], one.holds) for one in equations(text)]


@pytest.mark.parametrize(
    "text",
    [
        "3 + 4 = 7",
        r"\frac{1}{2} + \frac{1}{4} = \frac{3}{4}",
        "5 apples + 3 apples = 8",
        "2 hours * 60 = 120",
        "1,000 + 2,500 = 3,500",
        "5 + $6 = $11",
        "3 x 4 = 12",
        "10/3 = 3.33",
        "10/3 ≈ 3",
        "50 * 20% = 10",
        "3/4 * 100 = 75%",
        r"\sqrt{2} = 1.414",
        r"3 + 4 = \boxed{7}",
        "-3 + 5 = 2",
        "5! = 120",
        "2**4 = 16",
        "1 – 3/4 = 1/4",
    ],
)
def test_an_equation_that_holds_is_found_in_any_notation(text: str) -> None:
    assert found(f"So we get {text}.") == [(text, True)]


@pytest.mark.parametrize("text", ["3 + 4 = 8", "10/3 = 3.5", "10/3 = 3", r"2 \times (5+3) = 17", "5 - 3 = -2", r"\sqrt{2} = 1.5"])
def test_an_equation_that_does_not_hold_is_found_too(text: str) -> None:
    assert found(f"So we get {text} in all.") == [(text, False)]


@pytest.mark.parametrize(
    "text",
    [
        "x = 5",
        "2x + 3 = 7",
        "x - 3 = 7",
        "f(2) = 3 + 1",
        "2 dozen = 24",
        "3 feet + 2 = 60 inches",
        "17 % 5 = 2",
        "7 / 2 = 3 remainder 1",
        "3 1/2 = 4 - 1",
        "for i in range(3): total += i == 2 + 2",
        r"\frac{x}{2} = 1 + 1",
        r"\sin 30 = 1/2 + 1",
        "C(5, 2) = 11 - 2",
        "3 + 4 = 7x",
    ],
)
def test_what_does_not_speak_of_numbers_alone_says_nothing(text: str) -> None:
    assert found(text) == []


def test_a_chain_is_one_step_for_each_equation_and_steps_do_not_overlap() -> None:
    assert found("Total = 3*4 + 2*5 = 12 + 10 = 23") == [("3*4 + 2*5 = 12 + 10", True), ("= 23", False)]
    assert found("She has 5*2=10 eggs, then 10-3=<<10-3=7>>7 left.") == [("5*2=10", True), ("10-3=7", True)]


def test_hostile_text_takes_no_time() -> None:
    started = time.process_time()
    for text in (
        "1+" * 20_000 + "=2",
        "=1" * 20_000,
        "2^9^9^9^9 = 1",
        "(" * 20_000 + "=" + ")" * 20_000,
        "5 a b " * 8_000 + "= 5",
    ):
        list(equations(text))
    assert time.process_time() - started < 10


@pytest.mark.skipif(not DATA.exists(), reason="the benchmark data of ../shared is not here")
def test_gold_solutions_of_gsm8k_hold_but_for_their_own_slips() -> None:
    rows = (DATA / "gsm8k" / "gsm8k_test.jsonl").read_text().splitlines()[:600]
    wrong = [equation for row in rows for equation in equations(json.loads(row)["answer"]) if not equation.holds]
    right = sum(equation.holds for row in rows for equation in equations(json.loads(row)["answer"]))
    assert right > 1500
    assert len(wrong) <= 3


def test_arithmetic_gives_each_equation_its_share_of_the_reward() -> None:
    text = "3+4=7\n7*2=15\n15-1=14"
    verdict = load_verifier("arithmetic")(PROBLEM, Completion(text))
    assert verdict.status == "partial"
    assert verdict.reward == pytest.approx(2 / 3)
    assert verdict.step_rewards is not None
    assert [text[step.start : step.end] for step in verdict.step_rewards] == text.split("\n")
    assert total(verdict.step_rewards) == verdict.reward
    assert "7*2=15" in verdict.detail
    harsh = load_verifier("arithmetic", wrong=-1.0, shape="raw")(PROBLEM, Completion(text))
    assert [step.value for step in harsh.step_rewards or ()] == [1.0, -1.0, 1.0]


def test_a_text_without_equations_is_unparsed_and_not_wrong() -> None:
    verdict = load_verifier("arithmetic")(PROBLEM, Completion("seven"))
    assert (verdict.status, verdict.step_rewards) == ("unparsed", ())


def test_shapes_say_what_the_rewards_of_steps_add_up_to() -> None:
    steps = [StepReward(i, i + 1, value) for i, value in enumerate((0.25, 0.5, 0.125))]
    assert [step.value for step in shaped(steps, "gain")] == [0.25, 0.25, -0.375]
    assert total(shaped(steps, "gain")) == 0.125
    assert total(shaped(steps, "mean")) == pytest.approx(0.875 / 3)
    assert shaped(steps, "raw") == tuple(steps)
    assert shaped([], "mean") == ()


PROGRAM = """def add(a, b):
    if a == 0:
        return b
    return a + b
x = add(1, 1)
"""
ADDING = {"style": "assert", "tests": ["assert add(1, 2) == 3", "assert add(0, 5) == 5"], "entry": "add"}


def judged(text: str, **options: object) -> Verdict:
    return load_verifier("tests", **options)(Problem("p", "t", (), ADDING), Completion(text))


def test_a_program_is_rewarded_for_the_lines_that_made_tests_pass() -> None:
    text = f"Here:\n```python\n{PROGRAM}```\nDone."
    verdict = judged(text)
    assert (verdict.reward, verdict.status) == (1.0, "correct")
    gained = {text[step.start : step.end].strip(): step.value for step in verdict.step_rewards or ()}
    assert gained["def add(a, b):\n    if a == 0:\n        return b"] == 0.5
    assert gained["return a + b"] == 0.5
    assert gained["x = add(1, 1)"] == 0.0


def test_a_program_that_undoes_its_work_loses_what_it_had_gained() -> None:
    verdict = judged(f"```python\n{PROGRAM}\ndef add(a, b):\n    return 5\n```")
    assert verdict.reward == 0.5
    assert verdict.step_rewards is not None
    assert verdict.step_rewards[-1].value == -0.5
    assert total(verdict.step_rewards) == 0.5


def test_the_number_of_states_is_bounded_and_no_program_is_unparsed() -> None:
    many = "\n".join(f"x{i} = {i}" for i in range(50))
    verdict = judged(f"```python\n{many}\n```", points=3)
    assert len(verdict.step_rewards or ()) == 3
    assert judged("no code").status == "unparsed"


def test_a_function_of_ones_own_may_return_spans(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def steps(problem, completion):\n    return [(0, 2, 0.5), (2, 4, -0.25)]\n")
    verdict = load_verifier(f"{tmp_path / 'mine.py'}:steps")(PROBLEM, Completion("abcd"))
    assert (verdict.reward, verdict.status) == (0.25, "partial")
    assert verdict.step_rewards == (StepReward(0, 2, 0.5), StepReward(2, 4, -0.25))
