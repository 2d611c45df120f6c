"""GSM8K, MATH-500 and AIME: the right problems, asked as the protocol says, with answers a verifier can use."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from unmask.benchmarks import breakdown, load_benchmark, verifier_of
from unmask.benchmarks.math import last_boxed
from unmask.rewards.errors import InputError
from unmask.rewards.records import Completion

Write = Callable[..., Path]
ASK = "\nPlease reason step by step, and put your final answer within \\boxed{}."


def test_gsm8k_ships_its_1319_test_problems() -> None:
    task = load_benchmark("gsm8k")
    problems = task.load()
    assert len(problems) == task.size == 1319
    assert task.revision == "sha256:3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14"
    assert problems[2].reference == "70000"
    assert problems[0].id == "gsm8k/0"


def test_gsm8k_references_are_plain_numbers_without_commas() -> None:
    assert all(problem.reference.removeprefix("-").replace(".", "", 1).isdigit() for problem in load_benchmark("gsm8k").load())


def test_math500_ships_500_problems_with_subject_and_level() -> None:
    task = load_benchmark("math500")
    problems = task.load()
    assert len(problems) == task.size == 500
    assert problems[0].id == "math500/test/precalculus/807.json"
    assert problems[0].metadata == {"subject": "Precalculus", "level": 2}
    assert problems[0].reference == r"\left( 3, \frac{\pi}{2} \right)"
    assert {problem.metadata["level"] for problem in problems} == {1, 2, 3, 4, 5}


@pytest.mark.parametrize("name", ["gsm8k", "math500"])
def test_the_prompt_is_one_user_turn_in_the_boxed_protocol(name: str) -> None:
    problem = load_benchmark(name).load()[0]
    (message,) = problem.prompt
    assert message.role == "user"
    assert message.content.endswith(ASK)
    assert problem.task == name


def test_scores_are_broken_down_by_subject_and_level() -> None:
    task = load_benchmark("math500")
    problems = task.load()
    found = breakdown(task, problems, {p.id: float(p.metadata["level"] < 3) for p in problems})
    assert (found["level/1"], found["level/5"]) == (1.0, 0.0)
    assert 0 < found["subject/Algebra"] < 1
    assert breakdown(task, problems, {problems[0].id: 1.0}) == {"level/2": 1.0, "subject/Precalculus": 1.0}


def test_a_prompt_of_ones_own_keeps_braces_of_the_problem() -> None:
    problem = load_benchmark("math500", prompt_template="Q: {problem}\nA:").load()[0]
    assert problem.prompt[0].content.startswith("Q: Convert the point $(0,3)$")
    assert r"$(r,\theta),$" in problem.prompt[0].content


def test_a_prompt_without_a_place_for_the_problem_is_refused() -> None:
    with pytest.raises(InputError, match=r"has no .problem. placeholder"):
        load_benchmark("math500", prompt_template="Solve it.")


def test_the_training_split_has_a_name_and_ids_of_its_own(tmp_path: Path, write_jsonl: Write) -> None:
    data = write_jsonl(tmp_path / "t.jsonl", {"question": "1+1?", "answer": "so\n#### 2"})
    task = load_benchmark("gsm8k@train", data)
    assert task.name == "gsm8k@train"
    assert task.size is None
    assert [problem.id for problem in task.load()] == ["gsm8k@train/0"]


def test_an_unknown_split_names_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"no split 'trian' \(did you mean 'train'\?\); splits: test, train"):
        load_benchmark("gsm8k@trian")


def test_local_data_is_identified_by_its_content(tmp_path: Path, write_jsonl: Write) -> None:
    one = write_jsonl(tmp_path / "one.jsonl", {"question": "1+1?", "answer": "2"})
    two = write_jsonl(tmp_path / "two.jsonl", {"question": "1+2?", "answer": "3"})
    assert load_benchmark("gsm8k", one).revision != load_benchmark("gsm8k", two).revision


@pytest.mark.parametrize(
    ("task", "row", "message"),
    [
        ("gsm8k", {"question": "?"}, "line 1: field 'answer' or 'ground_truth_answer' or 'Answer': missing"),
        ("gsm8k", {"question": "?", "answer": "#### many"}, "line 1: field 'answer': no number"),
        ("gsm8k", {"question": 5.5, "answer": None}, "line 1: field 'answer'"),
        ("math500", {"problem": "?", "answer": "1", "level": 9}, "line 1: field 'level': expected 1 to 5"),
        ("aime2025", {"problem": "?", "answer": "1000"}, "line 1: field 'answer': expected an integer from 0 to 999"),
        ("aime2025", {"problem": "?", "answer": "-3"}, "line 1: field 'answer'"),
        ("aime2025", {"problem": ["?"], "answer": "3"}, "line 1: field 'problem': expected text"),
    ],
)
def test_a_malformed_row_names_file_line_and_field(
    tmp_path: Path, task: str, row: dict[str, object], message: str, write_jsonl: Write
) -> None:
    file = write_jsonl(tmp_path / "bad.jsonl", row)
    with pytest.raises(InputError, match=message) as caught:
        load_benchmark(task, file).load()
    assert str(file) in str(caught.value)


def test_two_rows_with_one_id_are_refused(tmp_path: Path, write_jsonl: Write) -> None:
    row = {"id": 7, "problem": "?", "answer": "3"}
    with pytest.raises(InputError, match="line 2: problem id 'aime2025/7' occurs twice"):
        load_benchmark("aime2025", write_jsonl(tmp_path / "a.jsonl", row, row)).load()


def test_data_without_rows_is_refused(tmp_path: Path, write_jsonl: Write) -> None:
    with pytest.raises(InputError, match="task 'aime2025': the data holds no problems"):
        load_benchmark("aime2025", write_jsonl(tmp_path / "a.jsonl")).load()


def test_aime_answers_lose_leading_zeros(tmp_path: Path, write_jsonl: Write) -> None:
    file = write_jsonl(tmp_path / "a.jsonl", {"problem": "?", "answer": "073"}, {"Problem": "??", "Answer": 73})
    assert [problem.reference for problem in load_benchmark("aime2024", file).load()] == ["73", "73"]


def test_aime_asks_for_several_samples() -> None:
    task = load_benchmark("aime2026")
    assert (task.metric, task.samples, task.size) == ("avg@k", 16, 30)


@pytest.mark.parametrize("year", [2024, 2025, 2026])
def test_aime_reads_the_data_folder(year: int, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNMASK_DATA", str(shared))
    problems = load_benchmark(f"aime{year}").load()
    assert len({problem.id for problem in problems}) == 30
    assert all(problem.metadata["year"] == year for problem in problems)


def test_known_faults_of_the_copies_become_notes(shared: Path) -> None:
    copy = load_benchmark("aime2024", shared / "dllm_rl_format/AIME2024.json").load()
    wrong = [problem for problem in copy if "note" in problem.metadata]
    assert [problem.reference for problem in wrong] == ["480"]
    assert "197" in wrong[0].metadata["note"]
    official = load_benchmark("aime2024", shared / "aime/aime2024.jsonl").load()
    assert not [problem for problem in official if "note" in problem.metadata]
    noted = [
        problem.id
        for problem in load_benchmark("aime2026", shared / "aime/aime2026.jsonl").load()
        if problem.metadata.get("note")
    ]
    assert noted == ["aime2026/2026-I-11"]


@pytest.mark.parametrize(("task", "file", "size"), [("gsm8k", "GSM8K.json", 1319), ("math500", "MATH500.json", 500)])
def test_the_dllm_rl_copies_are_read_and_agree_with_the_official_data(task: str, file: str, size: int, shared: Path) -> None:
    copy = load_benchmark(task, shared / "dllm_rl_format" / file).load()
    official = {problem.prompt: problem.reference for problem in load_benchmark(task).load()}
    assert len(copy) == size
    assert all(official.get(problem.prompt, problem.reference) == problem.reference for problem in copy)
    assert sum(problem.prompt in official for problem in copy) > size * 0.9


@pytest.mark.parametrize(("task", "size"), [("math", 5000), ("math@train", 7498), ("math_train", 8521), ("gsm8k@train", 7473)])
def test_training_sets_are_read_from_the_data_folder(task: str, size: int, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNMASK_DATA", str(shared))
    benchmark = load_benchmark(task)
    problems = benchmark.load()
    assert len(problems) == size
    assert benchmark.size in (None, size)
    assert all(problem.reference for problem in problems)


def test_levels_keep_what_tracerl_trains_on(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNMASK_DATA", str(shared))
    problems = load_benchmark("math@train", levels=[3, 4, 5]).load()
    assert {problem.metadata["level"] for problem in problems} == {3, 4, 5}
    assert {problem.metadata["level"] for problem in load_benchmark("math_train").load()} == {3, 4, 5}


@pytest.mark.parametrize("levels", [[0], [6], "3-5", 3])
def test_levels_that_do_not_exist_are_refused(levels: object) -> None:
    with pytest.raises(InputError, match="levels: expected a list of numbers from 1 to 5"):
        load_benchmark("math", levels=levels)


@pytest.mark.parametrize(
    ("solution", "answer"),
    [
        (r"so \boxed{1} or rather $\boxed{\frac{1}{2}}$.", r"\frac{1}{2}"),
        (r"thus \boxed{\{1,\sqrt{2}\}}", r"\{1,\sqrt{2}\}"),
        (r"hence $\boxed 3$ apples", "3"),
        (r"and \fbox{7}", "7"),
        ("no box", ""),
        (r"never closed \boxed{1", ""),
    ],
)
def test_the_answer_of_a_worked_solution_is_its_last_box(solution: str, answer: str) -> None:
    assert last_boxed(solution) == answer


def test_hub_rows_of_math_carry_the_answer_inside_the_solution(tmp_path: Path, write_jsonl: Write) -> None:
    row = {"problem": "1+1?", "level": "Level 2", "type": "Algebra", "solution": r"It is $\boxed{2}$."}
    unknown = {"problem": "?", "level": "Level ?", "type": "Geometry", "solution": r"\boxed{24}"}
    unanswered = {"problem": "?", "level": "Level 5", "type": "Algebra", "solution": r"(A)"}
    problems = load_benchmark("math", write_jsonl(tmp_path / "m.jsonl", row, unknown, unanswered)).load()
    assert [problem.reference for problem in problems] == ["2", "24"]
    assert [problem.metadata for problem in problems] == [{"subject": "Algebra", "level": 2}, {"subject": "Geometry"}]


@pytest.mark.parametrize("text", [r"\boxed{70,000}", "so\n#### 70000", "The answer is $70,000.", "He made 70000 dollars."])
def test_gsm8k_answers_are_found_in_every_usual_form(text: str) -> None:
    task = load_benchmark("gsm8k")
    verdict = verifier_of(task)(task.load()[2], Completion(text))
    assert (verdict.reward, verdict.status) == (1.0, "correct")


def test_an_aime_answer_may_keep_its_leading_zeros(tmp_path: Path, write_jsonl: Write) -> None:
    task = load_benchmark("aime2024", write_jsonl(tmp_path / "a.jsonl", {"problem": "?", "answer": "073"}))
    verify, (problem,) = verifier_of(task), task.load()
    assert [verify(problem, Completion(rf"\boxed{{{n}}}")).reward for n in ("73", "073", "730")] == [1.0, 1.0, 0.0]


@pytest.mark.parametrize("name", ["gsm8k", "math500"])
def test_every_gold_answer_passes_its_own_verifier_and_silence_fails(name: str) -> None:
    task = load_benchmark(name)
    verify: Any = verifier_of(task)
    for problem in task.load():
        verdict = verify.quick(problem, Completion(rf"Therefore \boxed{{{problem.reference}}}."))
        assert verdict is not None
        assert verdict.reward == 1.0, problem.id
        assert verify.quick(problem, Completion("")).status == "unparsed"
