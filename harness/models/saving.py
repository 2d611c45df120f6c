"""Writes a model as a plain checkpoint in the layout it was released in, so that whoever could load the release can load it.

Names and fused weights are turned back; config, tokenizer and generation settings are those of the checkpoint it came from, and
only the dtype follows the weights. Covered: a folder that appears as a whole or not at all. Not covered: optimizer state, and
gathering a sharded network (give its full state dict).
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ...rewards.errors import InputError
from .checkpoint import Checkpoint
from .network import released, weight_shapes
from .settings import one_line, read_json

if TYPE_CHECKING:
    from torch import Tensor

    from .model import Model

SHARD_BYTES = 5 * 10**9
"""A weights file holds at most this much, as releases do."""

_COPIED = (
    *("config.json", "generation_config.json", "*.jinja", "*processor_config.json"),
    *(
        "tokenizer*",
        "special_tokens_map.json",
        "added_tokens.json",
        "vocab.json",
        "merges.txt",
        "*.tiktoken",
        "chat_template.json",
    ),
    "*.py",
)
"""What a checkpoint has beside its weights: settings, tokenizer, and code that others may need to load it."""


def save_model(model: "Model", path: Path | str, state: "Mapping[str, Tensor] | None" = None) -> None:
    """Write `model` to the folder `path`, replacing an earlier checkpoint there.

    `state` is a full state dict, under the names of `model.network`, to write instead of the live weights: what a sharded
    network gathers. One process calls this. Raises InputError if something other than a checkpoint lies at `path`, and OSError
    when it cannot be written; what lay there before is then as it was.
    """
    path = Path(path)
    live = model.network.state_dict() if state is None else dict(state)
    if any(hasattr(value, "full_tensor") for value in live.values()):
        raise ValueError("the network is sharded; gather its state dict on every rank and pass it as `state`")
    if path.exists() and not (path / "config.json").exists() and (path.is_file() or any(path.iterdir())):
        raise InputError(f"{path}: is no checkpoint, and would be replaced by one; give another folder")
    with _replacing(path) as folder:
        _copy_settings(model.checkpoint, folder)
        weights = _turned_back(model, live, set(weight_shapes(model.checkpoint.path)))
        _write_config(model.checkpoint, folder, weights)
        _write_shards(weights, folder)


def _turned_back(model: "Model", state: "dict[str, Tensor]", names: set[str]) -> "dict[str, Tensor]":
    """The weights under their released names, checked against those that the checkpoint had (`names`)."""
    network = model.network
    wrong = (set(state) ^ set(network.state_dict())) - set(network.all_tied_weights_keys)
    if wrong:
        raise ValueError(f"the state dict does not fit the network: {min(wrong)} is only in one of them")
    weights: dict[str, Tensor] = released(network, model.checkpoint.family, state)
    missing = names - set(weights)
    if missing:
        raise ValueError(f"the weights do not turn back into the released layout: {min(missing)} is missing")
    # A tied output layer is the embedding again: releases leave it out.
    return {name: weights[name] for name in weights if name in names}


def _write_shards(weights: "dict[str, Tensor]", folder: Path) -> None:
    from huggingface_hub import split_torch_state_dict_into_shards
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    split = split_torch_state_dict_into_shards(weights, filename_pattern="model{suffix}.safetensors", max_shard_size=SHARD_BYTES)
    for file, names in split.filename_to_tensors.items():
        # Cloned where two names share memory, which safetensors does not write.
        seen: set[int] = set()
        tensors = {}
        for name in names:
            value = weights.pop(name).detach().contiguous().cpu()
            tensors[name] = value.clone() if value.data_ptr() in seen else value
            seen.add(value.data_ptr())
        try:
            save_file(tensors, folder / file, metadata={"format": "pt"})
        except SafetensorError as error:
            raise OSError(f"{file} cannot be written ({one_line(error)})") from None
    if split.is_sharded:
        index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", "utf-8")


def _copy_settings(checkpoint: Checkpoint, folder: Path) -> None:
    for pattern in _COPIED:
        for file in checkpoint.path.glob(pattern):
            if file.is_file():
                shutil.copyfile(file, folder / file.name)


def _write_config(checkpoint: Checkpoint, folder: Path, weights: "Mapping[str, Tensor]") -> None:
    """The released config as it is, its dtype apart where the weights have another."""
    dtype = _main_dtype(weights)
    named = [name for name in ("dtype", "torch_dtype") if name in checkpoint.config]
    if all(checkpoint.config[name] == dtype for name in named):
        return
    config = read_json(checkpoint.path / "config.json", "") | dict.fromkeys(named, dtype)
    (folder / "config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", "utf-8")


def _main_dtype(weights: "Mapping[str, Tensor]") -> str:
    """The dtype that most of the weights have: a router's bias may stay in float32."""
    sizes: dict[str, int] = {}
    for value in weights.values():
        sizes[str(value.dtype)] = sizes.get(str(value.dtype), 0) + value.numel()
    return max(sizes, key=lambda name: sizes[name]).removeprefix("torch.")


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A folder beside `path` that takes its place when all is written, and is gone when something fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh, old = path.with_name(f".{path.name}.new"), path.with_name(f".{path.name}.old")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    try:
        yield fresh
        _to_disk(fresh)
        if path.exists():
            shutil.rmtree(old, ignore_errors=True)
            path.rename(old)
        fresh.rename(path)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _to_disk(folder: Path) -> None:
    """Names are changed only once the contents are safe from a power cut."""
    for file in folder.iterdir():
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
