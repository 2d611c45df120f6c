"""`unmask eval` from the command line, as a person uses it: results, resuming, interrupting, bad input."""

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from unmask.harness.cli import main
from unmask.harness.models.checkpoint import EMBEDDED

ARITH = ["eval", "--model", "demo", "--task", "arith", "--seed", "1", "--device", "cpu"]


def run(out: Path, *more: str) -> int:
    return main([*ARITH, "--limit", "6", "--samples", "2", "--out", str(out), *more])


def rows(out: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    table: list[dict[str, Any]] = pq.read_table(out / "samples.parquet").to_pylist()
    return [{k: v for k, v in row.items() if k not in ("seconds", "verify_seconds")} for row in table]


def records(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "records" / "part-0.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "first"
    assert run(out) == 0
    return out


def test_a_run_leaves_what_the_design_promises(finished: Path) -> None:
    for name in ("config.yaml", "environment.json", "problems.parquet", "results.json", "samples.parquet"):
        assert (finished / name).stat().st_size > 0
    assert len(records(finished)) == 12
    (folder,) = (finished / "verdicts").iterdir()
    assert len((folder / "part-0.jsonl").read_text().splitlines()) == 12


def test_the_result_carries_what_makes_it_repeatable(finished: Path) -> None:
    (task,) = json.loads((finished / "results.json").read_text())["tasks"]
    assert task["model"]["fingerprint"]
    assert (task["problems"], task["samples"], task["seed"]) == (6, 2, 1)
    assert task["decode"]["max_new_tokens"] == 128
    assert task["decode"]["block_size"] == 4
    assert task["data_revision"]
    assert sum(task["statuses"].values()) == 12
    assert set(task["pass_at_k"]) == {"1", "2"}
    score = task["score"]
    assert score["low"] <= score["mean"] <= score["high"]
    rewards = [row["reward"] for row in rows(finished)]
    assert score["mean"] == pytest.approx(sum(rewards) / len(rewards))


def test_the_result_has_the_scores_of_parts(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (task,) = json.loads((finished / "results.json").read_text())["tasks"]
    assert set(task["breakdown"]) <= {f"level/{level}" for level in range(1, 5)}
    assert len(task["breakdown"]) > 1
    assert all(0 <= value <= 1 for value in task["breakdown"].values())
    assert task["metrics"] == {}
    run(finished)
    shown = capsys.readouterr().out
    assert all(part in shown for part in task["breakdown"])


def test_the_samples_load_with_datasets(finished: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    table = load_dataset("parquet", data_files=str(finished / "samples.parquet"), cache_dir=str(tmp_path), split="train")
    assert len(table) == 12
    assert {"prompt", "completion", "reward", "solution", "completion_ids", "step_map", "logprobs"} <= set(table.column_names)
    assert table[0]["prompt"][0]["role"] == "user"


def test_the_same_command_twice_gives_the_same_samples(finished: Path, tmp_path: Path) -> None:
    assert run(tmp_path / "second", "--set", "max_batch=5") == 0
    assert rows(tmp_path / "second") == rows(finished)


def test_a_finished_run_is_not_done_again(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (finished / "records" / "part-0.jsonl").stat().st_mtime_ns
    assert run(finished) == 0
    assert (finished / "records" / "part-0.jsonl").stat().st_mtime_ns == before
    assert "12 were there already" in capsys.readouterr().out


def test_the_written_config_repeats_the_run(finished: Path, tmp_path: Path) -> None:
    assert main(["eval", "--config", str(finished / "config.yaml"), "--out", str(tmp_path / "again")]) == 0
    assert rows(tmp_path / "again") == rows(finished)


def test_lost_verdicts_are_judged_again_without_generating(finished: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    shutil.rmtree(copy / "verdicts")
    generated = (copy / "records" / "part-0.jsonl").read_bytes()
    assert run(copy) == 0
    assert (copy / "records" / "part-0.jsonl").read_bytes() == generated
    assert rows(copy) == rows(finished)


def start(out: Path, limit: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "unmask.harness.cli", *ARITH, "--limit", str(limit), "--samples", "2", "--out", str(out)]
    # A shell that runs the suite in the background has it ignore Ctrl-C, which its children inherit.
    listen = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=listen)


def wait_for_records(out: Path, count: int) -> None:
    part = out / "records" / "part-0.jsonl"
    for _ in range(1200):
        if part.exists() and part.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.05)
    raise AssertionError(f"fewer than {count} records after a minute")


@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_the_same(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert main([*ARITH, "--limit", "100", "--samples", "2", "--out", str(whole)]) == 0
    rng = random.Random(0)
    for count in (1, 20):
        process = start(broken, 100)
        wait_for_records(broken, count)
        time.sleep(rng.random() / 4)
        process.kill()
        process.communicate()
    assert 0 < (broken / "records" / "part-0.jsonl").read_bytes().count(b"\n") < 200
    assert main([*ARITH, "--limit", "100", "--samples", "2", "--out", str(broken)]) == 0
    assert len(records(broken)) == 200
    assert rows(broken) == rows(whole)


def test_ctrl_c_ends_in_one_line_and_the_run_can_go_on(tmp_path: Path) -> None:
    process = start(tmp_path / "run", 200)
    wait_for_records(tmp_path / "run", 5)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert "resumes" in errors
    before = len(records(tmp_path / "run"))
    process = start(tmp_path / "run", 200)
    wait_for_records(tmp_path / "run", before + 1)
    process.kill()
    process.communicate()


BAD = {
    "unknown task": (["--task", "airth"], "did you mean 'arith'"),
    "missing checkpoint": (["--model", "/no/such/model"], "no such directory"),
    "unknown key": (["--set", "decode.treshold=1"], "did you mean 'threshold'"),
    "block size": (["--set", "decode.block_size=3"], "blocks of 4"),
    "negative limit": (["--limit", "-1"], "at least 1"),
    "limit that is no number": (["--limit", "many"], "--limit"),
    "zero samples": (["--samples", "0"], "at least 1"),
    "unwritable output": (["--out", "/proc/nothing/run"], "--out"),
    "unknown preset": (["--decode", "dynamo"], "did you mean 'dynamic'"),
    "unknown verifier": (["--verifier", "maths"], "did you mean 'math'"),
    "unknown dtype": (["--dtype", "float12"], "--dtype"),
    "data that is missing": (["--task", "gsm8k", "--data", "/no/such.jsonl"], "no such"),
    "a task twice": (["--task", "arith,arith"], "twice"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_exits_2_with_one_helpful_line(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, hint = BAD[case]
    try:
        code = main([*ARITH, "--out", str(tmp_path / "run"), *arguments])
    except SystemExit as left:
        code = int(left.code or 0)
    errors = capsys.readouterr().err.strip()
    assert code == 2
    assert errors.count("\n") == 0
    assert hint in errors
    assert not (tmp_path / "run" / "config.yaml").exists()
    assert not (tmp_path / "run" / "records").exists()


def test_a_command_that_was_refused_can_be_mended_and_repeated(tmp_path: Path) -> None:
    assert run(tmp_path / "run", "--dtype", "float12") == 2
    assert run(tmp_path / "run") == 0


def test_a_checkpoint_that_changed_is_another_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "model"
    shutil.copytree(EMBEDDED["demo"], model)
    command = [
        "eval",
        "--model",
        str(model),
        "--task",
        "arith",
        "--limit",
        "2",
        "--device",
        "cpu",
        "--out",
        str(tmp_path / "run"),
    ]
    assert main(command) == 0
    config = json.loads((model / "config.json").read_text())
    config["rope_parameters"]["rope_theta"] = 50.0
    (model / "config.json").write_text(json.dumps(config))
    assert main(command) == 2
    assert "fingerprint was" in capsys.readouterr().err


def test_a_torn_session_line_does_not_matter(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "copy")
    with (tmp_path / "copy" / "sessions.jsonl").open("a") as file:
        file.write('{"task": "ar')
    assert run(tmp_path / "copy") == 0


def test_what_a_verifier_could_not_judge_is_judged_again_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    calls = tmp_path / "calls"
    file.write_text(
        "from pathlib import Path\n"
        f"CALLS = Path({str(calls)!r})\n"
        "def reward(problem, completion):\n"
        "    with CALLS.open('a') as log:\n"
        "        log.write(problem.id + chr(10))\n"
        "    if problem.id.endswith('/1-0') and not CALLS.with_name('mended').exists():\n"
        "        raise ValueError('the engine is down')\n"
        "    return 1.0\n"
    )
    arguments = ("--verifier", f"{file}:reward", "--set", "max_verifier_errors=1.0")
    assert run(tmp_path / "run", *arguments) == 0
    (tmp_path / "mended").write_text("")
    calls.write_text("")
    assert run(tmp_path / "run", *arguments) == 0
    assert set(calls.read_text().split()) == {"arith/1-0"}
    (task,) = json.loads((tmp_path / "run" / "results.json").read_text())["tasks"]
    assert task["statuses"] == {"correct": 12}


def test_two_problems_of_one_name_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bench.py"
    file.write_text(
        "from unmask.benchmarks.arith import Arith\n"
        "class Twice(Arith):\n"
        "    def load(self):\n"
        "        return super().load()[:1] * 2\n"
        "TWICE = Twice()\n"
    )
    assert main(["eval", "--model", "demo", "--task", f"{file}:TWICE", "--out", str(tmp_path / "run")]) == 2
    assert "occurs twice" in capsys.readouterr().err


def test_a_directory_of_another_run_is_refused_and_left_alone(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = rows(finished)
    assert run(finished, "--set", "decode.threshold=0.5") == 2
    assert "decode.threshold was 0.9, is now 0.5" in capsys.readouterr().err
    assert rows(finished) == before


def test_a_folder_with_other_files_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.tex").write_text("")
    assert run(tmp_path) == 2
    assert "thesis.tex" in capsys.readouterr().err
    assert not (tmp_path / "config.yaml").exists()


def test_a_dry_run_prints_the_plan_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import yaml

    assert run(tmp_path / "run", "--dry-run") == 0
    plan = yaml.safe_load(capsys.readouterr().out)
    assert plan["tasks"][0]["completions"] == 12
    assert plan["tasks"][0]["decode"]["max_new_tokens"] == 128
    assert not (tmp_path / "run").exists()


def test_a_verifier_that_always_fails_fails_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def reward(problem, completion):\n    raise ValueError('broken')\n")
    assert run(tmp_path / "run", "--verifier", f"{file}:reward") == 1
    assert "could not be judged" in capsys.readouterr().err
    (task,) = json.loads((tmp_path / "run" / "results.json").read_text())["tasks"]
    assert task["statuses"] == {"verifier_error": 12}
    assert task["score"] is None


def test_a_verifier_of_ones_own_is_a_function_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def reward(problem, completion):\n    return 0.25 if 'boxed' in completion.text else 0.0\n")
    assert run(tmp_path / "run", "--verifier", f"{file}:reward") == 0
    assert {row["reward"] for row in rows(tmp_path / "run")} == {0.25}


def test_list_and_doctor_say_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    listed = capsys.readouterr().out
    for name in ("arith", "gsm8k", "math500", "aime2026", "sdar", "demo", "math"):
        assert name in listed
    assert main(["doctor"]) == 0
    assert "decoding" in capsys.readouterr().out


def test_no_command_prints_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "eval" in capsys.readouterr().out
