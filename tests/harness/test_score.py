"""`unmask score` and `unmask validate` from the command line."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from unmask.harness import judge
from unmask.harness.cli import main
from unmask.harness.statistics import estimate
from unmask.harness.tally import Tally


def write(path: Path, lines: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def verdicts(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "verdicts.jsonl").read_text().splitlines()]


PAIRS = [
    {"id": "a", "completion": r"so \boxed{\frac{1}{2}}", "reference": "0.5"},
    {"id": "b", "completion": r"\boxed{7}", "reference": "8"},
    {"id": "c", "completion": "", "reference": "8"},
    {"id": "d", "completion": r"\boxed{(x+1)^2}", "reference": "x^2+2x+1"},
]


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    return write(tmp_path / "pairs.jsonl", PAIRS)


def test_a_run_is_judged_again_from_all_that_it_recorded(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "def reward(problem, completion):\n    return float(completion.finish == 'stop' and len(completion.token_ids) > 3)\n"
    )
    run = ["eval", "--model", "demo", "--task", "arith", "--limit", "4", "--device", "cpu", "--verifier", f"{file}:reward"]
    assert main([*run, "--out", str(tmp_path / "run")]) == 0
    again = ["score", str(tmp_path / "run"), "--task", "arith", "--verifier", f"{file}:reward", "--out", str(tmp_path / "out")]
    assert main(again) == 0
    assert [line["reward"] for line in verdicts(tmp_path / "out")] == [1.0] * 4


def test_a_line_that_was_mended_can_be_scored_into_the_same_folder(tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", [{"id": "a", "completion": r"\boxed{7}"}])
    command = ["score", str(source), "--verifier", "math", "--out", str(tmp_path / "out")]
    assert main(command) == 2
    write(source, [{"id": "a", "completion": r"\boxed{7}", "reference": "7"}])
    assert main(command) == 0


def test_pairs_are_judged_in_input_order(pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", str(pairs), "--verifier", "math", "--out", str(tmp_path / "out")]) == 0
    found = verdicts(tmp_path / "out")
    assert [line["id"] for line in found] == ["a", "b", "c", "d"]
    assert [line["status"] for line in found] == ["correct", "wrong", "unparsed", "correct"]
    assert set(found[0]) >= {"id", "reward", "status", "extracted", "expected", "seconds", "detail"}
    result = json.loads((tmp_path / "out" / "results.json").read_text())
    assert (result["completions"], result["score"]["mean"]) == (4, 0.5)
    assert "correct 2" in capsys.readouterr().out


def test_a_scoring_goes_on_after_the_last_verdict(pairs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    main(["score", str(pairs), "--verifier", "math", "--out", str(out)])
    whole = (out / "verdicts.jsonl").read_text()
    first = whole.splitlines(keepends=True)[0]
    (out / "verdicts.jsonl").write_text(first + whole.splitlines()[1][:20])
    assert main(["score", str(pairs), "--verifier", "math", "--out", str(out)]) == 0
    assert (out / "verdicts.jsonl").read_text().startswith(first)
    assert [line["status"] for line in verdicts(out)] == ["correct", "wrong", "unparsed", "correct"]


SLOW_FIRST = """
import time
from unmask.rewards import Verdict


class SlowFirst:
    name, version = "slow_first", "1"

    def quick(self, problem, completion):
        return Verdict(1.0, "correct") if problem.id != "0" else None

    def __call__(self, problem, completion):
        time.sleep(1.5)
        return Verdict(0.0, "wrong")
"""


def test_a_slow_line_does_not_pile_up_those_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow.py").write_text(SLOW_FIRST)
    lines = [{"id": str(number), "completion": "", "reference": ""} for number in range(5000)]
    source = write(tmp_path / "many.jsonl", lines)
    read, written = 0, 0
    ahead: list[int] = []
    read_answers, write_one = judge.read_answers, judge.Judge._write

    def counted(*arguments: Any) -> Any:
        nonlocal read
        for answer in read_answers(*arguments):
            read += 1
            ahead.append(read - written)
            yield answer

    def noted(self: Any, *arguments: Any) -> None:
        nonlocal written
        write_one(self, *arguments)
        written += 1

    monkeypatch.setattr(judge, "read_answers", counted)
    monkeypatch.setattr(judge.Judge, "_write", noted)
    assert main(["score", str(source), "--verifier", f"{tmp_path / 'slow.py'}:SlowFirst", "--out", str(tmp_path / "out")]) == 0
    assert max(ahead) == judge.AHEAD
    found = verdicts(tmp_path / "out")
    assert [line["id"] for line in found] == [line["id"] for line in lines]
    assert [line["status"] for line in found[:2]] == ["wrong", "correct"]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_memory_does_not_grow_with_the_lines() -> None:
    script = Path(__file__).parents[1] / "perf" / "score.py"

    def peak(lines: int) -> float:
        command = [sys.executable, str(script), "--lines", str(lines), "--problems", "200", "--length", "8000", "--workers", "1"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return float(done.stdout.rpartition("host process: ")[2].split()[0])

    # 1,500 lines fill every buffer. 4,000 more are 32 MB of text and, kept as records, more than that.
    assert peak(5500) - peak(1500) < 4


def test_sums_per_problem_give_the_estimate_of_all_rewards() -> None:
    rewards = {"a": [1.0, 0.0, 1.0], "b": [0.5], "c": [], "d": [0.0, 0.0]}
    clusters = {"a": "x", "b": "x", "d": "y"}
    tally = Tally()
    for problem, values in rewards.items():
        tally.add(problem, clusters.get(problem, problem), None)
        for value in values:
            tally.add(problem, clusters.get(problem, problem), value)
    assert tally.estimate() == estimate(rewards, clusters)
    assert len(tally) == 4


def test_sums_of_single_right_or_wrong_answers_have_wilsons_interval() -> None:
    tally = Tally()
    for number in range(10):
        tally.add(str(number), str(number), float(number < 7))
    found = tally.estimate()
    assert found == estimate({str(n): [float(n < 7)] for n in range(10)}, {})
    assert found is not None
    assert found.interval == "wilson"
    tally.add("0", "0", 1.0)
    again = tally.estimate()
    assert again is not None
    assert again.interval == "t"
    assert Tally().estimate() is None


def test_a_task_gives_the_references_and_samples_group_by_problem(tmp_path: Path) -> None:
    from unmask.benchmarks import load_benchmark

    one, two = load_benchmark("arith").load()[:2]
    lines: list[dict[str, Any]] = [
        {"id": "1", "problem_id": one.id, "sample": 0, "completion": rf"\boxed{{{one.reference}}}"},
        {"id": "2", "problem_id": one.id, "sample": 1, "completion": r"\boxed{-1}"},
        {"id": "3", "problem_id": two.id, "completion": rf"\boxed{{{two.reference}}}"},
    ]
    source = write(tmp_path / "answers.jsonl", lines)
    assert main(["score", str(source), "--task", "arith", "--out", str(tmp_path / "out")]) == 0
    result = json.loads((tmp_path / "out" / "results.json").read_text())
    assert (result["problems"], result["completions"]) == (2, 3)
    assert result["score"]["mean"] == pytest.approx(0.75)


WEIGHTED = """
from unmask import Benchmark, Problem
from unmask.rewards import Message, Verdict


class Length:
    name, version = "length", "1"

    def __call__(self, problem, completion):
        right = completion.text == problem.reference
        return Verdict(float(right), "correct" if right else "wrong", parts={"length": len(completion.text), "seen": 1.0})


class Weighted(Benchmark):
    name, verifier, description = "weighted", Length(), "two parts of unequal size"
    groups, metrics = ("kind",), ("length",)

    def load(self):
        ask = (Message("user", "?"),)
        kinds = {"a": "one", "b": "two", "c": "two", "d": "two"}
        return [Problem(name, "weighted", ask, name, {"kind": kind}) for name, kind in kinds.items()]

    def weights(self, problems):
        kinds = [problem.metadata["kind"] for problem in problems]
        share = 1 / len(set(kinds))
        return {problem.id: (kind, share / kinds.count(kind)) for problem, kind in zip(problems, kinds)}
"""


def test_the_score_is_the_benchmarks_official_total(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.py").write_text(WEIGHTED)
    answers = {"a": "a", "b": "b", "c": "wrong", "d": "no"}
    source = write(tmp_path / "answers.jsonl", [{"id": name, "completion": text} for name, text in answers.items()])
    for _ in range(2):  # the second time from the verdicts that are there
        assert main(["score", str(source), "--task", f"{tmp_path / 'mine.py'}:Weighted", "--out", str(tmp_path / "out")]) == 0
        result = json.loads((tmp_path / "out" / "results.json").read_text())
        assert result["score"]["mean"] == pytest.approx((1 + 1 / 3) / 2)
        assert result["breakdown"] == {"kind/one": 1.0, "kind/two": pytest.approx(1 / 3)}
        assert result["metrics"] == {"length": 9 / 4}
        shown = capsys.readouterr().out
        assert "66.7" in shown
        assert "kind/two" in shown


def test_a_run_directory_is_judged_again(tmp_path: Path) -> None:
    run, out = tmp_path / "run", tmp_path / "out"
    assert main(["eval", "--model", "demo", "--task", "arith", "--limit", "4", "--device", "cpu", "--out", str(run)]) == 0
    assert main(["score", str(run), "--task", "arith", "--out", str(out)]) == 0
    (task,) = json.loads((run / "results.json").read_text())["tasks"]
    again = json.loads((out / "results.json").read_text())
    assert again["score"] == task["score"]
    assert again["statuses"] == task["statuses"]


BAD: dict[str, tuple[list[dict[str, Any]], list[str], str]] = {
    "no judge": (PAIRS, [], "--task or --verifier"),
    "no reference": ([{"id": "a", "completion": "x"}], ["--verifier", "math"], "line 1: field 'reference'"),
    "unknown problem": ([{"id": "arith/1-x", "completion": "x"}], ["--task", "arith"], "'problem_id'"),
    "missing field": ([{"id": "a"}], ["--verifier", "math"], "line 1: field 'completion': missing"),
    "wrong type": ([PAIRS[0], {"id": 5, "completion": "x"}], ["--verifier", "math"], "line 2: field 'id'"),
    "empty file": ([], ["--verifier", "math"], "no completions"),
    "unknown rule": (PAIRS, ["--verifier", "math", "--set", "verifier.ordre=1"], "order"),
    "option without task": (PAIRS, ["--verifier", "math", "--set", "task.levels=1"], "--task"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_lines_and_settings_exit_2_and_are_named(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines, arguments, hint = BAD[case]
    source = write(tmp_path / "in.jsonl", lines)
    assert main(["score", str(source), *arguments, "--out", str(tmp_path / "out")]) == 2
    errors = capsys.readouterr().err.strip()
    assert errors.count("\n") == 0
    assert hint in errors


def test_another_source_into_the_same_folder_is_refused(pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    main(["score", str(pairs), "--verifier", "math", "--out", str(out)])
    other = write(tmp_path / "other.jsonl", PAIRS[:1])
    assert main(["score", str(other), "--verifier", "math", "--out", str(out)]) == 2
    assert "another scoring" in capsys.readouterr().err


def test_validate_passes_on_a_task_whose_gold_answers_are_right(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--task", "arith", "--limit", "40"]) == 0
    assert "40/40" in capsys.readouterr().out


def test_validate_fails_when_a_gold_answer_does_not_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "strict.py"
    file.write_text(
        "from unmask.benchmarks.arith import Arith\n"
        "def never(problem, completion):\n    return 0.0\n"
        "class Mine(Arith):\n    pass\n"
        f"MINE = Mine(verifier='{file}:never')\n"
    )
    assert main(["validate", "--task", f"{file}:MINE", "--limit", "5"]) == 1
    assert "0/5" in capsys.readouterr().out


def test_overlap_finds_a_problem_that_is_in_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "A farmer has seventeen sheep and all but nine of them run away; how many sheep are left on the farm?"
    train = write(tmp_path / "train.jsonl", [{"question": text, "answer": "9"}, {"question": "What is 2+2?", "answer": "4"}])
    test = write(tmp_path / "test.jsonl", [{"question": text.upper(), "answer": "9"}, {"question": "Who?", "answer": "me"}])
    assert main(["validate", "--overlap", str(train), str(test)]) == 1
    assert "1 problems of" in capsys.readouterr().out
