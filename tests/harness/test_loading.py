"""Loading: what a checkpoint's files may look like, and what it costs."""

import threading
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from unmask.harness.models import network, saving
from unmask.harness.models.checkpoint import open_checkpoint
from unmask.harness.models.model import load_model
from unmask.harness.models.network import check_weights, load_network
from unmask.harness.models.saving import save_model
from unmask.rewards.errors import InputError

from . import tiny
from .tiny import LAYOUTS, write, write_checkpoint

IDS = torch.tensor([[65, 66, 261, 67, 68, 69, 70, 261]])
MASK = torch.ones(1, 1, 8, 8, dtype=torch.bool)


def anonymous_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) * 1024


class Peak:
    """The most memory held while the block ran, over what was held before; files that are mapped do not count."""

    def __enter__(self) -> "Peak":
        self._start, self.bytes, self._running = anonymous_bytes(), 0, True
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while self._running:
            self.bytes = max(self.bytes, anonymous_bytes() - self._start)
            time.sleep(0.001)

    def __exit__(self, *_: object) -> None:
        self._running = False
        self._thread.join()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's account of memory")
def test_the_peak_of_loading_experts_into_another_dtype_stays_well_below_twice_the_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = {"hidden_size": 256, "num_hidden_layers": 6, "num_experts": 16, "moe_intermediate_size": 256}
    wide = LAYOUTS["sdar-moe"]._replace(config={**LAYOUTS["sdar-moe"].config, **fields})
    monkeypatch.setattr(tiny, "LAYOUTS", {"wide": wide})
    monkeypatch.setattr(saving, "SHARD_BYTES", 10**7)
    save_model(load_model(str(write_checkpoint(tmp_path, "wide")), dtype="bfloat16", device="cpu"), tmp_path / "half")
    assert len(list((tmp_path / "half").glob("model-*-of-*.safetensors"))) > 3
    checkpoint = open_checkpoint(str(tmp_path / "half"))
    with Peak() as peak:
        loaded = load_network(checkpoint, torch.float32, "cpu")
    weights = sum(value.numel() * value.element_size() for value in loaded.parameters())
    assert weights > 7 * 10**7
    assert peak.bytes < 1.7 * weights


def test_shards_load_as_a_single_file_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saving, "SHARD_BYTES", 10**5)
    model = load_model(str(write_checkpoint(tmp_path, "llada2")), device="cpu")
    save_model(model, tmp_path / "shards")
    assert len(list((tmp_path / "shards").glob("model-*-of-*.safetensors"))) > 2
    again = load_model(str(tmp_path / "shards"), device="cpu").network.state_dict()
    assert all(torch.equal(value, again[name]) for name, value in model.network.state_dict().items())


def test_a_missing_shard_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saving, "SHARD_BYTES", 10**5)
    save_model(load_model(str(write_checkpoint(tmp_path, "sdar")), device="cpu"), tmp_path / "shards")
    gone = sorted((tmp_path / "shards").glob("model-*-of-*.safetensors"))[1]
    gone.unlink()
    with pytest.raises(InputError, match=f"{gone.name} is missing"):
        load_model(str(tmp_path / "shards"), device="cpu")


def test_a_file_cut_short_is_found_before_anything_is_loaded(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, "sdar")
    weights = path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(InputError, match="the weights are damaged"):
        check_weights(open_checkpoint(str(path)))


@pytest.mark.parametrize("family", ["sdar-moe", "llada2"])
@pytest.mark.parametrize("fault", ["missing", "extra", "shape"])
def test_a_single_expert_that_does_not_fit_is_named_as_the_release_names_it(tmp_path: Path, family: str, fault: str) -> None:
    path = write_checkpoint(tmp_path, family)
    weights = load_file(path / "model.safetensors")
    name = "model.layers.1.mlp.experts.3.up_proj.weight"
    if fault == "missing":
        del weights[name]
    elif fault == "extra":
        name = "model.layers.1.mlp.experts.8.up_proj.weight"
        weights[name] = weights["model.layers.1.mlp.experts.3.up_proj.weight"].clone()
    else:
        weights[name] = weights[name][:-1].contiguous()
    save_file(weights, path / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError) as caught:
        load_model(str(path), device="cpu")
    assert name in str(caught.value)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_a_model_runs_in_each_dtype(tmp_path: Path, dtype: str) -> None:
    path = write_checkpoint(tmp_path, "sdar")
    model = load_model(str(path), dtype=dtype, device="cpu")
    assert {str(value.dtype) for value in model.network.parameters()} == {f"torch.{dtype}"}
    with torch.inference_mode():
        found = model.network(input_ids=IDS, attention_mask=MASK).logits.float()
    expected = load_model(str(path), device="cpu").network(input_ids=IDS, attention_mask=MASK).logits
    difference = (found - expected).abs().max() / expected.abs().max()
    assert difference <= {"float32": 0.0, "float16": 0.01, "bfloat16": 0.05}[dtype]


def test_a_saved_model_in_another_dtype_says_so(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, "llada2")
    save_model(load_model(str(path), dtype="bfloat16", device="cpu"), tmp_path / "half")
    saved = load_file(tmp_path / "half" / "model.safetensors")
    assert saved["lm_head.weight"].dtype == torch.bfloat16
    assert open_checkpoint(str(tmp_path / "half")).config["torch_dtype"] == "bfloat16"
    assert load_model(str(tmp_path / "half"), dtype="bfloat16", device="cpu").info.dtype == "bfloat16"


def test_a_large_checkpoint_is_announced_in_a_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_checkpoint(tmp_path, "sdar")
    load_model(str(path), device="cpu")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(network, "LARGE", 0)
    load_model(str(path), device="cpu")
    assert capsys.readouterr().err.startswith(f"loading {path}: 1")


def test_old_releases_may_hold_rotary_buffers(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, "stable-diffcoder")
    weights = load_file(path / "model.safetensors")
    weights["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(8)
    save_file(weights, path / "model.safetensors", {"format": "pt"})
    model = load_model(str(path), device="cpu")
    save_model(model, tmp_path / "copy")
    assert load_file(tmp_path / "copy" / "model.safetensors").keys() == {name for name in weights if "inv_freq" not in name}


def test_a_config_that_describes_no_model_is_named(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, "sdar", num_attention_heads=0)
    with pytest.raises(InputError, match=r"config\.json"):
        load_model(str(path), device="cpu")
    write(path / "config.json", dict(LAYOUTS["sdar"].config) | {"num_key_value_heads": "two"})
    with pytest.raises(InputError, match=r"config\.json"):
        load_model(str(path), device="cpu")
