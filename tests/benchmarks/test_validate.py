"""A benchmark against itself: gold answers pass, empty and wrong ones fail, and a broken verifier is found out."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from unmask.benchmarks import load_benchmark, validate

Write = Callable[..., Path]
LIVEBENCH = ["math", "reasoning", "data_analysis", "instruction_following"]


def test_math_answers_are_checked_three_ways() -> None:
    task = load_benchmark("math500")
    checks = list(validate(task, task.load()[:25], workers=1))
    asked = Counter(check.kind for check in checks)
    assert (asked["gold"], asked["empty"]) == (25, 25)
    assert asked["perturbed"] > 25  # several near misses for some of them
    assert [check for check in checks if not check.passed] == []


def test_a_verifier_that_accepts_everything_is_found_out(tmp_path: Path, write_jsonl: Write) -> None:
    (tmp_path / "lenient.py").write_text("def yes(problem, completion):\n    return 1.0\n")
    data = write_jsonl(tmp_path / "d.jsonl", {"question": "?", "answer": "1"}, {"question": "??", "answer": "2"})
    task = load_benchmark(str(data), verifier=f"{tmp_path / 'lenient.py'}:yes")
    failed = Counter(check.kind for check in validate(task, workers=1) if not check.passed)
    assert failed == {"empty": 2, "perturbed": 2}


def test_a_verifier_that_accepts_nothing_is_found_out(tmp_path: Path, write_jsonl: Write) -> None:
    (tmp_path / "strict.py").write_text("def no(problem, completion):\n    return 0.0\n")
    data = write_jsonl(tmp_path / "d.jsonl", {"question": "?", "answer": "1"})
    task = load_benchmark(str(data), verifier=f"{tmp_path / 'strict.py'}:no")
    found = {check.kind: check.passed for check in validate(task, workers=1)}
    assert found == {"empty": True, "gold": False, "perturbed": True}


def test_a_verifier_that_cannot_judge_does_not_pass(tmp_path: Path, write_jsonl: Write) -> None:
    (tmp_path / "broken.py").write_text("def none(problem, completion):\n    return None\n")
    data = write_jsonl(tmp_path / "d.jsonl", {"question": "?", "answer": "1"})
    task = load_benchmark(str(data), verifier=f"{tmp_path / 'broken.py'}:none")
    assert not any(check.passed for check in validate(task, workers=1))


def test_instructions_have_no_gold_answer(shared: Path) -> None:
    task = load_benchmark("livebench", shared, only=["summarize"])
    assert {check.kind for check in validate(task, task.load()[:5], workers=1)} == {"empty"}


def test_known_label_errors_are_shown(shared: Path) -> None:
    task = load_benchmark("aime2024", shared / "dllm_rl_format/AIME2024.json")
    noted = {check.problem.reference: check.note for check in validate(task, workers=1) if check.note}
    assert list(noted) == ["480"]
    assert "197" in noted["480"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gsm8k", "math500", "aime2024", "aime2025", "aime2026", "livebench"])
def test_every_shipped_task_is_green(name: str, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNMASK_DATA", str(shared))
    options: dict[str, Any] = {"only": LIVEBENCH} if name == "livebench" else {}
    failed = [(check.problem.id, check.kind) for check in validate(load_benchmark(name, **options)) if not check.passed]
    assert failed == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["leetcode", "leetcode@test", "leetcode_contest"])
def test_the_leetcode_sets_are_green(name: str, shared: Path, monkeypatch: pytest.MonkeyPatch, sandboxed: None) -> None:
    monkeypatch.setenv("UNMASK_DATA", str(shared))
    checks = list(validate(load_benchmark(name)))
    assert [(check.problem.id, check.kind, check.verdict.detail) for check in checks if not check.passed] == []
    assert {check.problem.metadata["slug"] for check in checks if check.note} == (
        {"word-ladder-ii"} if name == "leetcode" else set()
    )
