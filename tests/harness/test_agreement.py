"""`unmask validate --model`: a decoder against itself without batch and cache."""

import pytest
from unmask.harness.agreement import exact
from unmask.harness.cli import main
from unmask.harness.records import DecodeConfig

from .recordings import SHARED


def test_an_exact_cache_in_a_batch_agrees_in_every_token(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--model", "demo", "--limit", "4", "--max-batch", "3", "--set", "decode.max_new_tokens=24"]) == 0
    out = capsys.readouterr().out
    assert "100.0%" in out
    assert "exact cache, batches of 3" in out


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.exists(), reason="the shared recordings are not here")
def test_an_approximate_cache_is_measured_and_not_called_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(SHARED / "llada")
    sets = ["--set", "decode.max_new_tokens=24", "--set", "decode.block_size=8"]
    assert main(["validate", "--model", folder, "--decode", "fast-dllm-dual", "--limit", "2", *sets]) == 0
    assert "dual cache" in capsys.readouterr().out


def test_the_reference_has_no_cache() -> None:
    assert exact(DecodeConfig(cache="prefix", horizon=8)) == DecodeConfig(cache="none")


def test_without_anything_to_check_the_command_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate"]) == 2
    assert "--task, --model or --overlap missing" in capsys.readouterr().err
