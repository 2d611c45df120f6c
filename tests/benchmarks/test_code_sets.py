"""Sets of programs: reference solutions pass, other programs fail, and rows that cannot be judged are refused by name."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from unmask.benchmarks import load_benchmark, verifier_of
from unmask.benchmarks.base import Benchmark, gold_text
from unmask.benchmarks.coding import as_answer, called_functions
from unmask.rewards.errors import InputError
from unmask.rewards.records import Completion, Problem, Verdict

Write = Callable[..., Path]
HELLO = {
    "question": "Greet.",
    "test_method": "function",
    "test_list": ["def check(candidate):\n    assert candidate('a') == 'hi a'\n\ncheck(greet)"],
    "test_time_limit": 1,
    "prefix": 'Here is the completed code:\n```python\nGREETING = "hi "\n\ndef greet(name):\n    """Greet."""\n',
}
STDIO = {"question": "Add.", "test_method": "stdio", "test_input": ["1 2\n"], "test_output": ["3\n"], "test_time_limit": 1}


def judge(task: Benchmark, problem: Problem, text: str | None, sandboxed: None) -> Verdict:
    assert text is not None
    return verifier_of(task)(problem, Completion(text))


@pytest.mark.parametrize(("name", "size"), [("humaneval", 164), ("mbpp", 500), ("mbpp_sanitized", 257)])
def test_the_shipped_sets_are_complete_and_have_solutions(name: str, size: int) -> None:
    task = load_benchmark(name)
    problems = task.load()
    assert len(problems) == task.size == size
    assert all(gold_text(task, problem) for problem in problems)


def test_the_splits_of_mbpp_follow_its_task_ids() -> None:
    sizes = {split: len(load_benchmark(f"mbpp@{split}").load()) for split in ("test", "prompt", "validation", "train")}
    assert sizes == {"test": 500, "prompt": 10, "validation": 90, "train": 374}


def test_humaneval_asks_with_the_code_to_complete() -> None:
    problem = load_benchmark("humaneval").load()[0]
    assert problem.id == "humaneval/HumanEval/0"
    assert problem.prompt[0].content.startswith("You need to complete this code:\nfrom typing import List\n")
    assert problem.prompt[0].content.endswith("Do not include more than one code block.")
    assert "def check" not in problem.prompt[0].content


@pytest.mark.parametrize("name", ["humaneval", "mbpp", "mbpp_sanitized"])
def test_solutions_pass_and_other_programs_fail(name: str, sandboxed: None) -> None:
    task = load_benchmark(name)
    problems = task.load()[:6]
    for problem, other in zip(problems, [*problems[1:], problems[0]], strict=True):
        assert judge(task, problem, gold_text(task, problem), sandboxed).reward == 1.0, problem.id
        assert judge(task, problem, gold_text(task, other), sandboxed).reward == 0.0, problem.id


def test_a_humaneval_answer_may_be_whole_or_the_body_alone(sandboxed: None) -> None:
    task = load_benchmark("humaneval")
    problem = next(problem for problem in task.load() if problem.id.endswith("/23"))  # strlen
    assert judge(task, problem, as_answer("def strlen(string):\n    return len(string)"), sandboxed).reward == 1.0
    assert judge(task, problem, as_answer("    return len(string)"), sandboxed).reward == 1.0
    assert judge(task, problem, as_answer("    return 3"), sandboxed).reward == 0.0


@pytest.mark.parametrize(("task_id", "why"), [(367, "builds trees of the candidate's class"), (533, "passes a type")])
def test_tests_that_pass_objects_are_run_beside_the_candidate(task_id: int, why: str, sandboxed: None) -> None:
    task = load_benchmark("mbpp" if task_id < 511 else "mbpp@validation")
    problem = next(problem for problem in task.load() if problem.metadata["task_id"] == task_id)
    gold = gold_text(task, problem)
    assert gold is not None
    assert judge(task, problem, gold, sandboxed).reward == 1.0, why
    assert judge(task, problem, gold.replace("return ", "return None and "), sandboxed).reward == 0.0


def test_a_leetcode_solution_passes(shared: Path, monkeypatch: pytest.MonkeyPatch, sandboxed: None) -> None:
    monkeypatch.setenv("UNMASK_DATA", str(shared))
    task = load_benchmark("leetcode")
    problem = task.load()[0]
    assert len(problem.reference["tests"]) == 3
    assert judge(task, problem, gold_text(task, problem), sandboxed).reward == 1.0
    wrong = "class Solution:\n    def twoSum(self, nums, target):\n        return [0, 1]"
    assert judge(task, problem, as_answer(wrong), sandboxed).reward == 0.0


def test_results_in_any_order_are_compared_without_order(shared: Path, monkeypatch: pytest.MonkeyPatch, sandboxed: None) -> None:
    monkeypatch.setenv("UNMASK_DATA", str(shared))
    task = load_benchmark("leetcode")
    problem = next(problem for problem in task.load() if problem.metadata["slug"] == "word-ladder-ii")
    assert "any order" in problem.metadata["note"]
    assert judge(task, problem, gold_text(task, problem), sandboxed).reward == 1.0
    paths = [["hit", "hot", "lot", "log", "cog"], ["hit", "hot", "dot", "dog", "cog"]]
    answer = (
        "class Solution:\n    def findLadders(self, beginWord, endWord, wordList):\n"
        "        return {} if endWord in wordList else []"
    )
    for found, reward in ((paths, 1.0), (paths[::-1], 1.0), (paths[:1], 0.0)):
        assert judge(task, problem, as_answer(answer.format(found)), sandboxed).reward == reward


def test_leetcode_solutions_may_use_sorted_containers(shared: Path, monkeypatch: pytest.MonkeyPatch, sandboxed: None) -> None:
    monkeypatch.setenv("UNMASK_DATA", str(shared))
    task = load_benchmark("leetcode")
    problem = next(problem for problem in task.load() if problem.metadata["slug"] == "closest-room")
    assert "SortedList" in str(gold_text(task, problem))
    assert judge(task, problem, gold_text(task, problem), sandboxed).reward == 1.0


def test_leetcode_leaves_out_what_livecodebench_holds(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNMASK_DATA", str(shared))
    assert len(load_benchmark("leetcode").load()) == 1691
    assert len(load_benchmark("leetcode@test").load()) == 69


def test_a_contest_problem_is_judged(shared: Path, monkeypatch: pytest.MonkeyPatch, sandboxed: None) -> None:
    monkeypatch.setenv("UNMASK_DATA", str(shared))
    task = load_benchmark("leetcode_contest")
    problems = task.load()
    assert len(problems) == task.size == 178
    code = "class Solution:\n    def minimumPushes(self, word):\n        return sum(i // 8 + 1 for i in range(len(word)))"
    assert judge(task, problems[0], as_answer(code), sandboxed).reward == 1.0
    assert judge(task, problems[0], as_answer(code.replace("// 8", "// 9")), sandboxed).reward == 0.0


@pytest.mark.parametrize(("name", "style"), [("code_contests_sample", "stdin"), ("rl_train_oj_0328_1707_sample", "assert")])
def test_samples_of_sandboxfusion_are_read(name: str, style: str, shared: Path) -> None:
    problems = load_benchmark(str(shared / f"code/sandboxfusion_{name}.jsonl.gz")).load()
    assert len(problems) == 20
    assert all(problem.reference["style"] == style and problem.reference["tests"] for problem in problems)


def test_a_sandboxfusion_row_is_judged(tmp_path: Path, write_jsonl: Write, sandboxed: None) -> None:
    case = {"input": {"stdin": "1 2\n"}, "output": {"stdout": "3\n"}}
    rows = [
        {"content": "Add.", "test": json.dumps([case])},
        {"content": "Add.", "test": "assert solve(1, 2) == 3\nassert solve(0, 0) == 0"},
    ]
    task = load_benchmark(str(write_jsonl(tmp_path / "d.jsonl", *rows)))
    one, two = task.load()
    assert judge(task, one, as_answer("print(sum(map(int, input().split())))"), sandboxed).reward == 1.0
    assert judge(task, two, as_answer("def solve(a, b):\n    return a + b"), sandboxed).reward == 1.0
    assert judge(task, two, as_answer("def solve(a, b):\n    return 3"), sandboxed).reward == 0.0


@pytest.mark.parametrize("name", ["HumanEval", "MBPP", "MBPP_train"])
def test_the_dllm_rl_files_are_read_directly(name: str, shared: Path) -> None:
    task = load_benchmark(str(shared / f"dllm_rl_format/{name}.json"))
    problems = task.load()
    assert (task.name, task.verifier, len(problems)) == (name, "code", {"HumanEval": 164, "MBPP": 498, "MBPP_train": 472}[name])
    assert problems[0].reference["limits"] == {"cpu_seconds": 1.0}
    assert "Do not include more than one code block." in problems[0].prompt[0].content


def test_a_dllm_rl_copy_of_humaneval_accepts_the_official_solutions(shared: Path, sandboxed: None) -> None:
    copy, official = load_benchmark(str(shared / "dllm_rl_format/HumanEval.json")), load_benchmark("humaneval")
    for problem, original in list(zip(copy.load(), official.load(), strict=True))[:5]:
        assert judge(copy, problem, gold_text(official, original), sandboxed).reward == 1.0, original.id


def test_a_begun_answer_lends_its_names_but_not_its_function(tmp_path: Path, write_jsonl: Write, sandboxed: None) -> None:
    task = load_benchmark(str(write_jsonl(tmp_path / "d.jsonl", HELLO)))
    (problem,) = task.load()
    assert judge(task, problem, as_answer("def greet(name):\n    return GREETING + name"), sandboxed).reward == 1.0
    assert judge(task, problem, as_answer("def greet(name):\n    pass"), sandboxed).reward == 0.0
    assert judge(task, problem, as_answer("print('hi')"), sandboxed).reward == 0.0


def test_a_stdio_task_compares_tokens(tmp_path: Path, write_jsonl: Write, sandboxed: None) -> None:
    task = load_benchmark(str(write_jsonl(tmp_path / "d.jsonl", STDIO)))
    (problem,) = task.load()
    assert problem.prompt[0].content.startswith("This is the problem:\nAdd.\nYou should put your code in ```python ```.")
    assert judge(task, problem, as_answer("print('', sum(map(int, input().split())), '')"), sandboxed).reward == 1.0
    assert judge(task, problem, as_answer("print(4)"), sandboxed).reward == 0.0


def test_verified_problems_of_primeintellect_are_read(tmp_path: Path, write_jsonl: Write, sandboxed: None) -> None:
    case = {"type": "stdin_stdout", "input": "1 2\n", "output": "3\n"}
    call = {"type": "function_call", "fn_name": "add", "input": [1, 2], "output": [3]}
    rows = [
        {"prompt": "Add.", "verification_info": json.dumps({"language": "python", "test_cases": [case]})},
        {"prompt": "Add.", "verification_info": {"test_cases": [call]}, "gold_standard_solution": "def add(a, b): return a + b"},
    ]
    task = load_benchmark(str(write_jsonl(tmp_path / "d.jsonl", *rows)))
    one, two = task.load()
    assert one.prompt[0].content == "Add."
    assert judge(task, one, as_answer("a, b = map(int, input().split())\nprint(a + b)"), sandboxed).reward == 1.0
    assert judge(task, two, gold_text(task, two), sandboxed).reward == 1.0
    assert judge(task, two, as_answer("def add(a, b): return 4"), sandboxed).reward == 0.0


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({**HELLO, "test_list": []}, "field 'test_list': expected a list that is not empty"),
        ({**HELLO, "test_method": "magic"}, "field 'test_method': 'magic' is neither"),
        ({**HELLO, "test_time_limit": 0}, "field 'test_time_limit': expected seconds"),
        ({**STDIO, "test_output": ["3\n", "4\n"]}, "field 'test_output': 2 outputs for 1 inputs"),
        ({**STDIO, "test_input": [], "test_output": []}, "field 'test_input'"),
        ({"content": "?", "test": "[]"}, "expected a list of tests that is not empty"),
        ({"content": "?", "test": '[{"input": {}}]'}, "'stdin' of a test should be text"),
        ({"content": "?", "test": "assert ("}, "neither JSON nor Python"),
        ({"prompt": "?", "verification_info": "{"}, "field 'verification_info': not valid JSON"),
        ({"prompt": "?", "verification_info": {"test_cases": []}}, "test_cases that are not empty"),
        ({"prompt": "?", "verification_info": {"language": "rust", "test_cases": [{}]}}, "language 'rust'"),
        ({"prompt": "?", "verification_info": {"test_cases": [{"type": "magic"}]}}, "test types"),
    ],
)
def test_a_row_that_cannot_be_judged_is_refused(row: dict[str, Any], message: str, tmp_path: Path, write_jsonl: Write) -> None:
    with pytest.raises(InputError, match=f"line 1: .*{message}"):
        load_benchmark(str(write_jsonl(tmp_path / "d.jsonl", row))).load()


@pytest.mark.parametrize("tests", [[], "assert f(1)", [1], ["assert f("]])
def test_an_mbpp_row_without_tests_is_refused(tests: object, tmp_path: Path, write_jsonl: Write) -> None:
    row = {"task_id": 11, "text": "?", "code": "", "test_list": tests}
    with pytest.raises(InputError, match="line 1: field 'test_list'"):
        load_benchmark("mbpp", write_jsonl(tmp_path / "d.jsonl", row)).load()


def test_an_mbpp_row_without_a_number_is_refused(tmp_path: Path, write_jsonl: Write) -> None:
    row = {"task_id": "eleven", "text": "?", "code": "", "test_list": ["assert f(1)"]}
    with pytest.raises(InputError, match="line 1: field 'task_id': expected a number"):
        load_benchmark("mbpp", write_jsonl(tmp_path / "d.jsonl", row)).load()


def test_functions_with_the_name_of_a_builtin_are_found() -> None:
    assert called_functions(["assert sum(1, 2) == 3"], "def sum(a, b):\n    return a + b", "f") == ["sum"]
    assert called_functions(["assert set(f(1)) == {1}"], "", "f") == ["f"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["humaneval", "mbpp", "mbpp_sanitized"],
)
def test_every_solution_passes_and_every_other_program_fails(name: str, sandboxed: None) -> None:
    from unmask.benchmarks import validate

    checks = list(validate(load_benchmark(name)))
    assert Counter(check.kind for check in checks if not check.passed) == {}
