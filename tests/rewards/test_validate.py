"""Validation: gold answers pass and perturbed ones fail; over MATH, GSM8K and AIME where the data is at hand."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from unmask.rewards import Completion, InputError, Message, Problem, VerifierPool, load_verifier
from unmask.rewards.answers.perturb import perturbed
from unmask.rewards.math import MathVerifier
from unmask.rewards.validate import validate

from .pairs import SHARED, labelled_pairs

DATA = SHARED / "data"


def problem(name: str, gold: str, question: str = "") -> Problem:
    return Problem(name, "math", (Message("user", question),), gold)


def test_the_gold_answers_of_the_table_pass_and_their_perturbations_fail() -> None:
    # One number larger and still the same answer, by mathematics.
    coincidences = [r"\binom{5}{2}", r"\frac{0}{5}", r"\ln(2x) + C", r"[2,5] \cup [4,8]", r"\{1,1,2\}"]
    coincidences += [r"\max(3,5)", r"{5 \choose 2}", "0!", r"[0,1]\cap[1,2]"]
    golds = dict.fromkeys(pair.gold for pair in labelled_pairs() if pair.gold not in coincidences)
    with VerifierPool(MathVerifier()) as pool:
        validation = validate((problem(gold, gold) for gold in golds), pool)
    assert validation.findings == ()
    assert validation.gold == len(golds)
    assert validation.wrong > validation.gold


def test_a_verifier_that_accepts_everything_and_a_problem_without_answer_are_found(tmp_path: Path) -> None:
    (tmp_path / "lenient.py").write_text(
        "from dataclasses import dataclass\n"
        "from unmask.rewards import Verdict\n"
        "from unmask.rewards.math import MathVerifier\n"
        "@dataclass(frozen=True)\n"
        "class Lenient(MathVerifier):\n"
        "    def quick(self, problem, completion):\n"
        "        return Verdict(1.0, 'correct')\n"
    )
    with VerifierPool(load_verifier(f"{tmp_path / 'lenient.py'}:Lenient"), workers=1) as pool:
        validation = validate([problem("a", "12"), problem("b", "")], pool)
    assert not validation.passed
    assert sorted((finding.problem_id, finding.fault) for finding in validation.findings) == [
        ("a", "wrong accepted"),
        ("b", "no gold answer"),
    ]


def test_a_verifier_without_gold_completions_cannot_be_validated(tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text("def reward(problem, completion):\n    return 1.0\n")
    plain = load_verifier(f"{tmp_path / 'plain.py'}:reward")
    with VerifierPool(plain, workers=1) as pool, pytest.raises(InputError, match="has no gold_completion"):
        validate([problem("a", "12")], pool)


@pytest.mark.parametrize("gold", ["12", "\\frac{1}{2}", "(1,2)", "x^2+3x", "\\text{(C)}", "2021_3", "0", "1,234"])
def test_a_perturbed_answer_is_another_answer(gold: str) -> None:
    wrong = perturbed(gold)
    assert wrong
    assert gold not in wrong
    assert perturbed(gold) == wrong


def test_the_statement_of_an_answer_suits_the_order_of_extraction() -> None:
    for how in ("boxed", "hash", "phrase", "whole", "bold", "dollar", "line", "number"):
        verifier = MathVerifier(order=(how,))
        verdict = verifier.quick(problem("a", "12"), verifier.gold_completion(problem("a", "12")))
        assert verdict is not None
        assert verdict.status == "correct", how


def math_problems() -> Iterator[Problem]:
    for split in ("train", "test"):
        with gzip.open(DATA / f"math/math_{split}.jsonl.gz", "rt", encoding="utf-8") as file:
            for n, line in enumerate(file):
                row = json.loads(line)
                yield problem(f"{split}/{n}", row["answer"], row["problem"])


def other_problems() -> Iterator[Problem]:
    for split in ("test", "train"):
        for n, line in enumerate((DATA / f"gsm8k/gsm8k_{split}.jsonl").open(encoding="utf-8")):
            row = json.loads(line)
            yield problem(f"gsm8k-{split}/{n}", row["answer"].rpartition("####")[2].strip(), row["question"])
    for year in (2024, 2025, 2026):
        for n, line in enumerate((DATA / f"aime/aime{year}.jsonl").open(encoding="utf-8")):
            row = json.loads(line)
            yield problem(f"aime{year}/{n}", str(row["answer"]), row["problem"])


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "math").is_dir(), reason="the MATH, GSM8K and AIME files of ../shared/data are not here")
def test_every_gold_answer_of_math_gsm8k_and_aime_equals_itself_and_no_perturbed_one_does() -> None:
    with VerifierPool(MathVerifier()) as pool:
        mathematics, others = validate(math_problems(), pool), validate(other_problems(), pool)
    # Two rows of this copy of MATH have an empty answer (data/README.md).
    assert [(finding.problem_id, finding.fault) for finding in mathematics.findings] == [
        ("train/7036", "no gold answer"),
        ("train/7436", "no gold answer"),
    ]
    assert others.findings == ()
    assert (mathematics.gold, others.gold) == (12_498, 8_882)


def test_completions_of_wrong_answers_are_whole_completions() -> None:
    assert MathVerifier().wrong_completions(problem("a", "12")) == [Completion("\\boxed{13}")]
