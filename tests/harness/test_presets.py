"""Decoders by name, the authors' settings, and what a completion's identity says of them."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from unmask.harness.cli import main
from unmask.harness.config import read_config
from unmask.harness.decoding.presets import OFFICIAL, PRESETS, official
from unmask.harness.identity import completion_key
from unmask.harness.models.checkpoint import Checkpoint, open_checkpoint
from unmask.harness.records import DecodeConfig, ModelInfo
from unmask.rewards.errors import InputError

from .tiny import write_checkpoint

FLAGS = {"model": "demo", "task": "arith"}
MODEL = ModelInfo("m", "r", "sdar", "f", "float32")


def checkpoint(tmp_path: Path, family: str, name: str = "") -> Checkpoint:
    opened = open_checkpoint(str(write_checkpoint(tmp_path, family)))
    return dataclasses.replace(opened, id=name or opened.id)


def test_the_list_names_every_decoder_with_its_source(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "decoders"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in PRESETS)
    assert "arXiv 2505.22618" in out
    assert all(entry.family in out for entry in OFFICIAL)


def test_a_decoder_is_set_by_name_and_changed_by_set() -> None:
    config = read_config(None, FLAGS, ["decode.threshold=0.8"], "fast-dllm")
    assert (config.decode.remasking, config.decode.threshold, config.decode.block_size) == ("threshold", 0.8, 32)
    with pytest.raises(InputError, match="did you mean 'fast-dllm'"):
        read_config(None, FLAGS, [], "fast-dlm")


@pytest.mark.parametrize(
    ("name", "task", "expected"),
    [
        ("GSAI-ML/LLaDA-8B-Instruct", "gsm8k", {"block_size": 512, "max_new_tokens": 512, "confidence_eos_eot_inf": True}),
        ("GSAI-ML/LLaDA-8B-Instruct", "humaneval", {"block_size": 512, "logits_eos_inf": True, "confidence_eos_eot_inf": False}),
        ("GSAI-ML/LLaDA-1.5", "gsm8k", {"block_size": 16, "max_new_tokens": 256}),
    ],
)
def test_official_is_what_the_authors_report_for_the_task(name: str, task: str, expected: dict[str, Any], tmp_path: Path) -> None:
    found = official(DecodeConfig(), checkpoint(tmp_path, "llada", name), task)
    assert found.temperature == 0
    assert {key: getattr(found, key) for key in expected} == expected


def test_official_tells_checkpoints_of_a_family_apart_and_can_be_changed(tmp_path: Path) -> None:
    opened = checkpoint(tmp_path, "dream", "apple/DiffuCoder-7B-Instruct")
    found = official(DecodeConfig(max_new_tokens=64), opened, "humaneval")
    assert (found.temperature, found.top_p, found.top_k, found.max_new_tokens) == (0.3, 0.95, 50, 64)
    short = official(DecodeConfig(max_new_tokens=64), checkpoint(tmp_path / "c", "llada"), "gsm8k")
    assert (short.block_size, short.max_new_tokens) == (64, 64)
    edits = official(DecodeConfig(), checkpoint(tmp_path / "b", "llada2", "inclusionAI/LLaDA2.1-mini"), "gsm8k")
    assert (edits.algorithm, edits.threshold, edits.edit_threshold) == ("edit", 0.7, 0.5)


def test_a_family_without_known_settings_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no authors' settings are known for the family coda"):
        official(DecodeConfig(), checkpoint(tmp_path, "coda"), "gsm8k")


def test_a_run_by_official_settings_is_another_run_and_says_so() -> None:
    config = read_config(None, FLAGS, [], "official")
    assert config.official
    assert not read_config(None, FLAGS, [], None).official


def test_settings_that_came_later_change_a_completions_identity_only_where_they_are_set() -> None:
    def key(decode: DecodeConfig) -> str:
        return completion_key(MODEL, decode, (1, 2), 0, 7)

    assert key(DecodeConfig()) == "3c588f014cbd3501c867e019dddda4f4", "what runs before these settings existed called it"
    assert key(DecodeConfig(guidance=0.5)) != key(DecodeConfig())
    assert key(DecodeConfig(threshold=0.8)) != key(DecodeConfig())
