"""`unmask train` from the command line, as a person uses it: what a run leaves, resuming, faults, settings that are wrong."""

import json
import os
import random
import signal
import subprocess
import sys
import time
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from unmask.harness.cli import main
from unmask.harness.models.saving import save_model
from unmask.trainers import checkpoint, loop, state
from unmask.trainers.tracking import MetricsLog, open_trackers

from .runs import EXACT, JUDGES, NUDGE, metrics, problems, train, weights, write


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("train")
    assert train(folder) == 0
    return folder / "run"


def test_a_run_leaves_what_the_manual_promises(finished: Path) -> None:
    for name in ("config.yaml", "environment.json", "identity.json", "metrics.jsonl", "evaluations/step-00002/results.json"):
        assert (finished / name).stat().st_size > 0
    assert len((finished / "rollouts/step-00002/records/part-0.jsonl").read_text().splitlines()) == 8
    (verdicts,) = (finished / "rollouts/step-00002/verdicts").iterdir()
    assert len((verdicts / "part-0.jsonl").read_text().splitlines()) == 8
    assert sorted(path.name for path in (finished / "state").iterdir()) == ["step-00002"]


def test_metrics_are_flat_and_say_what_was_learnt(finished: Path) -> None:
    lines = metrics(finished)
    assert [line["step"] for line in lines] == [0, 1, 2]
    assert [line["step"] for line in lines if "eval_score" in line] == [0, 2]
    for line in lines[1:]:
        assert {"reward", "accuracy", "tokens", "groups", "groups_kept", "loss", "grad_norm", "tokens_per_forward"} <= set(line)
        assert all(isinstance(value, int | float | str) for value in line.values())
    assert lines[-1]["tokens_total"] == sum(line.get("tokens", 0) for line in lines)


def test_training_changes_the_weights_and_the_identity_of_rollouts(finished: Path) -> None:
    models = []
    for step in (1, 2):
        line = (finished / f"rollouts/step-{step:05d}/records/part-0.jsonl").read_text().splitlines()[0]
        models.append(json.loads(line)["rollout"]["model"])
    assert models[0]["fingerprint"] != models[1]["fingerprint"]
    assert models[1]["revision"] == "step-1"


def test_eval_scores_a_checkpoint_as_the_loop_did(finished: Path, tmp_path: Path) -> None:
    checkpoint = str(finished / "checkpoints" / "step-00002")
    arguments = ["--task", "arith", "--limit", "4", "--set", "decode.max_new_tokens=48", "--device", "cpu", "--verifier", EXACT]
    assert main(["eval", "--model", checkpoint, *arguments, "--out", str(tmp_path / "eval")]) == 0
    (task,) = json.loads((tmp_path / "eval" / "results.json").read_text())["tasks"]
    (seen,) = json.loads((finished / "evaluations/step-00002/results.json").read_text())["tasks"]
    assert (task["score"], task["tokens"]) == (seen["score"], seen["tokens"])


def test_what_a_run_generated_is_read_by_the_other_commands(finished: Path, tmp_path: Path) -> None:
    before, after = finished / "evaluations/step-00000", finished / "evaluations/step-00002"
    assert main(["compare", str(before), str(after)]) == 0
    assert main(["show", str(after)]) == 0
    assert main(["export", str(finished / "rollouts/step-00002"), "--view", "kto", "--out", str(tmp_path / "kto.jsonl")]) == 0
    assert len((tmp_path / "kto.jsonl").read_text().splitlines()) == 8


def test_the_best_checkpoint_is_kept(finished: Path) -> None:
    scores = {line["step"]: line["eval_score"] for line in metrics(finished) if line["step"] and "eval_score" in line}
    best = (finished / "checkpoints" / "best").resolve().name
    assert scores[int(best[5:])] == max(scores.values())


def test_a_finished_run_is_not_done_again(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (finished / "metrics.jsonl").read_text()
    assert train(finished.parent) == 0
    assert (finished / "metrics.jsonl").read_text() == before
    assert "going on after step 2" in capsys.readouterr().out


@pytest.mark.slow
def test_the_same_settings_train_the_same_weights(finished: Path, tmp_path: Path) -> None:
    assert train(tmp_path, max_batch=3) == 0
    assert weights(tmp_path / "run", 2) == weights(finished, 2)
    assert metrics(tmp_path / "run") == metrics(finished)


def test_an_interrupted_run_ends_bit_for_bit_as_one_that_was_not(tmp_path: Path) -> None:
    options = {"name": NUDGE, "fail_at": 3, "fail": "interrupt", "flag": str(tmp_path / "flag")}
    changes: dict[str, Any] = {"trainer": options, "steps": 4, "checkpoints": {"every": 2}}
    assert train(tmp_path, out="broken", **changes) == 130
    lines = len((tmp_path / "broken/rollouts/step-00003/records/part-0.jsonl").read_text().splitlines())
    assert train(tmp_path, out="broken", **changes) == 0  # the flag is there now: no interrupt
    assert len((tmp_path / "broken/rollouts/step-00003/records/part-0.jsonl").read_text().splitlines()) == lines == 8
    assert train(tmp_path, out="whole", **changes) == 0
    assert weights(tmp_path / "broken", 4) == weights(tmp_path / "whole", 4)
    assert metrics(tmp_path / "broken") == metrics(tmp_path / "whole")


def start(file: Path, out: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "unmask.harness.cli", "train", str(file), "--out", str(out)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_bit_for_bit_as_one_that_was_not(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"steps": 8, "checkpoints": {"every": 1}, "trainer": {"name": "rft", "lr": 1e-3}}
    file = write(tmp_path, **changes)
    rng = random.Random(5)
    for step in (1, 4):
        process = start(file, tmp_path / "broken")
        wait_for(tmp_path / "broken" / "rollouts" / f"step-{step:05d}")
        time.sleep(rng.random())
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert train(tmp_path, out="broken", **changes) == 0
    assert train(tmp_path, out="whole", **changes) == 0
    assert weights(tmp_path / "broken", 8) == weights(tmp_path / "whole", 8)
    assert metrics(tmp_path / "broken") == metrics(tmp_path / "whole")


def wait_for(path: Path) -> None:
    for _ in range(1200):
        if path.exists():
            return
        time.sleep(0.05)
    raise AssertionError(f"no {path} after a minute")


def test_a_trainer_and_a_verifier_of_ones_own_come_from_a_file(tmp_path: Path) -> None:
    tasks = problems(2, 8, f"{JUDGES}:digits")
    assert train(tmp_path, trainer={"name": NUDGE}, tasks=tasks, steps=1, evaluation={}) == 0
    (line,) = metrics(tmp_path / "run")
    assert line["seen"] == 8
    assert 0 < line["reward"] < 1


def test_a_loss_that_is_not_finite_stops_the_run_and_leaves_the_last_state(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path, trainer={"name": NUDGE, "fail_at": 2, "fail": "nan"}) == 1
    error = capsys.readouterr().err
    assert "step 2: the loss is not finite (nan); no update was made; the state after step 1 is intact" in error
    assert sorted(path.name for path in (tmp_path / "run/state").iterdir()) == ["step-00001"]
    assert len(weights(tmp_path / "run", 1)) > 100_000


def test_a_verifier_that_cannot_judge_stops_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tasks = problems(2, 8, f"{JUDGES}:broken")
    assert train(tmp_path, tasks=tasks, evaluation={}) == 1
    assert "step 1: 8 of 8 responses could not be judged (allowed: 2%" in capsys.readouterr().err
    assert not (tmp_path / "run" / "state").exists()


def test_a_step_without_a_group_is_skipped_with_a_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tasks = problems(2, 8, f"{JUDGES}:always")
    groups = {"problems": 2, "samples": 2, "refill": 1}
    assert train(tmp_path, tasks=tasks, groups=groups, evaluation={}) == 0
    assert "no group was kept: no update" in capsys.readouterr().out
    line = metrics(tmp_path / "run")[0]
    assert (line["groups"], line["groups_kept"], line["rounds"]) == (4, 0, 2)
    assert "loss" not in line
    first = json.loads((tmp_path / "run/rollouts/step-00002/records/part-0.jsonl").read_text().splitlines()[0])
    assert first["rollout"]["model"]["revision"] == "step-1"


def test_groups_are_refilled_until_there_are_enough(tmp_path: Path) -> None:
    groups = {"problems": 3, "samples": 4, "max_reward": 0.9, "refill": 20}
    assert train(tmp_path, tasks=problems(3), groups=groups, evaluation={}, steps=1, trainer={"name": NUDGE}) == 0
    (line,) = metrics(tmp_path / "run")
    assert line["groups_kept"] == 3 < line["groups"]
    assert line["seen"] == 12


def test_a_disk_that_is_full_stops_the_run_and_leaves_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(model: Any, path: Path, state: Any) -> None:
        if "step-00002" in path.name:
            raise OSError(28, "No space left on device")
        save(model, path, state)

    save = save_model
    monkeypatch.setattr(checkpoint, "save_model", full)
    assert train(tmp_path, evaluation={}) == 1
    error = capsys.readouterr().err
    assert "No space left on device" in error
    assert "the state after step 1 is intact" in error
    assert [path.name for path in sorted((tmp_path / "run/checkpoints").iterdir())] == ["step-00001"]
    monkeypatch.setattr(checkpoint, "save_model", save)
    assert train(tmp_path, evaluation={}) == 0
    assert len(weights(tmp_path / "run", 2)) > 100_000


def test_a_state_that_cannot_be_written_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(folder: Path, weights: Any, trainer: Any, progress: state.Progress) -> None:
        write_state(folder, weights, trainer, progress)
        if progress.step == 2:
            raise RuntimeError("PytorchStreamWriter failed writing file")

    write_state = state.write_state
    monkeypatch.setattr(loop, "write_state", full)
    assert train(tmp_path, evaluation={}) == 1
    assert "PytorchStreamWriter failed" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "run/state").iterdir()] == ["step-00001"]


def test_a_curriculum_widens_blocks_for_training_before_rollouts(tmp_path: Path) -> None:
    stages = [{"rollout_block": 4, "train_block": 8, "steps": 1}, {"rollout_block": 8, "train_block": 8}]
    assert train(tmp_path, curriculum=stages, trainer={"name": NUDGE}, steps=2, evaluation={}) == 0
    assert [line["block"] for line in metrics(tmp_path / "run")] == [8, 8]
    sizes = [
        json.loads((tmp_path / f"run/rollouts/step-{step:05d}/records/part-0.jsonl").read_text().splitlines()[0])["rollout"]
        for step in (1, 2)
    ]
    assert [rollout["block_size"] for rollout in sizes] == [4, 8]
    config = json.loads((tmp_path / "run/checkpoints/step-00002/config.json").read_text())
    assert config["block_size"] == 8


def test_other_settings_do_not_go_into_the_same_folder(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(write(finished.parent)), "seed=3", "--out", str(finished)]) == 2
    assert "seed was 0, is now 3" in capsys.readouterr().err


def test_the_dry_run_prints_the_plan_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import yaml

    assert train(tmp_path, "--dry-run") == 0
    plan: Mapping[str, Any] = yaml.safe_load(capsys.readouterr().out)
    assert plan["responses"]["a step"] == 8
    assert plan["tasks"][0]["decode"]["block_size"] == 4
    assert plan["problems in both"] == 0
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("groups.sample=3", "'sample': not a field of GroupConfig (did you mean 'samples'?)"),
        ("trainer.lrr=1", "'lrr': not a field of RFTOptions (did you mean 'lr'?)"),
        ("trainer.name=rfd", "no trainer is called 'rfd' (did you mean 'rft'?)"),
        ("trainer.name=unmask.harness.cli:main", "is no trainer: it lacks step"),
        ("trackers=[tensorbord]", "no tracker 'tensorbord' (did you mean 'tensorboard'?)"),
        ("lora.targets=[nope]", "lora.targets: no layer is called nope; layers: down_proj"),
        ("evaluation.tasks.3.limit=1", "expected a place in a list"),
        ("curriculum=[{rollout_block: 4, train_block: 6}]", "train_block is 6; it must be a multiple of rollout_block (4)"),
        ("steps", "expected key.path=value"),
    ],
)
def test_a_wrong_setting_is_one_line_that_says_what(
    assignment: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes: dict[str, Any] = {"evaluation": {"tasks": ["arith"], "every": 2}, "steps": 1}
    assert train(tmp_path, assignment, **changes) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_learning_rate_may_be_written_as_people_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path)
    file.write_text(file.read_text().replace("lr: 0.001", "lr: 1e-3"))
    assert "lr: 1e-3" in file.read_text()
    assert main(["train", str(file), "groups={problems: 2, samples: 2}", "--dry-run"]) == 0
    assert "lr: 0.001" in capsys.readouterr().out


@pytest.mark.slow
def test_adapters_are_trained_alone_and_merged_into_the_checkpoint(tmp_path: Path) -> None:
    from unmask.harness.models.model import load_model

    assert train(tmp_path, lora={"rank": 2, "alpha": 4}, evaluation={}, steps=1, checkpoints={"every": 1}) == 0
    trained = load_model(str(tmp_path / "run/checkpoints/step-00001"), device="cpu").network.state_dict()
    base = load_model("demo", device="cpu").network.state_dict()
    changed = {name for name, weight in base.items() if not torch.equal(weight, trained[name])}
    assert changed
    assert all(name.rpartition(".")[0].endswith("_proj") for name in changed)


@pytest.mark.slow
def test_metrics_go_to_tensorboard_when_asked(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    assert train(tmp_path, trackers=["tensorboard"], evaluation={}, steps=1) == 0
    assert list((tmp_path / "run" / "tensorboard").glob("events.*"))


def test_the_gap_between_sampler_and_trainer_is_measured(tmp_path: Path) -> None:
    assert (
        train(tmp_path, trainer="tracerl", tasks=problems(3), evaluation={}, steps=1, groups={"problems": 6, "samples": 4}) == 0
    )
    (line,) = metrics(tmp_path / "run")
    assert 0 < line["gap_mean"] < 1e-5


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_metrics_go_to_a_tracker_when_asked(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    module = types.ModuleType(name)
    vars(module).update(
        init=lambda **options: calls.append(options),
        log=lambda numbers, step: calls.append((step, numbers)),
        finish=lambda: calls.append("finished"),
    )
    monkeypatch.setitem(sys.modules, name, module)
    (tracker,) = open_trackers([name], tmp_path / "run", "mine", {"seed": 3})
    log = MetricsLog(tmp_path / "metrics.jsonl", 0, [tracker])
    log.write({"step": 2, "reward": 0.5, "message": "text is not a number"})
    log.close()
    assert calls[0]["project"] == "mine"
    assert calls[0]["name"] == "run"
    assert calls[1:] == [(2, {"step": 2.0, "reward": 0.5}), "finished"]


def test_a_tracker_that_is_not_installed_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(tmp_path, trackers=["trackio"], steps=1) == 2
    assert "trackio is not installed; install it with `pip install trackio`" in capsys.readouterr().err
