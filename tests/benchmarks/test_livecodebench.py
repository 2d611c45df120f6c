"""LiveCodeBench: releases, windows, the official prompt, and tests that are read late and never trusted."""

import base64
import gzip
import json
import pickle
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from unmask.benchmarks import load_benchmark, verifier_of
from unmask.benchmarks.lcb_checkers import CHECKERS
from unmask.benchmarks.lcb_data import parse_releases
from unmask.benchmarks.lcb_tests import decode_tests, read_tests
from unmask.benchmarks.lcb_verifier import LiveCodeBenchVerifier
from unmask.benchmarks.rows import Row, read_rows
from unmask.rewards.errors import InputError
from unmask.rewards.records import Completion, Problem, Verdict

Write = Callable[..., Path]
SHARED = next((p / "shared/data" for p in Path(__file__).resolve().parents if (p / "shared/data").is_dir()), None)
CASE = {"input": "1 2\n", "output": "3\n", "testtype": "stdin"}


def packed(value: object) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(value))).decode()


def hub_row(question_id: str = "abc1_a", **changes: Any) -> dict[str, Any]:
    return {
        "question_title": "Sum",
        "question_content": "Add two numbers.",
        "platform": "atcoder",
        "question_id": question_id,
        "contest_id": "abc1",
        "contest_date": "2024-06-01T00:00:00",
        "starter_code": "",
        "difficulty": "easy",
        "public_test_cases": json.dumps([CASE]),
        "private_test_cases": packed(json.dumps([CASE, CASE])),
        "metadata": "{}",
        **changes,
    }


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (open, ("executed", "w"))


@pytest.mark.parametrize(
    ("tag", "releases"),
    [("release_v1", (1, 1)), ("release_v6", (1, 6)), ("release_latest", (1, 6)), ("v5", (5, 5)), ("v4_v6", (4, 6))],
)
def test_a_tag_names_a_range_of_releases(tag: str, releases: tuple[int, int]) -> None:
    assert parse_releases(tag) == releases


@pytest.mark.parametrize("tag", ["release_v7", "v0", "v6_v4", "release_v1_v2", "latest", ""])
def test_a_tag_that_does_not_exist_is_refused(tag: str) -> None:
    with pytest.raises(InputError, match="no such release; use release_v1 to release_v6"):
        parse_releases(tag)


def test_the_releases_have_their_published_sizes(shared: Path) -> None:
    sizes = [len(load_benchmark(f"livecodebench@release_v{n}", shared, tests="available").load()) for n in range(1, 7)]
    without_any = [3, 5, 7, 10, 10, 11]
    assert [size + missing for size, missing in zip(sizes, without_any, strict=True)] == [400, 511, 612, 713, 880, 1055]


def test_single_releases_and_ranges_have_their_published_sizes(shared: Path) -> None:
    sizes = {tag: len(load_benchmark(f"livecodebench@{tag}", shared, tests="complete").load()) for tag in ("v1", "v6", "v4_v6")}
    assert sizes == {"v1": 295, "v6": 148, "v4_v6": 51 + 123 + 148}


def test_problems_without_complete_tests_are_not_left_out_in_silence(shared: Path) -> None:
    with pytest.raises(InputError, match=r"292 of 1055 problems .*set task\.tests=complete to keep the other 763"):
        load_benchmark("livecodebench", shared).load()


def test_a_window_keeps_both_its_ends(shared: Path) -> None:
    task = load_benchmark("livecodebench", shared, tests="complete", after="2024-08-03", before="2024-10-05")
    days = {problem.metadata["date"] for problem in task.load()}
    assert min(days) == "2024-08-03"
    assert max(days) == "2024-10-05"
    assert task.revision.endswith("after=2024-08-03 before=2024-10-05 tests=complete")


def test_difficulty_and_platform_are_splits(shared: Path) -> None:
    problems = load_benchmark("livecodebench", shared, tests="complete", difficulty="hard", platform="leetcode").load()
    assert problems
    assert {(p.metadata["difficulty"], p.metadata["platform"]) for p in problems} == {("hard", "leetcode")}


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("after", "August", "after: expected a day"),
        ("difficulty", "esay", "did you mean 'easy'"),
        ("tests", "some", "tests 'some'"),
    ],
)
def test_options_that_mean_nothing_are_refused(option: str, value: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_benchmark("livecodebench", **{option: value})


def test_the_prompt_is_the_official_chat_prompt(tmp_path: Path, write_jsonl: Write) -> None:
    starter = "class Solution:\n    def add(self, a: int) -> int:\n        "
    rows = [hub_row(), hub_row("7", platform="leetcode", starter_code=starter, metadata='{"func_name": "add"}')]
    plain, called = load_benchmark("livecodebench", write_jsonl(tmp_path / "rows.jsonl", *rows)).load()
    assert plain.prompt[0].content.startswith("You are an expert Python programmer.")
    assert plain.prompt[1].content == (
        "### Question:\nAdd two numbers.\n\n### Format: Read the inputs from stdin solve the problem and write the answer to "
        "stdout (do not directly test on the sample inputs). Enclose your code within delimiters as follows. Ensure that when "
        "the python program runs, it reads the inputs, runs the algorithm and writes output to STDOUT.\n"
        "```python\n# YOUR CODE HERE\n```\n\n### Answer: (use the provided format with backticks)\n\n"
    )
    assert f"enclose your code within delimiters.\n```python\n{starter}\n```\n\n### Answer" in called.prompt[1].content
    assert called.reference["func_name"] == "add"


def test_no_test_reaches_the_problem_record(tmp_path: Path, write_jsonl: Write) -> None:
    (problem,) = load_benchmark("livecodebench", write_jsonl(tmp_path / "rows.jsonl", hub_row())).load()
    assert set(problem.reference) == {"tests_file", "question_id", "func_name"}


def test_known_faults_become_notes(shared: Path) -> None:
    problems = load_benchmark("livecodebench", shared, tests="available").load()
    noted = {p.id.removeprefix("livecodebench/") for p in problems if "note" in p.metadata}
    assert {"abc326_d", "abc337_e", "abc350_c", "3221"} <= noted
    assert len(noted) == 17


def test_the_hubs_own_files_are_read_release_by_release(tmp_path: Path, write_jsonl: Write) -> None:
    write_jsonl(tmp_path / "test.jsonl", hub_row("a"))
    write_jsonl(tmp_path / "test2.jsonl", hub_row("b"))
    assert [p.id for p in load_benchmark("livecodebench@release_v2", tmp_path).load()] == ["livecodebench/a", "livecodebench/b"]
    assert [p.metadata["release"] for p in load_benchmark("livecodebench@v2", tmp_path).load()] == ["v2"]
    with pytest.raises(InputError, match=r"holds no test3\.jsonl, which release_v3 needs"):
        load_benchmark("livecodebench@release_v3", tmp_path).load()


def test_offline_says_which_files_to_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: None)
    with pytest.raises(InputError, match=r"download test\.jsonl of livecodebench/code_generation_lite \(revision 0fe84c3912ea\)"):
        load_benchmark("livecodebench").load()


def test_files_that_the_hub_cache_holds_need_no_network(
    tmp_path: Path, write_jsonl: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kept(repository: str, name: str, revision: str, repo_type: str) -> str:
        assert (repository, repo_type) == ("livecodebench/code_generation_lite", "dataset")
        assert revision == "0fe84c3912ea0c4d4a78037083943e8f0c4dd505"
        return str(write_jsonl(tmp_path / name, hub_row(f"row of {name}")))

    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", kept)
    task = load_benchmark("livecodebench@v2_v3")
    assert [p.id for p in task.load()] == ["livecodebench/row of test2.jsonl", "livecodebench/row of test3.jsonl"]
    assert task.revision == "livecodebench/code_generation_lite@0fe84c3912ea0c4d4a78037083943e8f0c4dd505"


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither a file nor a folder with"):
        load_benchmark("livecodebench", tmp_path).load()


def test_the_encoded_tests_equal_the_plain_ones(shared: Path) -> None:
    encoded = list(read_rows(shared / "lcb/lcb_hf_encoded_sample20.jsonl"))
    assert len(encoded) == 20
    problems = {p.id: p for p in load_benchmark("livecodebench@v6", shared, tests="complete").load()}
    same = 0
    for row in encoded:
        problem = problems.get(f"livecodebench/{row.values['question_id']}")
        if problem is not None:
            assert decode_tests(row) == read_tests(Path(problem.reference["tests_file"]), row.values["question_id"])
            same += 1
    assert same == 5


def test_public_tests_come_before_private_ones() -> None:
    other = {**CASE, "input": "5 6\n"}
    tests = decode_tests(Row("f, line 1", hub_row(private_test_cases=packed(json.dumps([other])))))
    assert [test.input for test in tests] == ["1 2\n", "5 6\n"]


@pytest.mark.parametrize("hostile", [Evil(), [Evil()], {"a": print}, InputError])
def test_a_pickle_that_holds_a_class_is_refused_and_nothing_runs(
    hostile: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    row = Row("file, line 4", hub_row(private_test_cases=packed(hostile)))
    with pytest.raises(InputError, match="file, line 4: field 'private_test_cases': refused to unpickle: it holds"):
        decode_tests(row)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("not base64!", r"neither JSON nor base64\(zlib\(pickle\)\)"),
        (base64.b64encode(b"plain").decode(), r"neither JSON nor base64\(zlib\(pickle\)\)"),
        (packed(json.dumps([CASE]))[:-8], "truncated|neither JSON"),
        (base64.b64encode(zlib.compress(b"\x80\x04X")).decode(), "damaged pickle|refused"),
        (packed(5), "the pickle holds int, expected text"),
        (packed("{}"), "expected a list of tests"),
        ("[1", "not valid JSON"),
        ("[1]", "test 1: expected an object"),
        ('[{"input": 1, "output": "2", "testtype": "stdin"}]', "test 1: 'input' should be text"),
        ('[{"input": "1", "output": "2", "testtype": "magic"}]', "testtype 'magic'"),
        (None, "expected a list of tests"),
    ],
)
def test_a_malformed_test_column_names_file_row_and_field(column: object, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        decode_tests(Row("file, line 4", hub_row(private_test_cases=column)))
    assert str(caught.value).startswith("file, line 4: field 'private_test_cases'")


def test_no_tests_at_all_is_an_error(tmp_path: Path, write_jsonl: Write) -> None:
    file = write_jsonl(tmp_path / "rows.jsonl", hub_row(public_test_cases="[]", private_test_cases="[]"))
    with pytest.raises(InputError, match=r"line 1.*no tests"):
        read_tests(file, "abc1_a")


def test_reading_one_problem_reads_its_row_only(tmp_path: Path) -> None:
    good, bad = json.dumps(hub_row("good")), json.dumps(hub_row("bad", private_test_cases="garbage"))
    (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress(f"{bad}\n\n{good}\n".encode()))
    assert len(read_tests(tmp_path / "rows.jsonl.gz", "good")) == 3
    with pytest.raises(InputError, match=r"line 1 \(bad\): field 'private_test_cases'"):
        read_tests(tmp_path / "rows.jsonl.gz", "bad")
    with pytest.raises(InputError, match="holds no row with question_id 'ugly'"):
        read_tests(tmp_path / "rows.jsonl.gz", "ugly")


def test_a_file_that_changes_is_indexed_again(tmp_path: Path, write_jsonl: Write) -> None:
    file = write_jsonl(tmp_path / "rows.jsonl", hub_row("a"))
    assert read_tests(file, "a")
    write_jsonl(file, hub_row("bb"), hub_row("a"))
    assert read_tests(file, "bb")


def test_two_rows_of_one_problem_are_refused(tmp_path: Path, write_jsonl: Write) -> None:
    with pytest.raises(InputError, match="line 2: field 'question_id': 'a' occurs twice"):
        load_benchmark("livecodebench", write_jsonl(tmp_path / "rows.jsonl", hub_row("a"), hub_row("a"))).load()


def test_a_truncated_file_of_tests_is_an_error(tmp_path: Path) -> None:
    whole = gzip.compress((json.dumps(hub_row()) + "\n").encode() * 50)
    (tmp_path / "rows.jsonl.gz").write_bytes(whole[:-40])
    with pytest.raises(InputError, match="truncated or damaged gzip"):
        read_tests(tmp_path / "rows.jsonl.gz", "abc1_a")


def test_listing_all_problems_is_fast_and_small(shared: Path) -> None:
    code = (
        "import re, time; from pathlib import Path; from unmask.benchmarks import load_benchmark; start = time.process_time();"
        f"load_benchmark('livecodebench', {str(shared)!r}, tests='available').load();"
        "peak = re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text());"  # rusage would count this process as well
        "print(time.process_time() - start, int(peak[1]) // 1024)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, mebibytes = done.stdout.split()
    assert float(seconds) < 6  # seconds of CPU, which a busy machine stretches
    assert int(mebibytes) < 500


SHORT_SORT = "for _ in range(int(input())):\n    print('YES' if sum(a != b for a, b in zip(input(), 'abc')) in (0, 2) else 'NO')"


def judge(problem: Problem, code: str, rule: Any = "default") -> Verdict:
    return LiveCodeBenchVerifier(rule)(problem, Completion(f"Thus:\n```python\n{code}\n```\n"))


@pytest.fixture(scope="module")
def problems(sandboxed: None) -> dict[str, Problem]:
    if SHARED is None:
        pytest.skip("no shared/ folder beside the checkout")
    return {p.id.partition("/")[2]: p for p in load_benchmark("livecodebench", SHARED, tests="available").load()}


def test_a_right_program_passes_and_says_by_which_rule_and_limit(problems: dict[str, Problem]) -> None:
    verdict = judge(problems["1873_A"], SHORT_SORT)
    assert (verdict.reward, verdict.status) == (1.0, "correct")
    assert verdict.detail == "default rule"
    assert verdict.parts["tests"] == 5.0
    assert verdict.parts["cpu_limit"] == 6.0


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (SHORT_SORT.replace("2)", "2, 3)"), "wrong"),
        ("print('YES')\nimport os\nos._exit(0)", "wrong"),
        ("raise SystemExit", "wrong"),
        ("x = ", "crashed"),
        ("while True: pass", "timeout"),
    ],
)
def test_a_wrong_program_fails(code: str, status: str, problems: dict[str, Problem], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unmask.benchmarks.lcb_verifier.SECONDS", 1.0)
    assert judge(problems["1873_A"], code).status == status


def test_code_outside_the_last_two_fences_is_not_taken(problems: dict[str, Problem]) -> None:
    verify = LiveCodeBenchVerifier()
    unclosed = f"```python\n{SHORT_SORT}"
    other_last = f"```python\n{SHORT_SORT}\n```\nSo:\n```\nexample output\n```"
    assert verify(problems["1873_A"], Completion(unclosed)).status == "unparsed"
    assert verify(problems["1873_A"], Completion(other_last)).reward == 0.0


def test_a_function_is_called_with_json_arguments(problems: dict[str, Problem]) -> None:
    code = (
        "class Solution:\n    def findWordsContaining(self, words, x):\n        return [i for i, w in enumerate(words) if x in w]"
    )
    assert judge(problems["3194"], code).reward == 1.0
    assert judge(problems["3194"], code.replace("return [", "return [0] + [")).reward == 0.0


def test_the_default_rule_takes_any_right_output_and_the_official_one_does_not(problems: dict[str, Problem]) -> None:
    code = "a, b = map(int, input().split())\nprint(next(n for n in range(9, -1, -1) if n != a + b))"
    accepted = judge(problems["abc343_a"], code)
    assert accepted.reward == 1.0
    assert "any right output accepted" in accepted.detail
    assert judge(problems["abc343_a"], code, "official").reward == 0.0
    assert judge(problems["abc343_a"], "a, b = map(int, input().split())\nprint(a + b)").reward == 0.0


def test_every_checker_accepts_the_stored_outputs_and_no_others(problems: dict[str, Problem]) -> None:
    tried = 0
    for question_id, source in CHECKERS.items():
        namespace: dict[str, Any] = {}
        exec(source, namespace)  # our own program
        check, problem = namespace["check"], problems[question_id]
        for case in read_tests(Path(problem.reference["tests_file"]), question_id):
            if case.testtype == "stdin":
                assert check(case.input, case.output, case.output) is True, question_id
                assert not accepts(check, case.input, f"{case.output.rstrip()} 7\n", case.output), question_id
                assert not accepts(check, case.input, "", case.output), question_id
            else:
                arguments, value = [json.loads(line) for line in case.input.split("\n")], json.loads(case.output)
                assert check(arguments, list(reversed(value)), value) is True
                assert not check(arguments, [*value, *(value[:1] or [1])], value)
            tried += 1
    assert tried > 60


def accepts(check: Any, *arguments: str) -> bool:
    """A checker that raises has not accepted."""
    try:
        return check(*arguments) is True
    except (IndexError, ValueError):
        return False


def test_a_reference_of_another_benchmark_is_refused() -> None:
    problem = Problem(id="x", task="y", prompt=(), reference="4")
    with pytest.raises(InputError, match="its reference names no tests"):
        judge(problem, "print(4)")


def test_a_rule_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InputError, match="rule 'loose' is neither default nor official"):
        verifier_of(load_benchmark("livecodebench", rule="loose"))
