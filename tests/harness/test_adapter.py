"""A LoRA adapter is merged into the model it belongs to, is part of its identity, and is refused where it does not fit."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from unmask.harness.models.checkpoint import open_checkpoint
from unmask.harness.models.model import load_model
from unmask.harness.models.saving import save_model
from unmask.rewards.errors import InputError

from .tiny import write_checkpoint

peft = pytest.importorskip("peft")
IDS = torch.tensor([[65, 66, 261, 67, 68]])
MASK = torch.ones(1, 1, 5, 5, dtype=torch.bool)


@torch.inference_mode()
def logits(network: object) -> Tensor:
    found: Tensor = network(input_ids=IDS, attention_mask=MASK).logits  # type: ignore[operator]
    return found


def write_adapter(folder: Path, checkpoint: Path, **settings: object) -> tuple[Path, Tensor]:
    """A random LoRA on the model of a checkpoint, as peft saves it, and the logits of the model with it."""
    torch.manual_seed(1)
    network = load_model(str(checkpoint), device="cpu").network
    config = peft.LoraConfig(r=4, lora_alpha=16, **({"target_modules": ["q_proj", "v_proj", "down_proj"]} | settings))
    tuned = peft.get_peft_model(network, config)
    with torch.no_grad():
        for name, value in tuned.named_parameters():
            if "lora_B" in name:
                value.normal_(0.0, 0.05)
    tuned.eval().save_pretrained(folder, save_embedding_layers=False)
    return folder, logits(tuned)


@pytest.mark.parametrize("settings", [{}, {"use_rslora": True}, {"use_dora": True}], ids=["lora", "rslora", "dora"])
def test_the_model_with_its_adapter_answers_as_peft_has_it(tmp_path: Path, settings: dict[str, bool]) -> None:
    checkpoint = write_checkpoint(tmp_path, "sdar")
    adapter, expected = write_adapter(tmp_path / "lora", checkpoint, **settings)
    model = load_model(str(checkpoint), device="cpu", adapter=str(adapter))
    assert type(model.network).__name__ == "Qwen3ForCausalLM"
    assert torch.allclose(logits(model.network), expected, atol=1e-4)
    assert not torch.allclose(expected, logits(load_model(str(checkpoint), device="cpu").network), atol=1e-2)


def test_an_adapter_may_name_the_modules_as_the_release_does(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path, "llada")
    adapter, expected = write_adapter(tmp_path / "lora", checkpoint)
    names = {
        "model.layers.": "model.transformer.blocks.",
        "self_attn.q_proj": "q_proj",
        "self_attn.v_proj": "v_proj",
        "mlp.down_proj": "ff_out",
    }
    renamed = {}
    for name, value in load_file(adapter / "adapter_model.safetensors").items():
        for ours, theirs in names.items():
            name = name.replace(ours, theirs)
        renamed[name] = value
    assert all("transformer.blocks" in name for name in renamed)
    save_file(renamed, adapter / "adapter_model.safetensors")
    edit(adapter, target_modules=["q_proj", "v_proj", "ff_out"])
    model = load_model(str(checkpoint), device="cpu", adapter=str(adapter))
    assert torch.allclose(logits(model.network), expected, atol=1e-4)


def test_a_merged_model_is_saved_as_a_plain_checkpoint(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path, "llada")
    adapter, expected = write_adapter(tmp_path / "lora", checkpoint)
    save_model(load_model(str(checkpoint), device="cpu", adapter=str(adapter)), tmp_path / "merged")
    assert load_file(tmp_path / "merged" / "model.safetensors").keys() == load_file(checkpoint / "model.safetensors").keys()
    assert torch.allclose(logits(load_model(str(tmp_path / "merged"), device="cpu").network), expected, atol=1e-4)


def test_the_adapter_is_part_of_the_identity(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path, "sdar")
    adapter, _ = write_adapter(tmp_path / "lora", checkpoint)
    plain, tuned = open_checkpoint(str(checkpoint)), open_checkpoint(str(checkpoint), adapter=str(adapter))
    assert tuned.id == f"{checkpoint}+{adapter}"
    assert tuned.fingerprint() != plain.fingerprint()
    weights = load_file(adapter / "adapter_model.safetensors")
    save_file({name: value + 1 for name, value in weights.items()}, adapter / "adapter_model.safetensors")
    assert open_checkpoint(str(checkpoint), adapter=str(adapter)).fingerprint() != tuned.fingerprint()


def edit(adapter: Path, **changes: object) -> None:
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps(config | changes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"peft_type": "IA3"}, "only LORA"), ({"modules_to_save": ["lm_head"]}, "whole modules (lm_head)")],
)
def test_what_is_no_plain_lora_is_refused(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    checkpoint = write_checkpoint(tmp_path, "sdar")
    adapter, _ = write_adapter(tmp_path / "lora", checkpoint)
    edit(adapter, **changes)
    with pytest.raises(InputError) as caught:
        open_checkpoint(str(checkpoint), adapter=str(adapter))
    assert said in str(caught.value)


def test_an_adapter_of_another_model_is_refused(tmp_path: Path) -> None:
    adapter, _ = write_adapter(tmp_path / "lora", write_checkpoint(tmp_path / "a", "sdar"))
    with pytest.raises(InputError, match="does not fit the model"):
        load_model(str(write_checkpoint(tmp_path / "b", "llada")), device="cpu", adapter=str(adapter))
    weights = load_file(adapter / "adapter_model.safetensors")
    save_file(weights | {"base_model.model.lm_head.weight": torch.zeros(2, 2)}, adapter / "adapter_model.safetensors")
    with pytest.raises(InputError, match=r"whole weights \(lm_head.weight\)"):
        load_model(str(tmp_path / "a" / "model"), device="cpu", adapter=str(adapter))
    with pytest.raises(InputError, match="no such directory"):
        open_checkpoint(str(tmp_path / "b" / "model"), adapter=str(tmp_path / "nothing"))
