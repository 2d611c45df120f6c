"""Which family a checkpoint is of, what can be said of one that unmask does not know, and what is refused by name."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from unmask.harness.cli import main
from unmask.harness.config import read_config
from unmask.harness.models.checkpoint import open_checkpoint
from unmask.harness.models.families import FAMILIES
from unmask.harness.models.model import load_model
from unmask.harness.models.recognition import REFUSED, recognise
from unmask.harness.models.saving import save_model
from unmask.rewards.errors import InputError

from .tiny import LAYOUTS, write, write_checkpoint


def refused(folder: Path | str, **options: object) -> str:
    with pytest.raises(InputError) as caught:
        load_model(str(folder), device="cpu", **options)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message
    return message


def unknown(tmp_path: Path, body: str = "coda") -> Path:
    """A checkpoint whose model type nobody knows."""
    path = write_checkpoint(tmp_path, body)
    config = json.loads((path / "config.json").read_text()) | {"model_type": "newest", "architectures": ["NewestModel"]}
    write(path / "config.json", {name: value for name, value in config.items() if name != "mask_token_id"})
    return path


def test_an_unknown_model_type_names_the_way_out(tmp_path: Path) -> None:
    message = refused(unknown(tmp_path))
    assert "newest" in message
    assert "--family" in message


def test_an_unknown_model_on_a_known_body_loads_as_the_family_that_is_named(tmp_path: Path) -> None:
    path = unknown(tmp_path)
    model = load_model(str(path), device="cpu", family="coda", mask_id=200)
    assert (model.info.family, model.checkpoint.mask_id) == ("coda", 200)
    assert model.info.fingerprint != load_model(str(path), device="cpu", family="a2d-qwen3", mask_id=200).info.fingerprint


def test_a_family_is_described_in_a_yaml_file(tmp_path: Path) -> None:
    path = unknown(tmp_path)
    file = tmp_path / "newest.yaml"
    file.write_text(
        "name: newest\nbase: Qwen3\nattention: block_causal\nalignment: absolute\nshift: true\nblock_size: 8\nmask_id: 7\n"
    )
    checkpoint = open_checkpoint(str(path), family=str(file))
    family = checkpoint.family
    assert (family.name, family.attention, family.shift, checkpoint.block_size) == ("newest", "block_causal", True, 8)
    assert checkpoint.mask_id == 7, "what the user says comes before what the checkpoint says"
    assert open_checkpoint(str(path), family=str(file), mask_id=9).mask_id == 9
    before = checkpoint.fingerprint()
    file.write_text(file.read_text().replace("shift: true", "shift: false"))
    assert open_checkpoint(str(path), family=str(file)).fingerprint() != before


def test_the_description_in_the_documentation_fits_what_it_describes(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
    file = tmp_path / "new.yaml"
    file.write_text(text.partition("```yaml\n")[2].partition("```")[0])
    path = unknown(tmp_path)
    config = json.loads((path / "config.json").read_text())
    write(path / "config.json", config | {"n_embd": config.pop("hidden_size")} | config)
    weights = load_file(path / "model.safetensors")
    renamed = {name.replace("model.", "backbone.", 1): value for name, value in weights.items()}
    save_file(renamed, path / "model.safetensors", {"format": "pt"})
    model = load_model(str(path), device="cpu", family=str(file), mask_id=261)
    assert (model.info.family, model.checkpoint.block_size, model.checkpoint.family.alignment) == ("new", 16, "absolute")
    save_model(model, tmp_path / "saved")
    assert load_file(tmp_path / "saved" / "model.safetensors").keys() == renamed.keys()


def test_a_description_may_start_from_a_known_family_and_rename(tmp_path: Path) -> None:
    path = write_checkpoint(
        tmp_path,
        "llada",
        model_type="other",
        architectures=["OtherLM"],
        n_heads=None,
        heads=4,
        embedding_size=None,
        vocab_size=None,
        rows=272,
    )
    file = tmp_path / "other.yaml"
    file.write_text("name: other\nlike: llada\nend_tokens: ['<|im_end|>']\nconfig: {heads: n_heads, rows: embedding_size}\n")
    model = load_model(str(path), device="cpu", family=str(file))
    assert model.info.family == "other"
    assert 258 in model.checkpoint.stop_ids


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: x\n", "either like"),
        ("name: x\nbase: Qwen3\n", "attention"),
        ("name: x\nbase: GPT2\nattention: full\nalignment: absolute\n", "base"),
        ("name: x\nlike: dreem\n", "did you mean 'dream'"),
        ("name: x\nlike: dream\nblok_size: 4\n", "did you mean 'block_size'"),
        ("name: x\nlike: dream\nblock_size: 0\n", "block_size"),
        ("name: x\nlike: family.yaml\n", "not a file"),
        ("name: [\n", "not valid YAML"),
    ],
)
def test_what_is_wrong_with_a_description_is_said(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "family.yaml"
    file.write_text(text)
    assert said in refused(unknown(tmp_path), family=str(file))


def test_a_family_may_come_from_a_python_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from dataclasses import replace\nfrom unmask.harness.models.families import DREAM\n"
        "MINE = replace(DREAM, name='mine', base='Qwen3')\nOTHER = 3\n"
    )
    path = unknown(tmp_path)
    assert load_model(str(path), device="cpu", family=f"{file}:MINE").info.family == "mine"
    assert "not an unmask" in refused(path, family=f"{file}:OTHER")
    assert "no such family" in refused(path, family="nonsense")


def test_the_trained_block_size_can_be_given(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, "sdar")
    assert open_checkpoint(str(path)).block_size == 4
    assert open_checkpoint(str(path), block_size=16).block_size == 16
    assert "--block-size" in refused(path, block_size=0)


def test_a_mask_id_outside_the_vocabulary_is_refused_wherever_it_comes_from(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, "sdar")
    assert "300" in refused(path, mask_id=300)
    assert "-1" in refused(path, mask_id=-1)


@pytest.mark.parametrize("entry", REFUSED, ids=lambda entry: entry.name)
def test_what_is_out_of_reach_is_refused_by_name(entry: object) -> None:
    for config, name in [
        *[({"model_type": kind}, "") for kind in entry.model_types],  # type: ignore[attr-defined]
        *[({"model_type": "x", "architectures": [kind]}, "") for kind in entry.architectures],  # type: ignore[attr-defined]
        *[({"model_type": "llada2_moe"}, f"org/{hint}-flash") for hint in entry.hints],  # type: ignore[attr-defined]
    ]:
        with pytest.raises(InputError) as caught:
            recognise(config, "config.json", name)
        assert f"{entry.name} is not covered" in str(caught.value)  # type: ignore[attr-defined]


def test_a_plain_autoregressive_model_is_no_diffusion_model(tmp_path: Path) -> None:
    message = refused(write_checkpoint(tmp_path, "a2d-qwen2", model_type="qwen2", architectures=["Qwen2ForCausalLM"]))
    assert "autoregressive" in message
    assert "--family" in message


def test_quantised_weights_are_refused(tmp_path: Path) -> None:
    assert "awq" in refused(write_checkpoint(tmp_path, "dream", quantization_config={"quant_method": "awq"}))


def test_converted_models_of_one_type_are_told_apart_by_a_field_or_their_name() -> None:
    config = {"model_type": "a2d-qwen3"}
    assert recognise(config, "", "org/qwen3-mdlm").family.name == "a2d-qwen3"
    assert recognise(config, "", "org/qwen3-bd3lm").family.name == "a2d-qwen3-block"
    assert recognise(config | {"block_size": 32}, "", "org/qwen3").family.name == "a2d-qwen3-block"


def test_only_a_checkpoints_own_folder_hints_at_its_family(tmp_path: Path) -> None:
    for above in ("wedlm", "bd3lm", "open-dcoder"):
        path = write_checkpoint(tmp_path / above, "a2d-qwen3")
        assert open_checkpoint(str(path)).family.name == "a2d-qwen3"
    cached = write_checkpoint(tmp_path / "models--fredzzp--open-dcoder-0.5B" / "snapshots", "open-dcoder")
    snapshot = cached.rename(cached.with_name("0123abc"))
    assert open_checkpoint(str(snapshot)).family.name == "open-dcoder"


def test_names_of_families_are_not_shared() -> None:
    names = [family.name for family in FAMILIES]
    assert len(names) == len(set(names))


def test_what_is_said_of_a_model_is_part_of_the_runs_identity(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = unknown(tmp_path), tmp_path / "run"
    file = tmp_path / "newest.yaml"
    file.write_text("name: newest\nbase: Qwen3\nattention: block_causal\nalignment: absolute\nblock_size: 4\n")
    command = [
        "eval",
        "--model",
        str(path),
        "--task",
        "arith",
        "--limit",
        "1",
        "--set",
        "decode.max_new_tokens=8",
        "--out",
        str(out),
    ]
    torch.set_num_threads(1)
    assert main([*command, "--family", str(file), "--mask-id", "261"]) == 0
    assert read_config(out / "config.yaml", {}, [], None).family == str(file)
    capsys.readouterr()
    assert main([*command, "--family", "a2d-qwen3"]) == 2
    assert "settings" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["llada2", "dream", "nemotron-diffusion"])
def test_doctor_says_what_was_recognised_and_why(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_checkpoint(tmp_path, name)
    assert main(["doctor", "--model", str(path)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for expected in (
        LAYOUTS[name].config["model_type"],
        LAYOUTS[name].base,
        "mask token",
        "<|endoftext|>",
        "names and shapes fit",
    ):
        assert str(expected) in shown


def test_doctor_reports_a_broken_checkpoint_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_checkpoint(tmp_path, "sdar", num_hidden_layers=3)
    assert main(["doctor", "--model", str(path)]) == 2
    error = capsys.readouterr().err.strip()
    assert "the weights lack model.layers.2." in error
    assert "\n" not in error


def test_the_list_shows_every_family_and_every_refusal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "models"]) == 0
    shown = "".join(capsys.readouterr().out.split())
    for family in FAMILIES:
        assert family.name[:15] in shown
    for entry in REFUSED:
        assert "".join(entry.name.split()) in shown
