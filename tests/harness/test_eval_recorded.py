"""A run on every kind of model: each recorded checkpoint decodes and is scored from the command line."""

from pathlib import Path

import pytest
from unmask.harness.cli import main

from .recordings import folders

FOLDERS = folders(None)


@pytest.mark.slow
@pytest.mark.parametrize("folder", FOLDERS, ids=[folder.name for folder in FOLDERS])
def test_eval_runs(folder: Path, tmp_path: Path) -> None:
    sets = ["--set", "decode.max_new_tokens=16", "--set", "workers=1"]
    assert main(["eval", "--model", str(folder), "--task", "arith", "--limit", "8", *sets, "--out", str(tmp_path / "run")]) == 0
    assert (tmp_path / "run" / "results.json").exists()
