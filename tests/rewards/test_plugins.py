"""Plug-ins by name: what is found, and the one line a person gets when it is not."""

import pickle
from pathlib import Path

import pytest
from unmask.rewards import Completion, InputError, Message, Problem, load_verifier
from unmask.rewards.plugins import VERIFIERS, known_names, load_object

PROBLEM = Problem("p", "t", (Message("user", "?"),), "42")

PLAIN = """
def reward(problem, completion, bonus=0.0):
    return float(completion.text == problem.reference) + bonus

ready = __import__("unmask.rewards.verifier", fromlist=["x"]).FunctionVerifier(reward, "ready", "7")
number = 3

def too_many(a, b, c):
    return 0.0
"""


@pytest.fixture
def plain(tmp_path: Path) -> str:
    (tmp_path / "mine.py").write_text(PLAIN)
    return str(tmp_path / "mine.py")


def test_a_plain_function_in_a_file_is_a_verifier_named_after_its_spelling(plain: str) -> None:
    verifier = load_verifier(f"{plain}:reward")
    assert verifier.name == f"{plain}:reward"
    assert verifier(PROBLEM, Completion("42")).status == "correct"
    assert verifier(PROBLEM, Completion("41")).status == "wrong"


def test_the_version_of_a_function_changes_with_its_source_and_its_options(plain: str, tmp_path: Path) -> None:
    other = tmp_path / "other.py"
    other.write_text(PLAIN + "\n# changed\n")
    versions = {
        load_verifier(f"{plain}:reward").version,
        load_verifier(f"{other}:reward").version,
        load_verifier(f"{plain}:reward", bonus=0.5).version,
    }
    assert len(versions) == 3
    assert load_verifier(f"{plain}:reward").version in versions


def test_options_reach_the_function(plain: str) -> None:
    assert load_verifier(f"{plain}:reward", bonus=0.25)(PROBLEM, Completion("0")).reward == 0.25


def test_what_comes_from_a_file_can_be_pickled(plain: str) -> None:
    verifier = load_verifier(f"{plain}:reward")
    assert pickle.loads(pickle.dumps(verifier)) == verifier


def test_a_module_path_and_a_short_name_lead_to_the_same_class() -> None:
    assert load_object("math", "unmask.verifiers", VERIFIERS) is load_object(
        "unmask.rewards.math:MathVerifier", "unmask.verifiers"
    )
    assert "math" in known_names("unmask.verifiers", VERIFIERS)


def test_a_ready_object_is_returned_as_it_is(plain: str) -> None:
    assert (load_verifier(f"{plain}:ready").name, load_verifier(f"{plain}:ready").version) == ("ready", "7")


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("mth", "did you mean 'math'"),
        ("unmask.rewards.math:MathVerifyer", "did you mean 'MathVerifier'"),
        ("unmask.rewards.nothing:X", "no module 'unmask.rewards.nothing'"),
        ("nowhere.py:reward", "no file nowhere.py"),
        ("FILE:rewrd", "did you mean 'reward'"),
        ("FILE:number", "expected a verifier class, a verifier or a function, found int"),
        ("FILE:too_many", "expected a function of (problem, completion)"),
        ("FILE:", "expected a name"),
    ],
)
def test_a_wrong_name_is_one_line_that_helps(plain: str, spec: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        load_verifier(spec.replace("FILE", plain))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_option_names_the_nearest_one(plain: str) -> None:
    with pytest.raises(InputError, match="did you mean 'bonus'"):
        load_verifier(f"{plain}:reward", bonis=1.0)
    with pytest.raises(InputError, match="did you mean 'order'"):
        load_verifier("math", ordr=("boxed",))
    with pytest.raises(InputError, match="takes no options"):
        load_verifier(f"{plain}:ready", bonus=1.0)


def test_a_missing_dependency_of_a_plug_in_is_not_mistaken_for_a_wrong_name(tmp_path: Path) -> None:
    (tmp_path / "needs.py").write_text("import a_package_that_is_not_there\n")
    with pytest.raises(ModuleNotFoundError):
        load_verifier(f"{tmp_path / 'needs.py'}:reward")
