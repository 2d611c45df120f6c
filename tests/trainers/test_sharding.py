"""Training under torchrun: two processes with sharded weights make the update that one process makes, and resume as others.

Weights agree within 1e-5 after two updates of 1e-3: sums over ranks come in another order than sums over one batch. AdamW gets
a large `eps`, since with the usual one it takes the sign of gradients that are nothing but rounding.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from unmask.harness.models.checkpoint import EMBEDDED

from .runs import JUDGES, PLUGIN, metrics, problems, train, write

TRACERL = {"lr": 1e-3, "eps": 1e-2}
CHANGES: dict[str, Any] = {
    "tasks": problems(3),
    "steps": 2,
    "checkpoints": {"every": 1},
    "groups": {"problems": 5, "samples": 4},
    "evaluation": {},
}


def torchrun(processes: int, folder: Path, out: str, **changes: Any) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command += ["-m", "unmask.harness.cli", "train", str(write(folder, **changes)), "--out", str(folder / out)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def furthest(ours: Path, theirs: Path) -> float:
    """The largest difference of two checkpoints' weights."""
    first, second = (load_file(run / "checkpoints" / "step-00002" / "model.safetensors") for run in (ours, theirs))
    assert set(first) == set(second)
    return max(float((first[name] - second[name]).abs().max()) for name in first)


@pytest.mark.slow
def test_two_processes_make_the_update_of_one_and_resume_as_one(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    options = {**TRACERL, "name": f"{PLUGIN}:Dies", "flag": str(tmp_path / "flag")}
    died = torchrun(2, tmp_path, "two", trainer=options, **CHANGES)
    assert died.returncode != 0
    assert [path.name for path in (tmp_path / "two/state").iterdir()] == ["step-00001"]
    assert json.loads((tmp_path / "two/environment.json").read_text())["ranks"] == 2
    assert len(list((tmp_path / "two/rollouts/step-00001/records").iterdir())) == 2

    (tmp_path / "flag").touch()
    resumed = torchrun(1, tmp_path, "two", trainer=options, **CHANGES)
    assert resumed.returncode == 0, resumed.stderr[-2000:]
    assert train(tmp_path, out="one", trainer=options, **CHANGES) == 0
    assert furthest(tmp_path / "one", tmp_path / "two") < 1e-5
    start = load_file(Path(tmp_path / "one/checkpoints/step-00001/model.safetensors"))
    end = load_file(Path(tmp_path / "one/checkpoints/step-00002/model.safetensors"))
    assert max(float((start[name] - end[name]).abs().max()) for name in start) > 1e-4
    for ours, theirs in zip(metrics(tmp_path / "one"), metrics(tmp_path / "two"), strict=True):
        assert theirs["step"] == ours["step"]
        assert theirs.get("tokens") == ours.get("tokens")
        assert theirs.get("loss", 0.0) == pytest.approx(ours.get("loss", 0.0), abs=1e-5)
    torch.set_num_threads(threads)


def tied(folder: Path) -> Path:
    """The embedded model with its embedding as the head: no good, but of another layout."""
    shutil.copytree(EMBEDDED["demo"], folder)
    weights = load_file(folder / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": True}))
    return folder


@pytest.mark.slow
def test_tied_weights_a_value_model_and_a_reference_are_sharded_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = {**TRACERL, "name": "tracerl", "value": "separate", "kl": "reference", "kl_coef": 0.1}
    tasks = problems(3, verifier=f"{JUDGES}:digits")
    changes = {**CHANGES, "model": str(tied(tmp_path / "tied")), "trainer": options, "tasks": tasks}
    done = torchrun(2, tmp_path, "two", **changes)
    assert done.returncode == 0, done.stderr[-2000:]
    assert train(tmp_path, out="one", **changes) == 0
    assert furthest(tmp_path / "one", tmp_path / "two") < 1e-5
    for ours, theirs in zip(metrics(tmp_path / "one"), metrics(tmp_path / "two"), strict=True):
        assert theirs["grad_norm"] == pytest.approx(ours["grad_norm"], rel=1e-3)
        assert ours["grad_norm"] > 0
    assert train(tmp_path, out="two", **changes) == 2
    assert "the run was started with torchrun (any number of processes); go on in the same way" in capsys.readouterr().err


@pytest.mark.slow
def test_adapters_are_trained_under_torchrun(tmp_path: Path) -> None:
    changes: dict[str, Any] = {**CHANGES, "lora": {"rank": 2, "alpha": 4}, "trainer": {**TRACERL, "name": "tracerl"}}
    done = torchrun(2, tmp_path, "two", **changes)
    assert done.returncode == 0, done.stderr[-2000:]
    assert train(tmp_path, out="one", **changes) == 0
    assert furthest(tmp_path / "one", tmp_path / "two") < 1e-5
