"""Finding test problems in training sets: exact ones whatever their spelling, near ones by shared runs of words."""

from collections.abc import Callable
from pathlib import Path

import pytest
from unmask.benchmarks import load_benchmark
from unmask.benchmarks.overlap import find_overlap
from unmask.rewards.errors import InputError

Write = Callable[..., Path]
DUCKS = "Janet's ducks lay 16 eggs per day and she eats three for breakfast every single morning. How many are left?"
SHEEP = "Toulouse has twice as many sheep as Charleston, and Charleston has 4 times as many sheep as Seattle. How many?"


def _pair(tmp_path: Path, write_jsonl: Write, train: str, test: str) -> list[tuple[str, float]]:
    filler = [{"problem": f"Filler number {n}: what is {n} plus {n}?", "answer": str(2 * n)} for n in range(6)]
    one = write_jsonl(tmp_path / "train.jsonl", {"problem": train, "answer": "1"}, *filler)
    two = write_jsonl(tmp_path / "test.jsonl", {"question": test, "answer": "1"})
    found = find_overlap(load_benchmark(str(one)), load_benchmark(str(two), prompt_template="Q: {problem}"))
    return [(overlap.kind, overlap.share) for overlap in found]


def test_the_same_question_is_exact_whatever_its_spelling_and_prompt(tmp_path: Path, write_jsonl: Write) -> None:
    spelled = DUCKS.replace(" and ", ",  AND\n").replace("16", "$16$")
    assert _pair(tmp_path, write_jsonl, spelled, DUCKS) == [("exact", 1.0)]


def test_another_question_is_no_overlap(tmp_path: Path, write_jsonl: Write) -> None:
    assert _pair(tmp_path, write_jsonl, SHEEP, DUCKS) == []


def test_a_question_with_a_changed_ending_is_near(tmp_path: Path, write_jsonl: Write) -> None:
    ((kind, share),) = _pair(tmp_path, write_jsonl, DUCKS.replace("How many are left?", "What remains at noon?"), DUCKS)
    assert kind == "near"
    assert 0.5 <= share < 1


def test_a_question_inside_a_longer_one_is_near(tmp_path: Path, write_jsonl: Write) -> None:
    assert _pair(tmp_path, write_jsonl, f"{SHEEP} Also: {DUCKS}", DUCKS) == [("near", 1.0)]


def test_other_numbers_make_another_exact_question(tmp_path: Path, write_jsonl: Write) -> None:
    assert ("exact", 1.0) not in _pair(tmp_path, write_jsonl, DUCKS.replace("16", "17"), DUCKS)


def test_words_that_all_test_problems_share_are_no_overlap(tmp_path: Path, write_jsonl: Write) -> None:
    frame = "Read the following statement with care and then answer the question below as a number: "
    train = write_jsonl(tmp_path / "train.jsonl", {"problem": frame + SHEEP, "answer": "1"})
    rows = [{"problem": f"{frame}is {word} a {word}?", "answer": "1"} for word in ("cat", "dog", "cow", "hen", "fox", "owl")]
    test = write_jsonl(tmp_path / "test.jsonl", *rows)
    assert find_overlap(load_benchmark(str(train)), load_benchmark(str(test))) == []


@pytest.mark.parametrize("setting", [{"ngram": 0}, {"threshold": 0.0}, {"threshold": 1.5}])
def test_settings_that_mean_nothing_are_refused(setting: dict[str, float]) -> None:
    with pytest.raises(InputError, match="the run length must be"):
        find_overlap(load_benchmark("gsm8k"), load_benchmark("math500"), **setting)  # type: ignore[arg-type]


def test_tracerls_training_set_holds_math_test_problems_but_none_of_math500(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNMASK_DATA", str(shared))
    train = load_benchmark("math_train")
    exact = {overlap.train for overlap in find_overlap(train, load_benchmark("math")) if overlap.kind == "exact"}
    assert 2_900 <= len(exact) <= 2_950
    assert not [overlap for overlap in find_overlap(train, load_benchmark("math500")) if overlap.kind == "exact"]
