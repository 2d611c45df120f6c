"""What is wrong with a checkpoint is said in one line, before anything runs."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from unmask.harness.config import RunConfig
from unmask.harness.models.checkpoint import EMBEDDED, fingerprint, open_checkpoint
from unmask.harness.models.model import Model, load_model
from unmask.harness.models.recognition import recognise
from unmask.harness.plan import plan_tasks
from unmask.rewards.errors import InputError


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    shutil.copytree(EMBEDDED["demo"], folder)
    return folder


def edit(folder: Path, file: str, **changes: object) -> None:
    path = folder / file
    data = json.loads(path.read_text())
    data |= {key: value for key, value in changes.items() if value is not None}
    path.write_text(json.dumps({k: v for k, v in data.items() if k not in changes or changes[k] is not None}))


def refused(folder: Path | str) -> str:
    with pytest.raises(InputError) as caught:
        load_model(str(folder), device="cpu")
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_the_embedded_model_is_recognised_and_whole(demo: Model) -> None:
    assert (demo.info.id, demo.info.revision, demo.info.family) == ("demo", "embedded", "sdar")
    assert demo.checkpoint.block_size == 4
    assert len(demo.checkpoint.stop_ids) == 2
    assert demo.tokenizer.convert_ids_to_tokens(demo.checkpoint.mask_id) == "<|MASK|>"


def test_the_rotary_base_of_the_config_is_in_force(demo: Model, copy: Path) -> None:
    assert demo.network.config.rope_parameters["rope_theta"] == 10000.0
    edit(copy, "config.json", rope_parameters=None, rope_theta=1000000)
    assert load_model(str(copy), device="cpu").network.config.rope_parameters["rope_theta"] == 1000000.0


def test_an_attention_backend_named_by_the_config_is_overridden(copy: Path) -> None:
    edit(copy, "config.json", attn_implementation="flex_attention")
    assert load_model(str(copy), device="cpu").network.config._attn_implementation == "sdpa"


def test_a_missing_checkpoint_is_named() -> None:
    assert "no such directory" in refused("/no/such/place")
    assert "did you mean 'demo'" in refused("dmeo")


@pytest.mark.parametrize("name", ["ckpts/", "ckpts/step=100", "a/b/c"])
def test_a_path_that_is_neither_here_nor_a_hub_name_is_named(name: str) -> None:
    assert "no such directory" in refused(name)


@pytest.mark.parametrize(("field", "value"), [("vocab_size", None), ("block_size", "4"), ("max_position_embeddings", -1)])
def test_a_config_value_that_is_no_whole_number_is_named(copy: Path, field: str, value: object) -> None:
    config = json.loads((copy / "config.json").read_text())
    config[field] = value
    (copy / "config.json").write_text(json.dumps(config))
    assert f"'{field}'" in refused(copy)


def test_the_fingerprint_follows_the_settings_too(copy: Path) -> None:
    edit(copy, "generation_config.json", eos_token_id=[2])
    assert fingerprint(copy) != fingerprint(EMBEDDED["demo"])


def test_an_empty_directory_is_no_checkpoint(tmp_path: Path) -> None:
    assert "config.json" in refused(tmp_path)


def test_a_file_is_no_checkpoint(copy: Path) -> None:
    assert "is a file" in refused(copy / "model.safetensors")


def test_corrupt_weights_are_named(copy: Path) -> None:
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    assert "damaged" in refused(copy)


def test_weights_that_are_missing_are_named(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    assert "safetensors" in refused(copy)


@pytest.mark.parametrize("fault", ["missing", "extra", "shape"])
def test_keys_that_do_not_fit_are_an_error_and_never_random_weights(copy: Path, fault: str) -> None:
    weights = load_file(copy / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"
    if fault == "missing":
        del weights[name]
    elif fault == "extra":
        name = "model.layers.1.mlp.side.weight"
        weights[name] = torch.zeros(3)
    else:
        weights[name] = weights[name][:-1].contiguous()
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    assert name.removesuffix(".weight") in refused(copy)


def test_an_unknown_architecture_names_the_known_ones(copy: Path) -> None:
    edit(copy, "config.json", model_type="gpt2", architectures=["GPT2LMHeadModel"])
    message = refused(copy)
    assert "gpt2" in message
    assert "sdar" in message


def test_a_mask_id_outside_the_vocabulary_is_refused(copy: Path) -> None:
    edit(copy, "config.json", mask_token_id=99999)
    assert "mask_token_id 99999" in refused(copy)


def test_a_mask_id_missing_from_the_config_comes_from_the_tokenizer(copy: Path, demo: Model) -> None:
    edit(copy, "config.json", mask_token_id=None)
    assert open_checkpoint(str(copy)).mask_id == demo.checkpoint.mask_id


def test_a_missing_tokenizer_is_named(copy: Path) -> None:
    (copy / "tokenizer.json").unlink()
    assert "tokenizer.json" in refused(copy)


def test_a_task_is_refused_without_a_chat_template(copy: Path) -> None:
    edit(copy, "tokenizer_config.json", chat_template=None)
    with pytest.raises(InputError, match="chat template"):
        plan_tasks(RunConfig(str(copy), ("arith",)), open_checkpoint(str(copy)))


def test_a_config_that_is_not_json_is_named(copy: Path) -> None:
    (copy / "config.json").write_text("{")
    assert "config.json" in refused(copy)


def test_a_device_that_is_not_there_is_refused(copy: Path) -> None:
    with pytest.raises(InputError, match="--device"):
        load_model(str(copy), device="cuda:63")


def test_a_hub_name_that_cannot_be_reached_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert "hf download" in refused("JetLM/SDAR-1.7B-Chat")


def test_nan_weights_are_noticed_when_decoding(copy: Path) -> None:
    from unmask.harness.records import DecodeConfig, Request

    weights = load_file(copy / "model.safetensors")
    weights["model.norm.weight"] = torch.full_like(weights["model.norm.weight"], float("nan"))
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    model = load_model(str(copy), device="cpu")
    with pytest.raises(InputError, match="NaN"):
        next(model.generate([Request("p", 0, (5, 6, 7), 0)], DecodeConfig(max_new_tokens=8)))


def test_the_fingerprint_follows_the_weights_and_not_the_place(copy: Path) -> None:
    assert fingerprint(copy) == fingerprint(EMBEDDED["demo"])
    weights = load_file(copy / "model.safetensors")
    weights = {name: value + 1e-3 for name, value in weights.items()}
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    assert fingerprint(copy) != fingerprint(EMBEDDED["demo"])


def test_a_family_is_recognised_by_architecture_too() -> None:
    assert recognise({"model_type": "other", "architectures": ["SDARForCausalLM"]}, "here").family.name == "sdar"


def test_generation_is_the_same_from_a_copy(copy: Path, demo: Model) -> None:
    from unmask.harness.records import DecodeConfig, Request

    request = Request("p", 0, tuple(range(10, 30)), 3)
    decode = DecodeConfig(max_new_tokens=16)
    other = load_model(str(copy), device="cpu")
    assert next(other.generate([request], decode)).token_ids == next(demo.generate([request], decode)).token_ids
