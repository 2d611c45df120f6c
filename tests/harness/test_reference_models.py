"""Logits equal the recordings of the original implementations, and each recorded checkpoint is written back as it was.

A recording is a checkpoint directory with `logits.safetensors`; those beside the repository are found by themselves. Kinds of
logits: `full`, `blockN`, `cached_blockN_from_to`, and `leftpad` with its padding mask.
"""

import filecmp
import re
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from unmask.harness.models.attention import block_causal
from unmask.harness.models.denoiser import BlockDenoiser
from unmask.harness.models.model import Model, load_model
from unmask.harness.models.saving import save_model

OWN = Path(__file__).parents[1] / "data"
SHARED = next((p / "shared/reference/dlm" for p in Path(__file__).parents if (p / "shared/reference/dlm").is_dir()), OWN)
CHECKPOINTS = sorted({path.parent.name: path.parent for root in (OWN, SHARED) for path in root.glob("*/config.json")}.values())
RECORDED = [path for path in CHECKPOINTS if (path / "logits.safetensors").exists()]
CASES = [
    (path, name) for path in RECORDED for name in sorted(load_file(path / "logits.safetensors")) if name.startswith("logits.")
]
EXACT = 1e-4
"""The originals differ among themselves by up to 7e-5."""

needs_shared = pytest.mark.skipif(SHARED == OWN, reason="the recordings lie beside the repository, in shared/reference/dlm")


@cache
def model(path: Path) -> Model:
    return load_model(str(path), dtype="float32", device="cpu")


@torch.inference_mode()
def logits(path: Path, name: str) -> tuple[Tensor, Tensor]:
    """Ours and the recorded ones, at the positions that count."""
    recorded = load_file(path / "logits.safetensors")
    kind, ids = name.removeprefix("logits."), recorded["inputs.x"]
    if cached := re.fullmatch(r"cached_block(\d+)_(\d+)_(\d+)", kind):
        size, start, end = (int(part) for part in cached.groups())
        denoiser = BlockDenoiser(model(path).network, size, rows=1)
        denoiser.prefill(0, ids[0, :start].tolist())
        hidden = denoiser.run(torch.tensor([start]), ids[:, start:end], torch.tensor([False]))
        return denoiser.logits(hidden), recorded[name]
    if kind == "leftpad":
        ids, real = recorded["inputs.x_leftpad"], recorded["inputs.leftpad_mask"].bool()
        positions = (real.long().cumsum(1) - 1).clamp(min=0)
        mask = real[:, None, None, :].expand(-1, 1, ids.shape[1], -1)
        return forward(path, ids, positions, mask)[real], recorded[name][real]
    positions = torch.arange(ids.shape[1]).unsqueeze(0)
    size = ids.shape[1] if kind == "full" else int(kind.removeprefix("block"))
    mask = block_causal(positions, positions, size).unsqueeze(1).expand(len(ids), -1, -1, -1)
    return forward(path, ids, positions, mask), recorded[name]


def forward(path: Path, ids: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
    found: Tensor = model(path).network(input_ids=ids, position_ids=positions, attention_mask=mask).logits
    return found


@pytest.mark.parametrize(("path", "name"), CASES, ids=[f"{path.name}-{name.removeprefix('logits.')}" for path, name in CASES])
def test_logits_equal_the_original(path: Path, name: str) -> None:
    found, recorded = logits(path, name)
    assert found.shape == recorded.shape
    difference = (found - recorded).abs().max().item()
    assert difference <= EXACT
    if name == "logits.full" and "moe" not in path.name:
        assert difference == 0.0, "a dense model on transformers' class is the original bit for bit"


@needs_shared
def test_each_family_of_the_table_that_claims_a_recording_has_one() -> None:
    from unmask.harness.models.checkpoint import open_checkpoint
    from unmask.harness.models.families import FAMILIES

    recorded = {open_checkpoint(str(path)).family.name for path in CHECKPOINTS}
    assert {family.name for family in FAMILIES if family.evidence == "recorded"} == recorded


@pytest.mark.parametrize("path", CHECKPOINTS, ids=lambda path: path.name)
def test_a_recorded_checkpoint_round_trips_bit_for_bit(path: Path, tmp_path: Path) -> None:
    save_model(model(path), tmp_path / "saved")
    released, saved = load_file(path / "model.safetensors"), load_file(tmp_path / "saved" / "model.safetensors")
    assert saved.keys() == released.keys()
    assert all(torch.equal(saved[key], released[key]) and saved[key].dtype == released[key].dtype for key in released)
    for file in ("config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        if (path / file).exists():
            assert filecmp.cmp(path / file, tmp_path / "saved" / file, shallow=False), file
    again = load_model(str(tmp_path / "saved"), dtype="float32", device="cpu").network.state_dict()
    assert all(torch.equal(value, again[key]) for key, value in model(path).network.state_dict().items())
