"""What went wrong in other code with these checkpoints, and must not here: one test for each."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from unmask.harness.models.checkpoint import EMBEDDED, open_checkpoint
from unmask.harness.models.families import FAMILIES
from unmask.harness.models.model import Model, load_model
from unmask.harness.records import DecodeConfig, Request
from unmask.rewards.errors import InputError

from .tiny import write, write_checkpoint

IDS = torch.tensor([[65, 66, 261, 67, 68, 261, 69, 70]])


def config_of(path: Path) -> dict[str, object]:
    data: dict[str, object] = json.loads((path / "config.json").read_text())
    return data


@torch.inference_mode()
def logits(model: Model, ids: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
    found: Tensor = model.network(input_ids=ids, attention_mask=mask, position_ids=positions).logits
    return found


@pytest.mark.parametrize("name", ["sdar", "llada", "dream", "llada-moe", "llada2", "nemotron-diffusion"])
def test_padding_on_the_left_changes_no_real_position_and_keeps_attention_bidirectional(name: str, tmp_path: Path) -> None:
    """Traps 1 and 2: a boolean mask that is added as numbers, a padded batch that becomes causal."""
    model = load_model(str(write_checkpoint(tmp_path, name)), device="cpu")
    length, padding = IDS.shape[1], 5
    positions = torch.arange(length).unsqueeze(0)
    alone = logits(model, IDS, torch.ones(1, 1, length, length, dtype=torch.bool), positions)
    padded = torch.cat([torch.full((1, padding), 90), IDS], dim=1)
    real = torch.arange(length + padding) >= padding
    mask = real.expand(1, 1, length + padding, -1)
    shifted = (torch.arange(length + padding) - padding).clamp(min=0).unsqueeze(0)
    found = logits(model, padded, mask, shifted)[:, padding:]
    assert (found - alone).abs().max() < 1e-4
    padded[0, -1] = 71
    assert not torch.allclose(logits(model, padded, mask, shifted)[:, padding], alone[:, 0], atol=1e-3), "the last token is seen"


@pytest.mark.parametrize("name", ["sdar", "dream"])
def test_rows_without_a_token_are_never_drawn(name: str, tmp_path: Path) -> None:
    """Trap 10: the embedding has more rows than the tokenizer tokens; a high temperature reaches them."""
    model = load_model(str(write_checkpoint(tmp_path, name)), device="cpu")
    assert model.network.lm_head.weight.shape[0] > len(model.tokenizer.get_vocab())
    object.__setattr__(model.checkpoint, "stop_ids", ())
    decode = DecodeConfig(max_new_tokens=24, temperature=100.0, block_size=8)
    drawn = {token for seed in range(2) for token in next(model.generate([Request("p", 0, (65, 66), seed)], decode)).token_ids}
    assert len(drawn) > 30
    assert drawn <= set(model.tokenizer.get_vocab().values()) - {model.checkpoint.mask_id}


@pytest.mark.parametrize(
    ("fields", "base"),
    [
        ({"rope_theta": 5000.0}, 5000.0),
        ({"rope_theta": 7000, "rope_scaling": None}, 7000.0),
        ({"rope_theta": None, "rope_parameters": {"rope_type": "default", "rope_theta": 3000.0}}, 3000.0),
    ],
)
@pytest.mark.parametrize("name", ["sdar", "llada", "llada-moe", "dream"])
def test_the_rotary_base_in_force_is_the_configs(name: str, fields: dict[str, Any], base: float, tmp_path: Path) -> None:
    """Trap 11: a legacy field that a new config class ignores."""
    if name == "llada" and "rope_parameters" in fields:
        pytest.skip("LLaDA's own config has the plain field only")
    model = load_model(str(write_checkpoint(tmp_path, name, **fields)), device="cpu")
    frequencies = model.network.model.rotary_emb.inv_freq
    half = len(frequencies)
    assert torch.allclose(frequencies, base ** (-torch.arange(half) / half), rtol=1e-5)


def test_only_half_of_a_head_is_rotated_where_the_config_says_so(tmp_path: Path) -> None:
    model = load_model(str(write_checkpoint(tmp_path, "llada2")), device="cpu")
    assert len(model.network.model.rotary_emb.inv_freq) == 4, "of a head of 16, 8 rotate, in 4 pairs"


def test_a_missing_rotary_base_is_an_error_and_no_default(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="rope_theta"):
        load_model(str(write_checkpoint(tmp_path, "sdar", rope_theta=None)), device="cpu")


@pytest.mark.parametrize("family", ["sdar", "a2d-qwen3", "illada"])
def test_the_output_layer_is_tied_exactly_where_the_release_ties_it(family: str, tmp_path: Path) -> None:
    """Trap 12: SDAR-1.7B unties what its base model ties."""
    model = load_model(str(write_checkpoint(tmp_path, family)), device="cpu")
    network = model.network
    tied = network.lm_head.weight.data_ptr() == network.model.embed_tokens.weight.data_ptr()
    assert tied == (family != "sdar")


def test_a_silent_config_is_answered_by_the_weights(tmp_path: Path) -> None:
    for family, tied in (("sdar", False), ("a2d-qwen3", True)):
        path = write_checkpoint(tmp_path / family, family, tie_word_embeddings=None)
        assert load_model(str(path), device="cpu").network.config.tie_word_embeddings is tied


def test_config_and_weights_that_disagree_about_the_output_layer_are_refused(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, "sdar")
    write(path / "config.json", config_of(path) | {"tie_word_embeddings": True})
    with pytest.raises(InputError, match=r"ties lm_head\.weight to model\.embed_tokens\.weight"):
        load_model(str(path), device="cpu")
    weights = load_file(path / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, path / "model.safetensors", {"format": "pt"})
    load_model(str(path), device="cpu")
    write(path / "config.json", config_of(path) | {"tie_word_embeddings": False})
    with pytest.raises(InputError, match=r"lack lm_head\.weight.*tie_word_embeddings"):
        load_model(str(path), device="cpu")


def test_stop_tokens_come_from_every_place_that_names_one(tmp_path: Path) -> None:
    """Traps 8 and 13: the tokenizer's end token alone is not the stop set."""
    path = write_checkpoint(tmp_path, "sdar", eos_token_id=256)
    write(path / "generation_config.json", {"eos_token_id": [258, 256, 97]})
    checkpoint = open_checkpoint(str(path))
    assert set(checkpoint.stop_ids) == {256, 258, 97}
    assert checkpoint.tokenizer.eos_token_id == 256
    assert set(open_checkpoint(str(EMBEDDED["demo"])).stop_ids) == {0, 2}


@pytest.mark.parametrize("family", [family for family in FAMILIES if family.end_tokens and family.masked], ids=lambda f: f.name)
def test_a_familys_own_end_of_turn_stops_too(family: object, tmp_path: Path) -> None:
    name = family.name.removesuffix("-block")  # type: ignore[attr-defined]
    checkpoint = open_checkpoint(str(write_checkpoint(tmp_path, name)))
    vocabulary = checkpoint.tokenizer.get_vocab()
    there = {vocabulary[token] for token in family.end_tokens if token in vocabulary}  # type: ignore[attr-defined]
    assert there
    assert there <= set(checkpoint.stop_ids)


def test_a_stop_token_outside_the_vocabulary_is_refused(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, "sdar")
    write(path / "generation_config.json", {"eos_token_id": [151645]})
    with pytest.raises(InputError, match=r"151645 \(generation_config\.json\) lies outside"):
        open_checkpoint(str(path))


@pytest.mark.parametrize("listed", ["special_tokens_map.json", "tokenizer_config.json"])
def test_a_wrongly_listed_mask_token_is_not_believed(listed: str, tmp_path: Path) -> None:
    """Trap 14: uploads that list `<MASK>` although the token is `<|MASK|>`."""
    path = write_checkpoint(tmp_path, "sdar-moe")
    file = path / listed
    write(file, (json.loads(file.read_text()) if file.exists() else {}) | {"mask_token": "<MASK>"})
    checkpoint = open_checkpoint(str(path))
    assert checkpoint.mask_id == 261
    assert checkpoint.tokenizer.convert_ids_to_tokens(261) == "<|MASK|>"


@pytest.mark.parametrize("name", ["dream", "llada2"])
def test_two_threads_on_one_model_do_not_disturb_each_other(name: str, tmp_path: Path) -> None:
    """Trap 16: a forward pass that sets its attention on the shared config."""
    model = load_model(str(write_checkpoint(tmp_path, name)), device="cpu")
    decode = DecodeConfig(max_new_tokens=16, temperature=1.0, block_size=8)
    requests = [Request("p", i, tuple(range(65, 70 + i)), seed=i) for i in range(3)]
    alone = [next(model.generate([request], decode)).token_ids for request in requests]
    with ThreadPoolExecutor(3) as threads:
        together = list(threads.map(lambda request: next(model.generate([request], decode)).token_ids, requests * 2))
    assert together == alone * 2


def test_a_tokenizer_of_vocabulary_and_merges_reads_as_its_json_does(tmp_path: Path) -> None:
    """Dream's release has no tokenizer.json."""
    from tokenizers import Tokenizer

    path = write_checkpoint(tmp_path, "dream")
    fast = open_checkpoint(str(path)).tokenizer
    slow = tmp_path / "slow"
    shutil.copytree(path, slow)
    vocabulary = Tokenizer.from_file(str(slow / "tokenizer.json")).get_vocab(with_added_tokens=False)
    added = {i: token for token, i in fast.get_vocab().items() if token not in vocabulary}
    (slow / "tokenizer.json").unlink()
    write(slow / "vocab.json", vocabulary)
    (slow / "merges.txt").write_text("#version: 0.2\n")
    settings = json.loads((slow / "tokenizer_config.json").read_text())
    decoder = {str(i): {"content": token, "special": True} for i, token in sorted(added.items())}
    write(slow / "tokenizer_config.json", settings | {"tokenizer_class": "DreamTokenizer", "added_tokens_decoder": decoder})
    checkpoint = open_checkpoint(str(slow))
    assert checkpoint.mask_id == 261
    text = "<|im_start|>user\nHow many? 12+3<|im_end|>"
    assert checkpoint.tokenizer(text)["input_ids"] == fast(text)["input_ids"]
