"""The mathematical verifier, in its pool."""

import subprocess
import sys

import pytest
from unmask.rewards import Completion, InputError, Message, Problem, VerifierPool
from unmask.rewards.math import MathVerifier


def problem(gold: object) -> Problem:
    return Problem("p", "math", (Message("user", "?"),), gold)


def test_importing_the_verifier_loads_no_heavy_library() -> None:
    code = (
        "import sys, unmask.rewards.math, unmask.rewards.pool, unmask.rewards.records;"
        "print([name for name in ('sympy', 'math_verify', 'torch', 'mpmath') if name in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": ":".join(sys.path)}
    )
    assert run.stdout.strip() == "[]"


def test_verdicts_from_the_pool_carry_what_was_compared() -> None:
    with VerifierPool(MathVerifier(), workers=1) as pool:
        right = pool.submit(problem("\\frac{1}{2}"), Completion("so it is \\boxed{0.5}")).result()
        wrong = pool.submit(problem("\\frac{1}{2}"), Completion("so it is \\boxed{0.6}")).result()
        none = pool.submit(problem("\\frac{1}{2}"), Completion("I could not find out what the value is in this case")).result()
    assert (right.reward, right.status, right.extracted, right.expected) == (1.0, "correct", "0.5", "\\frac{1}{2}")
    assert (wrong.reward, wrong.status) == (0.0, "wrong")
    assert (none.reward, none.status) == (0.0, "unparsed")


def test_a_reference_that_is_no_answer_is_an_input_error() -> None:
    with pytest.raises(InputError, match="reference of a math problem"):
        MathVerifier()(problem([1]), Completion("1"))
