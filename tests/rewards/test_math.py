"""The mathematical verifier: verdicts on the labelled table, hostile answers, questions, rules, load."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from unmask.rewards import Completion, InputError, Message, Problem, Verdict, VerifierPool, load_verifier
from unmask.rewards.math import RULES, MathVerifier

from .pairs import Pair, hostile_answers, labelled_pairs

PAIRS = labelled_pairs()


def problem(gold: object, question: str = "") -> Problem:
    return Problem("p", "math", (Message("user", question),), gold)


def boxed(answer: str) -> Completion:
    return Completion(f"\\boxed{{{answer}}}")


@pytest.fixture(scope="module")
def pool() -> Iterator[VerifierPool]:
    with VerifierPool(MathVerifier(), workers=2) as made:
        yield made


def judge(pool: VerifierPool, gold: str, answer: str, question: str = "") -> Verdict:
    return pool.submit(problem(gold, question), boxed(answer)).result(timeout=60)


def test_the_table_has_no_false_positive_and_at_most_one_percent_false_negatives(pool: VerifierPool) -> None:
    verdicts = judged(pool, PAIRS)
    wrong = [(pair, verdict) for pair, verdict in zip(PAIRS, verdicts, strict=True) if verdict.reward and not pair.equal]
    missed = [(pair, verdict) for pair, verdict in zip(PAIRS, verdicts, strict=True) if not verdict.reward and pair.equal]
    assert len(PAIRS) >= 400
    assert not wrong
    assert len(missed) <= 0.01 * sum(pair.equal for pair in PAIRS), missed


def test_every_gold_answer_of_the_table_equals_itself(pool: VerifierPool) -> None:
    golds = [Pair(pair.kind, pair.gold, pair.gold, True) for pair in PAIRS]
    assert [pair.gold for pair, verdict in zip(golds, judged(pool, golds), strict=True) if not verdict.reward] == []


def judged(pool: VerifierPool, pairs: list[Pair]) -> list[Verdict]:
    found = dict(pool.map((n, problem(pair.gold), boxed(pair.answer)) for n, pair in enumerate(pairs)))
    return [found[n] for n in range(len(pairs))]


def test_verdicts_are_the_same_with_one_worker_and_with_sixty_four_callers_on_a_loaded_machine(pool: VerifierPool) -> None:
    pairs = PAIRS[::3]
    with VerifierPool(MathVerifier(), workers=1) as single:
        alone = [single.submit(problem(pair.gold), boxed(pair.answer)).result() for pair in pairs]
    stop = threading.Event()
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * (os.cpu_count() or 1))]
    crowd: dict[int, Verdict] = {}

    def caller(offset: int) -> None:
        for n in range(offset, len(pairs), 64):
            crowd[n] = fresh.submit(problem(pairs[n].gold), boxed(pairs[n].answer)).result()

    try:
        with VerifierPool(MathVerifier(), workers=4) as fresh:
            threads = [threading.Thread(target=caller, args=(n,)) for n in range(64)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        stop.set()
        for burner in burners:
            burner.kill()
            burner.wait()
    assert [(v.reward, v.status, v.detail) for v in alone] == [
        (crowd[n].reward, crowd[n].status, crowd[n].detail) for n in range(len(pairs))
    ]


def test_hostile_answers_are_never_accepted_nor_slow_and_honest_ones_between_them_are_judged(pool: VerifierPool) -> None:
    judge(pool, "x", "y")
    limit = pool.limits.cpu or 0
    items: list[tuple[object, Problem, Completion]] = []
    for n, answer in enumerate(hostile_answers()):
        items.append((("hostile", n), problem("5"), boxed(answer)))
        items.append((("honest", n), problem("x^2-1"), boxed(f"(x-1)(x+1)+{n}-{n}")))
    started = time.monotonic()
    verdicts = dict(pool.map(items))
    assert time.monotonic() - started < 60
    assert {key: v for key, v in verdicts.items() if key[0] == "honest" and v.reward != 1.0} == {}  # type: ignore[index]
    hostile = {key: v for key, v in verdicts.items() if key[0] == "hostile"}  # type: ignore[index]
    assert {key: v for key, v in hostile.items() if v.reward != 0.0} == {}
    assert max(verdict.seconds for verdict in hostile.values()) < limit + 0.3


@pytest.mark.parametrize(
    "answer",
    [
        "9^{9^{9^{9}}}",
        "(10^9)!",
        "5\x00",
        "\u202e5",
        "5" * 5000,
        "(" * 40 + "5" + ")" * 40,
        "__import__('os').getcwd()",
        r"\input{/etc/passwd}",
        r"\sum_{k=1}^{\infty} \frac{5}{k^2}",
    ],
)
def test_attacks_are_refused_without_a_worker(answer: str) -> None:
    verdict = MathVerifier().quick(problem("5"), boxed(answer))
    assert verdict is not None
    assert (verdict.status, verdict.reward) == ("refused", 0.0)
    assert verdict.detail.startswith("boxed: refused")


def test_a_look_alike_letter_is_another_letter(pool: VerifierPool) -> None:
    assert judge(pool, "x", "х").reward == 0.0  # Cyrillic
    assert judge(pool, "5", "５").reward == 1.0  # full-width
    assert judge(pool, "5", "۵").reward == 0.0  # Extended Arabic-Indic


def test_three_quarters_of_real_pairs_need_no_worker() -> None:
    verifier = MathVerifier()
    real = [("42", "42"), ("\\frac{1}{2}", "\\dfrac12"), ("1,234", "1234"), ("(1,2)", "(1, 2)"), ("\\$5", "5"), ("73", "073")]
    verdicts = [verifier.quick(problem(gold), boxed(answer)) for gold, answer in real]
    assert all(verdict is not None and verdict.reward == 1.0 for verdict in verdicts)


def test_a_list_of_guesses_is_not_an_answer_and_the_last_box_counts(pool: VerifierPool) -> None:
    assert judge(pool, "5", "4, 5").reward == 0.0
    assert judge(pool, "5", "4 \\text{ or } 5").reward == 0.0
    both = pool.submit(problem("5"), Completion("\\boxed{5} or rather \\boxed{6}")).result()
    assert (both.reward, both.extracted) == (0.0, "6")


def test_the_question_decides_whether_percent_or_an_equation_is_asked_for(pool: VerifierPool) -> None:
    assert judge(pool, "40", "40\\%", "What percent of the students passed the exam?").reward == 1.0
    assert judge(pool, "40", "40\\%", "How many students passed the exam at noon?").reward == 0.0
    assert judge(pool, "0.4", "40\\%", "Give the chance as a decimal or in percent.").reward == 1.0
    assert judge(pool, "x=5", "5", "Solve for $x$: $x + 1 = 6$. Give all solutions.").reward == 1.0
    assert judge(pool, "x=5", "5", "What is the equation of the vertical line through (5,0)?").reward == 0.0
    assert judge(pool, "x=5", "x=5", "What is the equation of the vertical line through (5,0)?").reward == 1.0


@pytest.mark.parametrize(
    "question",
    [
        "How many are there? (A) 10 (B) 11 (C) 12",
        "How many are there? $\\textbf{(A)}\\ 10\\qquad\\textbf{(B)}\\ 11\\qquad\\textbf{(C)}\\ 12$",
        "How many are there?\nA. 10\nB. 11\nC. 12",
    ],
)
def test_the_value_of_the_right_option_answers_a_choice(pool: VerifierPool, question: str) -> None:
    assert judge(pool, "C", "12", question).reward == 1.0
    assert judge(pool, "\\text{(C)}", "12.0", question).reward == 1.0
    assert judge(pool, "C", "11", question).reward == 0.0
    assert judge(pool, "C", "(C) 12", question).reward == 1.0
    assert judge(pool, "C", "B", question).reward == 0.0
    assert judge(pool, "C", "12", "How many are there in the box?").reward == 0.0


def test_a_tolerance_applies_to_decimals_only_when_it_is_stated() -> None:
    exact, loose = MathVerifier(), MathVerifier(tolerance=0.01)
    assert exact(problem("3.14"), boxed("3.15")).reward == 0.0
    assert loose(problem("3.14"), boxed("3.15")).reward == 1.0
    assert loose(problem("3.14"), boxed("\\pi")).reward == 1.0
    assert loose(problem("314"), boxed("315")).reward == 0.0
    assert loose(problem("\\frac{1}{3}"), boxed("0.333")).reward == 0.0


def test_the_detail_says_which_stage_decided(pool: VerifierPool) -> None:
    assert judge(pool, "42", "42").detail == "boxed: equal as normalised strings"
    assert judge(pool, "42", "43").detail == "boxed: compared as integers"
    assert judge(pool, "0.5", "\\frac12").detail == "boxed: compared by type, exactly"
    assert judge(pool, "x^2", "x \\cdot x").detail == "boxed: compared by type, values to 25 digits"


def test_a_known_pair_is_answered_from_memory(pool: VerifierPool) -> None:
    first, again = judge(pool, "\\sqrt{75}", "5\\sqrt{3}"), judge(pool, "\\sqrt{75}", "5\\sqrt{3}")
    assert first.seconds > 0
    assert (again.reward, again.detail, again.seconds) == (first.reward, first.detail, 0.0)


def test_no_answer_is_unparsed_and_the_extractor_is_named() -> None:
    verdict = MathVerifier().quick(problem("5"), Completion("I could not find out what the value of it all would be"))
    assert verdict is not None
    assert (verdict.reward, verdict.status, verdict.expected) == (0.0, "unparsed", "5")


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_accepts_equal_fractions_and_refuses_attacks(rule: str) -> None:
    verifier = load_verifier("math", rule=rule)
    assert verifier(problem("\\frac{1}{2}"), boxed("\\dfrac{1}{2}")).reward == 1.0
    assert verifier(problem("\\frac{1}{2}"), boxed("\\frac{1}{3}")).reward == 0.0
    assert verifier(problem("5"), boxed("9^{9^{9^{9}}}")).status == "refused"


def test_the_rules_keep_the_conventions_of_the_codes_they_stand_for() -> None:
    def says(rule: str, gold: str, answer: str) -> bool:
        return load_verifier("math", rule=rule)(problem(gold), boxed(answer)).reward == 1.0

    assert says("dllm_rl", "1,2", "12")  # commas are dropped
    assert not says("unmask", "1,2", "12")
    assert says("prm800k", "\\frac{1}{2}", "1/2")
    assert not says("prm800k", "\\frac{1}{2}", "\\frac{2}{4}")  # fractions have to be in lowest terms
    assert not says("prm800k", "6", "2 \\cdot 3")  # an integer has to be given as one
    assert says("minerva", "x=5", "5")
    assert says("minerva", "5", "5 \\text{ cents}")  # units go, whatever they are
    assert says("math_verify", "\\{1,2\\}", "\\{2,1\\}")


def test_the_version_names_everything_a_verdict_depends_on() -> None:
    versions = {
        MathVerifier().version,
        MathVerifier(rule="minerva").version,
        MathVerifier(tolerance=0.1).version,
        MathVerifier(order=("boxed",)).version,
    }
    assert len(versions) == 4


def test_wrong_options_are_one_line_that_helps() -> None:
    with pytest.raises(InputError, match="did you mean 'minerva'"):
        load_verifier("math", rule="minerwa")
    with pytest.raises(InputError, match="tolerance"):
        load_verifier("math", tolerance=-1.0)
    with pytest.raises(InputError, match="reference of a math problem"):
        MathVerifier()(problem([1]), Completion("1"))


def test_importing_and_quick_verdicts_load_no_heavy_library() -> None:
    code = (
        "import sys, unmask.rewards.pool, unmask.rewards.records;"
        "from unmask.rewards import Completion, Problem; from unmask.rewards.math import MathVerifier;"
        "MathVerifier().quick(Problem('p', 't', (), '(1,2)'), Completion('(1, 3)'));"
        "print([name for name in ('sympy', 'math_verify', 'torch', 'mpmath', 'numpy') if name in sys.modules])"
    )
    env = {"PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert run.stdout.strip() == "[]"
