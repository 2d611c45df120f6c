"""Loads weights into transformers' own classes: every key exactly once, the attention backend explicit.

Names are translated by transformers' own conversions, which also read and write the experts of MoE models; what a family adds
to them stands in `families`. Not covered: writing (`saving`) and files that are not safetensors.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ...rewards.errors import InputError
from .checkpoint import Checkpoint
from .families import Family
from .settings import one_line, quieten


def load_network(checkpoint: Checkpoint, dtype: Any, device: str) -> Any:
    """Load the weights, ready to run. Raises InputError unless every key fits exactly once."""
    from safetensors import SafetensorError

    family, path = checkpoint.family, checkpoint.path
    names = weight_shapes(path)
    # A wrong shape is to be reported like a wrong key, in one line, not as transformers' table; `_check_keys` refuses it.
    options = {"output_loading_info": True, "use_safetensors": True, "ignore_mismatched_sizes": True}
    quieten()
    try:
        network, report = network_class(family).from_pretrained(
            path,
            config=network_config(checkpoint, names),
            dtype=dtype,
            attn_implementation="sdpa",
            key_mapping=dict(family.renames) or None,
            **options,
        )
    except SafetensorError as error:
        raise InputError(f"{path}: the weights are damaged ({one_line(error)}); copy or download them again") from None
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise InputError(f"{path}: the weights cannot be loaded ({one_line(error)})") from None
    _check_keys(report, path)
    return network.to(device).eval()


def network_config(checkpoint: Checkpoint, names: Mapping[str, tuple[int, ...]]) -> Any:
    """The base class's config. Where the released config does not say, the weights tell whether the output layer is tied."""
    import transformers

    family, where = checkpoint.family, str(checkpoint.path / "config.json")
    arguments = family.translate(checkpoint.config, where)
    if arguments.get("tie_word_embeddings") is None:
        arguments["tie_word_embeddings"] = not any(name.endswith(_HEADS) for name in names)
    try:
        return getattr(transformers, f"{family.base}Config")(**arguments)
    except (TypeError, ValueError, KeyError) as error:
        raise InputError(f"{where}: does not describe a {family.base} model ({one_line(error)})") from None


_HEADS = ("lm_head.weight", "diffusion_head.weight", "transformer.ff_out.weight")


@cache
def network_class(family: Family) -> Any:
    """The class to load. A family with fused weights gets a subclass, under whose name its conversions are registered."""
    import transformers
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping, register_checkpoint_conversion_mapping
    from transformers.core_model_loading import Split, WeightConverter

    base = getattr(transformers, family.network_class)
    if not family.fused:
        return base
    own = type(f"{family.name.title().replace('-', '')}ForCausalLM", (base,), {})
    splits = [WeightConverter(source, list(targets), operations=[Split(0)]) for source, targets in family.fused]
    stock = get_checkpoint_conversion_mapping(base.config_class.model_type) or []
    register_checkpoint_conversion_mapping(own.__name__, [*splits, *stock], overwrite=True)
    return own


def weight_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a checkpoint's weights, read from the headers. Raises InputError for files that are missing."""
    shapes: dict[str, tuple[int, ...]] = {}
    for file in weight_files(path):
        header = _header(file)
        shapes |= {name: tuple(entry["shape"]) for name, entry in header.items() if name != "__metadata__"}
    return shapes


def weight_files(path: Path) -> list[Path]:
    """The safetensors files of a checkpoint: those of its index, or the single one."""
    index = path / "model.safetensors.index.json"
    if not index.exists():
        if not (path / "model.safetensors").exists():
            raise InputError(f"{path}: no model.safetensors and no index of shards; unmask loads safetensors only")
        return [path / "model.safetensors"]
    try:
        names = sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{index}: not an index of shards ({one_line(error)})") from None
    missing = [name for name in names if not (path / name).exists()]
    if missing:
        raise InputError(f"{path}: {missing[0]} is missing ({len(missing)} of {len(names)} shards); download it again")
    return [path / name for name in names]


def _header(file: Path) -> dict[str, Any]:
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        text = stream.read(length) if length <= file.stat().st_size else b""
    try:
        header = json.loads(text)
    except ValueError:
        raise InputError(f"{file}: the weights are damaged (no readable header); copy or download them again") from None
    return dict(header)


def _check_keys(report: dict[str, Any], path: Path) -> None:
    """A key that is missing would silently be random, one that is left over would silently be ignored."""
    for name, what in (
        ("missing_keys", "lack"),
        ("unexpected_keys", "hold unknown"),
        ("mismatched_keys", "have a wrong shape for"),
    ):
        keys = sorted(str(key[0] if isinstance(key, tuple) else key) for key in report.get(name, ()))
        if keys:
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            raise InputError(f"{path}: the weights {what} {keys[0]}{more}; config.json and weights do not belong together")
