"""Every family loads from the layout of its release, into the model its weights came from, and is written back as it was."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from unmask.harness.models.checkpoint import open_checkpoint
from unmask.harness.models.families import FAMILIES
from unmask.harness.models.model import load_model
from unmask.harness.models.saving import save_model

from .tiny import LAYOUTS, native_network, write_checkpoint

FAMILY_OF = {"illada": "llada"}
"""Layouts that are variants of a family."""

IDS = torch.tensor([[65, 66, 261, 67, 100, 261, 68, 69, 70, 261]])


def test_every_family_with_a_mask_token_has_a_layout() -> None:
    covered = {FAMILY_OF.get(name, name) for name in LAYOUTS}
    same_layout = {"a2d-qwen2-block", "a2d-llama-block"}
    assert {family.name for family in FAMILIES if family.masked} - same_layout == covered


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_release_is_recognised_and_loads_exactly(name: str, tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, name)
    model = load_model(str(path), device="cpu")
    assert model.info.family == FAMILY_OF.get(name, name)
    assert model.network.config._attn_implementation == "sdpa"
    mask = torch.ones(1, 1, IDS.shape[1], IDS.shape[1], dtype=torch.bool)
    with torch.inference_mode():
        expected = native_network(LAYOUTS[name])(input_ids=IDS, attention_mask=mask).logits
        assert torch.equal(model.network(input_ids=IDS, attention_mask=mask).logits, expected)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_saved_model_has_the_released_layout_bit_for_bit(name: str, tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, name)
    copy = tmp_path / "copy" / path.name
    save_model(load_model(str(path), device="cpu"), copy)
    released, saved = load_file(path / "model.safetensors"), load_file(copy / "model.safetensors")
    assert saved.keys() == released.keys()
    assert all(torch.equal(saved[key], released[key]) for key in released)
    assert (copy / "config.json").read_bytes() == (path / "config.json").read_bytes()
    assert open_checkpoint(str(copy)).family.name == FAMILY_OF.get(name, name)
