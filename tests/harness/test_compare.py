"""`unmask compare`: what it computes, what it refuses, what it shows."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from unmask.harness.cli import main
from unmask.harness.runs import open_run
from unmask.harness.tables import at_k
from unmask.rewards.records import Message, Problem

from .made_runs import BROKEN, DECODE, MODEL, RIGHT, WRONG, Made, make_run, problem


def compared(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["compare", *map(str, arguments), "--json"]) == 0
    (task,) = json.loads(capsys.readouterr().out)["tasks"]
    assert isinstance(task, dict)
    return task


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    assert main(["compare", *map(str, arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err


@pytest.fixture
def a(tmp_path: Path) -> Path:
    return make_run(tmp_path / "a", [[RIGHT], [RIGHT], [WRONG], [WRONG], [RIGHT], [WRONG]])


def test_problems_are_paired_and_those_that_flipped_are_named(a: Path, capsys: pytest.CaptureFixture[str]) -> None:
    b = make_run(a.parent / "b", [[RIGHT], [WRONG], [RIGHT], [RIGHT], [RIGHT], [WRONG]])
    task = compared(capsys, a, b)
    assert task["difference"]["mean"] == pytest.approx(1 / 6)
    assert [flip["problem_id"] for flip in task["gained"]] == ["toy/2", "toy/3"]
    assert [flip["problem_id"] for flip in task["lost"]] == ["toy/1"]
    assert task["signs"] == {"wins": 2, "losses": 1, "ties": 3, "p": pytest.approx(1.0)}
    levels = {group["name"]: group["difference"]["mean"] for group in task["groups"]}
    assert levels == {"1": pytest.approx(1 / 3), "2": pytest.approx(0.0)}


def test_the_tables_say_what_was_compared(a: Path, capsys: pytest.CaptureFixture[str]) -> None:
    b = make_run(a.parent / "b", [[RIGHT], [WRONG], [RIGHT], [RIGHT], [RIGHT], [WRONG]])
    assert main(["compare", str(a), str(b)]) == 0
    shown = capsys.readouterr().out
    assert "toy: 6 problems in both runs" in shown
    assert "+16.7 ±" in shown
    assert "sign test: 2 better, 1 worse, 3 equal, p = 1" in shown
    assert "solved in B only: 2: toy/2, toy/3" in shown
    assert "left out" not in shown


def test_another_checkpoint_may_be_compared_and_is_shown(a: Path, capsys: pytest.CaptureFixture[str]) -> None:
    b = make_run(a.parent / "b", [[RIGHT]] * 6, model=replace(MODEL, id="trained", fingerprint="ff"), seed=7)
    assert set(compared(capsys, a, b)["differs"]) == {"model", "fingerprint", "seed"}


def test_settings_that_differ_silently_are_refused(a: Path, capsys: pytest.CaptureFixture[str]) -> None:
    b = make_run(a.parent / "b", [[RIGHT]] * 6, decode=replace(DECODE, threshold=0.5), model=replace(MODEL, dtype="bfloat16"))
    said = refused(capsys, a, b)
    assert "decode.threshold (0.9 and 0.5)" in said
    assert "dtype (float32 and bfloat16)" in said
    assert "decode.threshold (" not in refused(capsys, a, b, "--allow-different", "fingerprint,decode").split("compare, add")[0]
    task = compared(capsys, a, b, "--allow-different", "decode.threshold,dtype")
    assert task["differs"] == {"dtype": ["float32", "bfloat16"], "decode.threshold": [0.9, 0.5]}


def test_an_unknown_setting_is_an_error_that_names_the_nearest(a: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean 'decode.threshold'?" in refused(capsys, a, a, "--allow-different", "decode.treshold")


def test_problems_that_were_asked_in_another_way_are_noticed(a: Path, capsys: pytest.CaptureFixture[str]) -> None:
    problems = [problem(i) for i in range(6)]
    problems[4] = replace(problems[4], prompt=(Message("user", "Think! What is six times seven?"),))
    b = make_run(a.parent / "b", [[RIGHT]] * 6, problems=problems)
    assert "problems (1 of 6 have another prompt or reference and first: toy/4)" in refused(capsys, a, b)
    assert compared(capsys, a, b, "--allow-different", "problems")["problems"] == 6


def test_only_common_problems_count_and_the_others_are_stated(a: Path, capsys: pytest.CaptureFixture[str]) -> None:
    b = make_run(a.parent / "b", [[RIGHT, WRONG], [BROKEN, BROKEN], [RIGHT, RIGHT], [WRONG, BROKEN]])
    task = compared(capsys, a, b)
    assert task["problems"] == 3
    assert (task["a"]["only"], task["b"]["only"], task["b"]["unjudged"]) == (3, 0, 3)
    assert (task["a"]["samples"], task["b"]["samples"]) == ([1, 1], [1, 2])
    assert task["difference"]["mean"] == pytest.approx((-0.5 + 1.0 + 0.0) / 3)
    main(["compare", str(a), str(b)])
    shown = capsys.readouterr().out
    assert "left out: 3 problems are only in A" in shown
    assert "left out: 3 samples of B could not be judged" in shown


def test_a_second_cluster_widens_the_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    problems = [problem(i, subject="algebra" if i < 4 else "geometry") for i in range(8)]
    a = make_run(tmp_path / "a", [[WRONG]] * 8, problems=problems)
    b = make_run(tmp_path / "b", [[RIGHT]] * 4 + [[WRONG]] * 4, problems=problems)
    alone, both = compared(capsys, a, b), compared(capsys, a, b, "--cluster", "subject")
    assert both["difference"]["se"] > alone["difference"]["se"]
    assert both["cluster"] == "subject"
    assert "did you mean 'subject'?" in refused(capsys, a, b, "--cluster", "subjects")


def test_what_is_no_finished_run_is_refused(a: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no such directory" in refused(capsys, a, tmp_path / "none")
    assert "no run directory" in refused(capsys, a, tmp_path)
    (a / "results.json").unlink()
    assert "not finished" in refused(capsys, a, a)


def test_a_run_reads_back_as_it_was_written(tmp_path: Path) -> None:
    made = replace(WRONG, parts={"tests": 3.0}, text="ünïcode 漢字 🎉\n")
    run = open_run(make_run(tmp_path / "a", [[made, RIGHT]]))
    first, second = [row.sample for row in run.samples()]
    assert first.rollout.text == made.text
    assert first.verdict.parts == {"tests": 3.0}
    assert (second.verdict.status, second.rollout.sample) == ("correct", 1)
    assert [(p.id, p.reference) for p in run.problems()] == [("toy/0", "42")]


def test_a_comparison_with_itself_finds_nothing(a: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = compared(capsys, a, a)
    assert task["difference"]["mean"] == 0.0
    assert task["correlation"] == pytest.approx(1.0)
    assert (task["gained"], task["lost"], task["differs"]) == ([], [], {})


def test_a_shared_mean_above_one_half_is_no_flip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    half: list[Made] = [RIGHT, WRONG]
    a = make_run(tmp_path / "a", [half, half, [RIGHT, RIGHT]])
    b = make_run(tmp_path / "b", [[RIGHT, RIGHT], half, half])
    task = compared(capsys, a, b)
    assert [flip["problem_id"] for flip in (*task["gained"], *task["lost"])] == ["toy/0", "toy/2"]


def test_a_task_with_weights_of_its_own_is_compared_by_them(
    a: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Weighted:
        def weights(self, problems: list[Problem]) -> dict[str, tuple[str, float]]:
            """Two parts of equal weight, one with two problems and one with four."""
            return {p.id: ("few", 1 / 4) if p.id in ("toy/0", "toy/1") else ("many", 1 / 8) for p in problems}

    b = make_run(a.parent / "b", [[WRONG], [RIGHT], [RIGHT], [WRONG], [RIGHT], [WRONG]])
    unweighted = compared(capsys, a, b)
    assert "should the task weight them, that is not known here" in unweighted["notes"][0]  # there is no task "toy"
    monkeypatch.setattr("unmask.benchmarks.registry.load_benchmark", lambda *_, **__: Weighted())
    task = compared(capsys, a, b)
    assert unweighted["difference"]["mean"] == pytest.approx(0.0)
    assert task["difference"]["mean"] == pytest.approx(-1 / 4 + 1 / 8)
    assert task["a"]["score"]["mean"] == pytest.approx(2 / 4 + 1 / 8)
    assert task["notes"] == []


def test_several_samples_a_problem_have_avg_pass_and_maj(tmp_path: Path) -> None:
    (result,) = open_run(make_run(tmp_path / "a", [[RIGHT, WRONG], [RIGHT, RIGHT], [WRONG, WRONG]])).results
    assert at_k(result) == "avg@2 50.0, pass@1 50.0, pass@2 66.7, maj@2 50.0"
