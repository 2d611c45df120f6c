"""A saved checkpoint appears as a whole or not at all, and holds what was asked for."""

import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from unmask.harness.cli import main
from unmask.harness.models import saving
from unmask.harness.models.model import Model, load_model
from unmask.harness.models.saving import save_model
from unmask.rewards.errors import InputError

from .tiny import write_checkpoint


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return load_model(str(write_checkpoint(tmp_path, "sdar")), device="cpu")


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture
def full_disk() -> Iterator[None]:
    """Files cannot grow beyond 100 KB, as on a disk that is full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, before)


def test_a_full_disk_leaves_the_earlier_checkpoint_as_it_was(
    model: Model, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    save_model(model, tmp_path / "saved")
    before = content(tmp_path / "saved")
    with torch.no_grad():
        model.network.model.norm.weight.fill_(2.0)
    request.getfixturevalue("full_disk")
    with pytest.raises(OSError, match=r"model\.safetensors"):
        save_model(model, tmp_path / "saved")
    assert content(tmp_path / "saved") == before
    assert {path.name for path in tmp_path.iterdir()} == {"model", "saved"}


def test_an_earlier_checkpoint_is_replaced_as_a_whole(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as small:
        small.setattr(saving, "SHARD_BYTES", 10**5)
        save_model(model, tmp_path / "saved")
    assert len(list((tmp_path / "saved").glob("*.safetensors"))) > 1
    save_model(model, tmp_path / "saved")
    assert [path.name for path in (tmp_path / "saved").glob("*.safetensors*")] == ["model.safetensors"]
    assert {path.name for path in tmp_path.iterdir()} == {"model", "saved"}
    load_model(str(tmp_path / "saved"), device="cpu")


def test_what_an_interrupted_save_left_is_cleared_by_the_next(model: Model, tmp_path: Path) -> None:
    (tmp_path / ".saved.new").mkdir()
    (tmp_path / ".saved.new" / "model.safetensors").write_bytes(b"half")
    save_model(model, tmp_path / "saved")
    assert {path.name for path in tmp_path.iterdir()} == {"model", "saved"}


def test_a_model_can_be_saved_over_the_checkpoint_it_came_from(model: Model) -> None:
    with torch.no_grad():
        model.network.model.norm.weight.fill_(3.0)
    save_model(model, model.checkpoint.path)
    assert bool((load_model(str(model.checkpoint.path), device="cpu").network.model.norm.weight == 3.0).all())


def test_a_given_state_is_written_instead_of_the_live_weights(model: Model, tmp_path: Path) -> None:
    state = {name: value + 1 for name, value in model.network.state_dict().items()}
    save_model(model, tmp_path / "saved", state)
    saved = load_file(tmp_path / "saved" / "model.safetensors")
    assert all(torch.equal(saved[name], state[name]) for name in state)
    state.pop("model.norm.weight")
    with pytest.raises(ValueError, match=r"model\.norm\.weight"):
        save_model(model, tmp_path / "saved", state)
    assert load_file(tmp_path / "saved" / "model.safetensors").keys() == saved.keys()


def test_a_folder_that_is_no_checkpoint_is_not_replaced(model: Model, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "diary.txt").write_text("dear")
    for path in (tmp_path / "notes", tmp_path / "notes" / "diary.txt"):
        with pytest.raises(InputError, match="is no checkpoint"):
            save_model(model, path)
    assert (tmp_path / "notes" / "diary.txt").read_text() == "dear"


def test_files_that_belong_to_no_checkpoint_stay_behind(model: Model, tmp_path: Path) -> None:
    for name in ("README.md", "trainer_state.json", "modeling_sdar.py", "special_tokens_map.json"):
        (model.checkpoint.path / name).write_text("{}")
    save_model(model, tmp_path / "saved")
    names = {file.name for file in (tmp_path / "saved").iterdir()}
    assert {"modeling_sdar.py", "special_tokens_map.json", "tokenizer.json"} <= names
    assert not {"README.md", "trainer_state.json"} & names


def test_the_command_writes_a_checkpoint_in_another_dtype(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = write_checkpoint(tmp_path, "llada"), tmp_path / "half"
    assert main(["save", "--model", str(path), "--dtype", "bfloat16", "--out", str(out)]) == 0
    assert str(out) in capsys.readouterr().out
    assert load_file(out / "model.safetensors")["model.transformer.wte.weight"].dtype == torch.bfloat16
    assert main(["save", "--model", str(path), "--out", str(tmp_path)]) == 2
    assert "is no checkpoint" in capsys.readouterr().err
