"""Compositions of verifiers, in Python and in YAML: rewards, parts, step rewards, errors, versions."""

import pickle
from pathlib import Path

import pytest
from unmask.rewards import Completion, InputError, Problem, StepReward, Verdict, VerifierPool, load_verifier
from unmask.rewards.compose import Cascade, Composition, Gate, Part, Weighted
from unmask.rewards.verifier import FunctionVerifier, Verifier

PROBLEM = Problem("p", "t", (), "4")
RIGHT, LONG, WRONG = Completion(r"\boxed{4}"), Completion(r"so so so so so so \boxed{4}"), Completion(r"\boxed{5}")
MATH = load_verifier("math")
FORMAT = load_verifier("format")
WORDS = load_verifier("length", limit=6, buffer=4, unit="words")


def fixed(verdict: Verdict, name: str = "fixed") -> Verifier:
    return FunctionVerifier(lambda problem, completion: verdict, name, "1")


BROKEN = fixed(Verdict(None, "verifier_error", detail="no network"))


def test_a_weighted_sum_keeps_every_part_and_the_status_of_its_main_part() -> None:
    both = Weighted({"answer": MATH, "brevity": Part(WORDS, 0.5)})
    verdict = both(PROBLEM, LONG)
    assert verdict.reward == pytest.approx(1 - 0.5 * 1.0)
    assert (verdict.status, verdict.extracted, verdict.expected) == ("correct", "4", "4")
    assert verdict.parts == {"answer": 1.0, "brevity": -1.0, "brevity.length": 7.0}
    assert Weighted(both.parts, normalise=True)(PROBLEM, RIGHT).reward == pytest.approx(1 / 1.5)


def test_a_gate_that_is_closed_asks_no_further() -> None:
    gate = Gate(FORMAT, BROKEN, otherwise=-1.0)
    verdict = gate(PROBLEM, Completion("4"))
    assert (verdict.reward, verdict.status, verdict.parts["gate"]) == (-1.0, "wrong", 0.0)
    assert "no boxed answer" in verdict.detail
    assert Gate(FORMAT, MATH)(PROBLEM, RIGHT).parts == {"gate": 1.0, "gate.boxed": 1.0, "gate.think": 1.0, "then": 1.0}


def test_a_threshold_opens_a_gate_for_a_part_of_the_reward() -> None:
    half = fixed(Verdict(0.5, "partial"))
    assert Gate(half, MATH)(PROBLEM, RIGHT).reward == 0.0
    assert Gate(half, MATH, threshold=0.5)(PROBLEM, RIGHT).reward == 1.0


def test_a_cascade_goes_on_until_somebody_finds_an_answer() -> None:
    strict = load_verifier("math", order=("boxed",))
    cascade = Cascade({"boxed": strict, "anywhere": load_verifier("numeric")})
    assert cascade(PROBLEM, RIGHT).detail.startswith("boxed: ")
    found = cascade(PROBLEM, Completion("perhaps 4"))
    assert (found.status, found.parts) == ("correct", {"boxed": 0.0, "anywhere": 1.0})


def test_a_cascade_can_accept_what_any_part_accepts() -> None:
    cascade = Cascade({"first": load_verifier("exact"), "second": MATH}, until="correct")
    assert cascade(PROBLEM, RIGHT).reward == 1.0
    assert cascade(PROBLEM, WRONG).reward == 0.0


@pytest.mark.parametrize(
    "verifier",
    [
        Weighted({"answer": MATH, "other": Part(BROKEN, 0.0)}),
        Gate(BROKEN, MATH),
        Gate(FORMAT, BROKEN),
        Cascade({"first": BROKEN, "second": load_verifier("exact")}, until="correct"),
        Cascade({"first": MATH, "second": BROKEN}, until="correct"),
        Weighted({"inner": Weighted({"deep": BROKEN})}),
    ],
)
def test_a_part_that_could_not_judge_is_never_a_zero(verifier: Composition) -> None:
    verdict = verifier(PROBLEM, WRONG)  # type: ignore[operator]
    assert (verdict.reward, verdict.status) == (None, "verifier_error")
    assert "no network" in verdict.detail


def test_a_cascade_goes_on_past_an_error_and_says_so() -> None:
    verdict = Cascade({"first": BROKEN, "second": MATH})(PROBLEM, RIGHT)
    assert verdict.reward == 1.0
    assert "no network" in verdict.detail


def test_an_exception_in_a_part_names_the_part(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def reward(problem, completion):\n    return 1 / 0\n")
    with VerifierPool(Weighted({"ratio": load_verifier(f"{tmp_path / 'mine.py'}:reward")}), workers=1) as pool:
        verdict = pool.submit(PROBLEM, RIGHT).result(60)
    assert verdict.status == "verifier_error"
    assert "part 'ratio': ZeroDivisionError" in verdict.detail


def test_step_rewards_are_carried_through_with_the_weight_of_their_part() -> None:
    steps = fixed(Verdict(0.5, "partial", step_rewards=(StepReward(0, 3, 0.5),)))
    assert Weighted({"a": MATH, "s": Part(steps, 2.0)})(PROBLEM, RIGHT).step_rewards == (StepReward(0, 3, 1.0),)
    assert Gate(FORMAT, steps)(PROBLEM, RIGHT).step_rewards == (StepReward(0, 3, 0.5),)
    assert Cascade({"s": steps})(PROBLEM, RIGHT).step_rewards == (StepReward(0, 3, 0.5),)
    assert Weighted({"a": MATH})(PROBLEM, RIGHT).step_rewards is None


def test_each_part_may_have_a_reference_of_its_own() -> None:
    both = Weighted({"answer": Part(MATH, reference="answer"), "word": Part(load_verifier("regex"), reference="pattern")})
    problem = Problem("p", "t", (), {"answer": "4", "pattern": "so"})
    assert both(problem, LONG).parts == {"answer": 1.0, "word": 1.0}
    with pytest.raises(InputError, match="no key 'pattern'"):
        both.parts["word"].problem(Problem("p", "t", (), {"answer": "4"}))


def test_what_a_verdict_depends_on_is_in_the_version() -> None:
    made = [
        Weighted({"a": MATH}),
        Weighted({"b": MATH}),
        Weighted({"a": Part(MATH, 0.5)}),
        Weighted({"a": load_verifier("math", rule="minerva")}),
        Weighted({"a": MATH}, normalise=True),
        Cascade({"a": MATH}),
        Cascade({"a": MATH}, until="correct"),
        Gate(MATH, MATH),
        Gate(MATH, MATH, otherwise=-1.0),
    ]
    assert len({one.version for one in made}) == len(made)
    assert Weighted({"a": load_verifier("math")}).version == made[0].version


def test_the_limits_of_a_composition_are_enough_for_all_its_parts() -> None:
    limits = Weighted({"a": MATH, "b": load_verifier("regex"), "c": load_verifier("code")}).limits
    assert limits.cpu == 2.0 + 2.0 + 300.0
    assert limits.memory is None


YAML = """
combine: weighted
parts:
  answer:
    combine: cascade
    parts:
      box: {verifier: math, options: {order: [boxed]}}
      number: numeric
  form: {verifier: format, weight: 0.25, options: {think: none}}
  mine: {verifier: "mine.py:reward", weight: 2, options: {bonus: 0.5}}
"""


@pytest.fixture
def yaml(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text("def reward(problem, completion, bonus=0.0):\n    return bonus\n")
    (tmp_path / "reward.yaml").write_text(YAML)
    return tmp_path / "reward.yaml"


def test_a_composition_in_yaml_is_a_verifier_like_any_other(yaml: Path) -> None:
    verifier = load_verifier(str(yaml))
    assert verifier.name == str(yaml)
    assert pickle.loads(pickle.dumps(verifier)) == verifier
    with VerifierPool(verifier, workers=1) as pool:
        verdict = pool.submit(PROBLEM, Completion("perhaps 4")).result(60)
    assert verdict.reward == pytest.approx(1.0 + 0.0 + 2 * 0.5)
    assert verdict.status == "correct"
    assert {"answer", "answer.box", "answer.number", "form", "form.boxed", "mine"} <= verdict.parts.keys()


def test_a_yaml_file_may_name_another_one(yaml: Path) -> None:
    (yaml.parent / "outer.yml").write_text("combine: gate\ngate: format\nthen: reward.yaml\n")
    assert load_verifier(str(yaml.parent / "outer.yml"))(PROBLEM, RIGHT).parts["then.mine"] == 0.5


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("combine: weighted", "combine: wheighted", "did you mean 'weighted'"),
        ("parts:\n  answer", "part:\n  answer", "did you mean 'parts'"),
        ("verifier: format", "verifier: fromat", "did you mean 'format'"),
        ("think: none", "thinks: none", "did you mean 'think'"),
        ("weight: 0.25", "weight: much", "form: field 'weight': expected a finite number"),
        ("weight: 0.25", "wieght: 0.25", "did you mean 'weight'"),
        ("number: numeric", "number: 7", "answer.number: expected the name of a verifier"),
        ("combine: cascade", "combine: cascade\n    until: sometime", "not one of decided, correct"),
        ("combine: weighted", "combine: [", "not valid YAML"),
        ("mine.py:reward", "reward.yaml", "contains itself"),
    ],
)
def test_a_mistake_in_the_yaml_is_one_line_that_says_where(yaml: Path, old: str, new: str, says: str) -> None:
    yaml.write_text(
        YAML.replace(old, new).replace(", options: {bonus: 0.5}", "" if "reward.yaml" in new else ", options: {bonus: 0.5}")
    )
    with pytest.raises(InputError) as caught:
        load_verifier(str(yaml))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_options_belong_into_the_file(yaml: Path) -> None:
    with pytest.raises(InputError, match="takes no options"):
        load_verifier(str(yaml), bonus=1.0)
    with pytest.raises(InputError, match="cannot be read"):
        load_verifier("nowhere.yaml")
