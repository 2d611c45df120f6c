"""Training on samples whose steps are rewarded: the configuration says by what, and how that joins the outcome."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from unmask.harness.cli import main


def write(folder: Path, process: dict[str, Any], **more: Any) -> Path:
    config = {
        "model": "demo",
        "device": "cpu",
        "out": str(folder / "run"),
        "tasks": [{"task": "arith@train", "options": {"size": 40}, "process": process}],
        "trainer": {"name": "tracerl", "lr": 1.0e-4, "process": "add"},
        "steps": 1,
        "groups": {"problems": 2, "samples": 2},
        **more,
    }
    (folder / "train.yaml").write_text(yaml.safe_dump(config))
    return folder / "train.yaml"


def combined_verdicts(folder: Path) -> list[dict[str, Any]]:
    (log,) = (folder / "run" / "rollouts").glob("step-*/verdicts/*arithmetic*/part-0.jsonl")
    return [json.loads(line)["verdict"] for line in log.read_text().splitlines()]


def test_the_steps_of_a_training_task_are_rewarded_before_the_trainer_sees_them(tmp_path: Path) -> None:
    config = write(tmp_path, {"name": "arithmetic", "combine": "add", "weight": 0.5})
    assert main(["train", str(config)]) == 0
    verdicts = combined_verdicts(tmp_path)
    assert len(verdicts) == 4
    for verdict in verdicts:
        assert verdict["step_rewards"] is not None
        assert verdict["reward"] == pytest.approx(verdict["parts"]["outcome"] + verdict["parts"]["process"])
    metrics = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    rewards = [line["reward"] for line in metrics if "reward" in line]
    assert rewards[0] == pytest.approx(sum(verdict["reward"] for verdict in verdicts) / 4, abs=1e-3)


def test_a_mistake_in_the_process_reward_is_found_before_anything_is_generated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for process, says in (
        ({"name": "arithmetic"}, "'combine': missing"),
        ({"name": "aritmetic", "combine": "add"}, "did you mean 'arithmetic'"),
        ({"name": "arithmetic", "combine": "add", "options": {"rihgt": 1}}, "did you mean 'right'"),
    ):
        assert main(["train", str(write(tmp_path, process))]) == 2
        assert says in capsys.readouterr().err
    held_out = {"tasks": [{"task": "arith", "limit": 2, "process": {"name": "arithmetic", "combine": "add"}}], "every": 1}
    config = write(tmp_path, {"name": "arithmetic", "combine": "add"}, evaluation=held_out)
    assert main(["train", str(config)]) == 2
    assert "in training only" in capsys.readouterr().err
