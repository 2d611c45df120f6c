"""Several processes share a run: nothing is done twice, nobody is waited for, and the result is that of one process."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from unmask.harness.cli import main
from unmask.harness.sharding import LAUNCHERS, Claims, Shard, shard_from_environment
from unmask.harness.store import Judged, Log
from unmask.rewards.errors import InputError
from unmask.rewards.records import Verdict

EVAL = ["eval", "--model", "demo", "--task", "arith", "--seed", "1", "--device", "cpu", "--samples", "2", "--set", "workers=1"]


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for names in LAUNCHERS.values():
        for name in filter(None, names):
            monkeypatch.delenv(name, raising=False)


def start(out: Path, limit: int, rank: int, size: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "unmask.harness.cli", *EVAL, "--limit", str(limit), "--out", str(out)]
    env = {**os.environ, "RANK": str(rank), "WORLD_SIZE": str(size)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)


def lines(folder: Path) -> list[dict[str, Any]]:
    """All whole lines of all part files."""
    parts = sorted(folder.glob("**/part-*.jsonl"))
    return [json.loads(line) for part in parts for line in part.read_bytes().split(b"\n")[:-1]]


def wait_for(out: Path, ranks: int, count: int) -> None:
    """Wait until `ranks` processes have written `count` records each."""
    for _ in range(1200):
        counts = [part.read_bytes().count(b"\n") for part in (out / "records").glob("part-*.jsonl")]
        if sum(number >= count for number in counts) >= ranks:
            return
        time.sleep(0.05)
    raise AssertionError("the processes wrote nothing for a minute")


def rollouts(out: Path) -> dict[str, dict[str, Any]]:
    """Every record but for the time it took; the test fails if one is there twice."""
    found = lines(out / "records")
    assert max(Counter(line["key"] for line in found).values()) == 1
    return {line["key"]: {**line["rollout"], "seconds": 0} for line in found}


def rewards(out: Path) -> dict[str, float]:
    found = lines(out / "verdicts")
    assert max(Counter(line["key"] for line in found).values()) == 1
    return {line["key"]: line["verdict"]["reward"] for line in found}


@pytest.mark.slow
def test_a_run_that_three_processes_began_and_two_finished_is_that_of_one(tmp_path: Path) -> None:
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    assert main([*EVAL, "--limit", "40", "--out", str(alone)]) == 0
    three = [start(shared, 40, rank, 3) for rank in range(3)]
    wait_for(shared, 2, 2)
    for process in three:
        process.kill()
    for process in three:
        process.communicate()
    assert 0 < len(lines(shared / "records")) < 80
    assert not (shared / "results.json").exists()
    two = [start(shared, 40, rank, 2) for rank in range(2)]
    printed = [process.communicate(timeout=120)[0] for process in two]
    assert [process.returncode for process in two] == [0, 0], printed
    assert rollouts(shared) == rollouts(alone)
    assert rewards(shared) == rewards(alone)
    assert sum("95% interval" in text for text in printed) == 1, "one of them reports"
    ours, theirs = (json.loads((out / "results.json").read_text())["tasks"][0] for out in (shared, alone))
    assert {**ours, "tokens_per_second": 0} == {**theirs, "tokens_per_second": 0}


@pytest.mark.slow
def test_what_a_killed_process_had_begun_is_finished_by_another_of_the_launch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    victim = start(tmp_path / "run", 40, 0, 2)
    wait_for(tmp_path / "run", 1, 3)
    victim.kill()
    victim.communicate()
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main([*EVAL, "--limit", "40", "--out", str(tmp_path / "run")]) == 0
    assert "arith, rank 1 of 2: 80/80 samples" in capfd.readouterr().out
    assert len(rollouts(tmp_path / "run")) == len(rewards(tmp_path / "run")) == 80
    assert (tmp_path / "run" / "results.json").exists()


HOLD = """
import sys, time
from pathlib import Path
from unmask.harness.sharding import Claims, Shard
assert Claims(Path(sys.argv[1]), Shard()).take(7)
print("taken", flush=True)
time.sleep(60)
"""


def test_a_dry_run_says_which_process_this_would_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLURM_PROCID", "3")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "16")
    assert main([*EVAL, "--limit", "4", "--out", str(tmp_path / "run"), "--dry-run"]) == 0
    assert "process: rank 3 of 16" in capsys.readouterr().out
    assert not (tmp_path / "run").exists()


def test_what_a_living_process_works_on_is_left_to_it_and_taken_when_it_dies(tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "taken\n"
    claims = Claims(tmp_path, Shard(1, 2))
    assert not claims.take(7)
    assert claims.take(8)
    other.kill()
    other.communicate()
    assert claims.take(7)
    claims.close()


def test_a_run_that_another_process_is_still_working_on_has_no_results_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "taken\n"
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main([*EVAL, "--limit", "20", "--out", str(tmp_path)]) == 0
    assert "rank 1 of 2 has nothing left to do; 4 samples are other processes'" in capsys.readouterr().out
    assert not (tmp_path / "results.json").exists()
    other.kill()
    other.communicate()
    assert main([*EVAL, "--limit", "20", "--out", str(tmp_path)]) == 0
    assert len(rollouts(tmp_path)) == 40
    assert (tmp_path / "results.json").exists()


def test_everybody_has_a_share_and_then_goes_through_everything(tmp_path: Path) -> None:
    claims = [Claims(tmp_path, Shard(rank, 3)) for rank in range(3)]
    assert [list(claim.own(10)) for claim in claims] == [[0, 3, 6, 9], [1, 4, 7], [2, 5, 8]]
    assert list(claims[1].others(10)) == [9, 8, 6, 5, 3, 2, 0]


@pytest.mark.parametrize(
    ("environment", "shard"),
    [
        ({}, Shard()),
        ({"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}, Shard(3, 8, 1, 2)),
        ({"SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "6", "SLURM_LOCALID": "1"}, Shard(5, 6, 1, 1)),
        ({"RANK": "0", "WORLD_SIZE": "2", "SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "4"}, Shard(0, 2)),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}, Shard()),
    ],
    ids=["no launcher", "torchrun", "srun", "torchrun under srun", "a batch script outside srun"],
)
def test_a_process_learns_from_its_launcher_who_it_is(environment: Mapping[str, str], shard: Shard) -> None:
    assert shard_from_environment(environment) == shard


def test_a_launcher_of_several_and_a_cluster_exclude_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main([*EVAL, "--out", str(tmp_path / "run"), "--executor", "ray"]) == 2
    assert "rank 0 of 2 was started by a launcher of several" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "says"),
    [(["--executor", "rya"], "did you mean 'ray'"), (["--actors", "2"], "--actors is for --executor ray")],
    ids=["unknown executor", "actors without a cluster"],
)
def test_a_place_of_work_that_cannot_be_is_refused(
    flags: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*EVAL, "--out", str(tmp_path / "run"), *flags]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_rank_that_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match="RANK is 'one'"):
        shard_from_environment({"RANK": "one", "WORLD_SIZE": "2"})
    with pytest.raises(InputError, match="rank 2 of 2"):
        shard_from_environment({"RANK": "2", "WORLD_SIZE": "2"})


def test_what_is_judged_together_stays_together_and_is_judged_again_together(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def reward(problem, completions):\n    return [float(len(completions))] * len(completions)\n")
    command = [*EVAL, "--samples", "3", "--limit", "4", "--verifier", f"{file}:reward", "--out", str(tmp_path / "run")]
    assert main(command) == 0
    (part,) = (tmp_path / "run" / "verdicts").glob("*/part-0.jsonl")
    part.write_text("".join(part.read_text().splitlines(keepends=True)[1:]))
    assert main(command) == 0
    rewards = {line["key"]: line["verdict"]["reward"] for line in lines(tmp_path / "run" / "verdicts")}
    assert list(rewards.values()) == [3.0] * 12


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_verifiers_error_never_outweighs_a_verdict_in_another_file(tmp_path: Path, order: tuple[int, int]) -> None:
    for rank, verdict in zip(order, (Verdict(None, "verifier_error"), Verdict(1.0, "correct")), strict=True):
        with Log(tmp_path, Judged, rank) as log:
            log.append(Judged("a", verdict))
    with Log(tmp_path, Judged, 2) as log:
        assert log.get("a").verdict.status == "correct"


def test_a_log_sees_what_others_append_and_tells_it_from_what_was_there(tmp_path: Path) -> None:
    with Log(tmp_path, Judged, 0) as ours, Log(tmp_path, Judged, 1) as theirs:
        theirs.append(Judged("a", Verdict(1.0, "correct")))
        assert "a" not in ours
        ours.refresh()
        assert ours.is_new("a")
        assert ours.get("a").verdict.reward == 1.0
    with Log(tmp_path, Judged, 0) as ours:
        assert not ours.is_new("a")
