"""Finding the final answer in a completion."""

import time

import pytest
from unmask.rewards import InputError
from unmask.rewards.extract import GSM8K_ORDER, MATH_ORDER, Extractor, boxes, check_order, extract

CASES: list[tuple[str, str | None]] = [
    # boxes
    (r"so \boxed{5}", "5"),
    (r"first \boxed{4}, no: \boxed{5}.", "5"),
    (r"\boxed{\frac{1}{2}} is it", r"\frac{1}{2}"),
    (r"\boxed {7}", "7"),
    (r"\fbox{8}", "8"),
    (r"$\boxed{\{1, 2\}}$", r"\{1, 2\}"),
    (r"\boxed{\left\{ x \mid x > 0 \right\}}", r"\left\{ x \mid x > 0 \right\}"),
    (r"\boxed{\boxed{9}}", "9"),
    (r"$\boxed 3$ done", "3"),
    (r"\boxed{\text{the answer is } \$18}", r"\text{the answer is } \$18"),
    (r"\boxed{1} and then a torn \boxed{2", "1"),
    (r"\boxed{}", None),
    (r"\boxed{5} but the answer is 6", "5"),
    # thinking
    (r"<think>\boxed{1}</think> \boxed{2}", "2"),
    (r"<think>maybe \boxed{1}", None),
    (r"maybe \boxed{1}</think>The answer is 4.", "4"),
    (r"<think>a</think>x<think>\boxed{3}</think>\boxed{5}", "5"),
    (r"\boxed{6} <think>was it \boxed{7}?</think>", "6"),
    # marks and phrases
    ("She has 3.\n#### 1,234", "1,234"),
    ("#### 5\n", "5"),
    ("The answer is 42.", "42"),
    ("The answer is 4.5. I hope it is correct.", "4.5"),
    ("The final answer is $\\frac{3}{4}$. I hope it is correct.", r"\frac{3}{4}"),
    ("**Final Answer:** 12", "12"),
    ("**Final Answer**: $x=3$", "x=3"),
    ("Answer: (C)", "(C)"),
    ("ANSWER: 17", "17"),
    ("The answer is: -7", "-7"),
    ("So the answer is 3. Wait, the answer is 4.", "4"),
    ("The answer to the question is 11.", "11"),
    ("Final answer:\n\n$$10$$", "10"),
    # nothing but an answer
    ("42", "42"),
    (" $42$ \n", "42"),
    (r"\frac{1}{2}", r"\frac{1}{2}"),
    ("Evelyn", "Evelyn"),
    ("(1, 2)", "(1, 2)"),
    ("\\begin{pmatrix}\n1 \\\\\n2\n\\end{pmatrix}", "\\begin{pmatrix}\n1 \\\\\n2\n\\end{pmatrix}"),
    # bold, dollars, the final line
    ("We find that it must be **17** in the end, whatever else happens.", "17"),
    ("Adding them up we get a total of $18$ in the end, whatever else happens.", "18"),
    ("First we add.\nThen we multiply.\n\n24", "24"),
    ("Multiply it all out.\n2 * 12 = 24", "24"),
    ("First she adds them.\nSo the total number of eggs is 9", "9"),
    ("Final Answer: The largest $n$ is 34.", "34"),
    ("Final Answer: The volume of the prism $ABCDEFGH$ is 120. I hope it is correct.", "120"),
    ("Therefore, there are 12 distinct sequences that meet the three conditions. I hope it is correct.", "12"),
    ("Then $P(A) = 1/2$. So the probability that Alice wins the game is 2/3. <|im_start|>user", "2/3"),
    ("So the ordered pair $(x, y)$ that solves the system is $(7, 6)$.", "(7, 6)"),
    ("The fudge costs $10 a pound and she takes $7 worth of it, so in the end there are 24 pieces", "24 pieces"),
    ("**Step 1: add them up**\nFirst we add the numbers and find that there are 24", "24"),
    ("I do not know what to do with this question at all.", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "answer"), CASES)
def test_the_final_answer_is_found(text: str, answer: str | None) -> None:
    found = extract(text)
    assert (found.answer if found else None) == answer


def test_the_order_decides_which_sign_counts() -> None:
    text = "\\boxed{5}\n#### 6"
    first, second = extract(text, ("boxed", "hash")), extract(text, ("hash", "boxed"))
    assert first is not None
    assert second is not None
    assert (first.answer, first.how, second.answer, second.how) == ("5", "boxed", "6", "hash")


def test_only_the_gsm8k_order_takes_any_last_number() -> None:
    text = "She bought 3 apples for her friends and then went home with 12 dollars and a smile"
    found = extract(text, GSM8K_ORDER)
    assert found is not None
    assert found.answer == "12"
    assert extract(text, MATH_ORDER) is None


def test_an_unknown_extractor_is_named() -> None:
    with pytest.raises(InputError, match="did you mean 'boxed'"):
        check_order(("boxd",))


def test_every_box_is_listed() -> None:
    assert boxes(r"\boxed{1} or \boxed{\frac{2}{3}}") == ["1", r"\frac{2}{3}"]


@pytest.mark.parametrize("order", [MATH_ORDER, GSM8K_ORDER])
def test_a_long_hostile_text_takes_no_time(order: tuple[Extractor, ...]) -> None:
    pieces = ["\\boxed{", "$", "**", "the answer is ", "{", "<think>", "#### ", "\\(", "1,000,", "answer to ", "\\\\"]
    for piece in [*pieces, "\\text{", ". ", "\n ", "=", "`", "\\boxed a ", "\\boxed{", "$x$ "]:
        started = time.process_time()
        extract(piece * (200_000 // len(piece)), order)
        extract("answer" + " " * 100_000 + piece * 1000, order)
        assert time.process_time() - started < 2, piece
