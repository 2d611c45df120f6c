"""Loads weights into transformers' own classes: every key exactly once, the attention backend explicit.

Names are translated by transformers' own conversions, which also read and write the experts of MoE models; what a family adds
to them stands in `families`. What does not fit is found from the files' headers, before any weight is read. Not covered: writing
(`saving`) and files that are not safetensors.
"""

import importlib.util
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from ...rewards.errors import InputError
from .adapter import merge_adapter
from .checkpoint import Checkpoint
from .families import Family
from .settings import one_line, quieten

Shapes = dict[str, tuple[int, ...]]
LARGE = 2 * 10**9
"""Bytes from which loading is announced."""


def load_network(checkpoint: Checkpoint, dtype: Any, device: str) -> Any:
    """Load the weights, ready to run. Raises InputError unless every key fits exactly once."""
    from safetensors import SafetensorError

    family, path = checkpoint.family, checkpoint.path
    plan = check_weights(checkpoint)
    _announce(checkpoint, plan)
    quieten()
    try:
        with _in_turn():
            network, report = network_class(family).from_pretrained(
                path,
                config=plan.config,
                dtype=dtype,
                attn_implementation="sdpa",
                key_mapping=dict(family.renames) or None,
                use_safetensors=True,
                output_loading_info=True,
                # A wrong shape is to be reported in one line, not as transformers' table; `_check_report` refuses it.
                ignore_mismatched_sizes=True,
                **_place(device),
            )
    except SafetensorError as error:
        raise InputError(f"{path}: the weights are damaged ({one_line(error)}); copy or download them again") from None
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise InputError(f"{path}: the weights cannot be loaded ({one_line(error)})") from None
    _check_report(report, path)
    if checkpoint.adapter is not None:
        network = merge_adapter(network, checkpoint.adapter, family)
    return network.to(device).eval()


@contextmanager
def _in_turn() -> Iterator[None]:
    """Read weights as they are needed. transformers' reading threads run ahead: with experts to be merged, the peak is twice
    the weights (measured: 2.15 times, and 1.33 times in turn)."""
    before = os.environ.get("HF_DEACTIVATE_ASYNC_LOAD")
    os.environ["HF_DEACTIVATE_ASYNC_LOAD"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["HF_DEACTIVATE_ASYNC_LOAD"]
        else:
            os.environ["HF_DEACTIVATE_ASYNC_LOAD"] = before


def _place(device: str) -> dict[str, Any]:
    """Straight to an accelerator where transformers can (it needs accelerate for that), else by way of the CPU's memory."""
    direct = device != "cpu" and importlib.util.find_spec("accelerate") is not None
    return {"device_map": {"": device}} if direct else {}


def _announce(checkpoint: Checkpoint, plan: "Plan") -> None:
    """On a terminal transformers shows a bar; in a log, a wait of minutes is explained by a line."""
    if plan.size > LARGE and not sys.stderr.isatty():
        print(f"loading {checkpoint.id}: {plan.parameters:,} parameters, {plan.size / 1e9:.1f} GB", file=sys.stderr, flush=True)


class Plan(NamedTuple):
    """What is going to be loaded: the base class's config, the number of parameters, and the bytes on disk."""

    config: Any
    parameters: int
    size: int


def check_weights(checkpoint: Checkpoint) -> Plan:
    """Compare names and shapes of the weights with what the config asks for, reading headers only. Raises InputError."""
    path, family = checkpoint.path, checkpoint.family
    found = weight_shapes(path)
    config = _network_config(checkpoint, found)
    network = _without_weights(family, config, path)
    wanted = {name: tuple(value.shape) for name, value in released(network, family, network.state_dict()).items()}
    tied = {_one(network, family, ours): _one(network, family, source) for ours, source in _tied(network).items()}
    _compare(wanted, found, tied, path)
    _check_tied(tied, found, path)
    parameters = sum(value.numel() for value in network.parameters())
    return Plan(config, parameters, sum(file.stat().st_size for file in weight_files(path)))


def released(network: Any, family: Family, weights: Mapping[str, Any]) -> dict[str, Any]:
    """`weights` of a network under their released names; fused ones are put together, experts taken apart."""
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import revert_weight_conversion

    if getattr(network, "_weight_conversions", None) is None:
        network._weight_conversions = get_model_conversion_mapping(network, dict(family.renames) or None)
    return dict(revert_weight_conversion(network, dict(weights)))


def _one(network: Any, family: Family, name: str) -> str:
    return next(iter(released(network, family, {name: network.state_dict()[name]})))


def _tied(network: Any) -> dict[str, str]:
    """Weights that are another one, and which: the output layer of a model that ties it to the embedding."""
    return dict(network.all_tied_weights_keys)


def _without_weights(family: Family, config: Any, path: Path) -> Any:
    import torch

    try:
        with torch.device("meta"):
            return network_class(family)(config)
    except (RuntimeError, ValueError, KeyError, TypeError, AssertionError, ZeroDivisionError) as error:
        raise InputError(f"{path / 'config.json'}: describes no model that can be built ({one_line(error)})") from None


def _network_config(checkpoint: Checkpoint, found: Shapes) -> Any:
    """The base class's config. Where the released config does not say, the weights tell whether the output layer is tied."""
    import transformers
    from huggingface_hub.errors import StrictDataclassError

    family, where = checkpoint.family, str(checkpoint.path / "config.json")
    arguments = family.translate(checkpoint.config, where)
    if arguments.get("tie_word_embeddings") is None:
        arguments["tie_word_embeddings"] = not any(name.endswith(_HEADS) for name in found)
    try:
        return getattr(transformers, f"{family.base}Config")(**arguments)
    except (TypeError, ValueError, KeyError, StrictDataclassError) as error:
        raise InputError(f"{where}: does not describe a {family.base} model ({one_line(error)})") from None


_HEADS = ("lm_head.weight", "diffusion_head.weight", "transformer.ff_out.weight")
_RECOMPUTED = ("rotary_emb.inv_freq",)
"""Buffers that old releases hold and every class computes itself."""


def _compare(wanted: Shapes, found: Shapes, tied: Mapping[str, str], path: Path) -> None:
    """A name that is missing would silently be random, one that is left over would silently be ignored."""
    _report(path, "lack", [name for name in wanted if name not in found and name not in tied])
    _report(path, "hold unknown", [name for name in found if name not in wanted])
    wrong = [name for name in found if found[name] != wanted[name]]
    _report(path, "have a wrong shape for", [f"{name} ({list(found[name])}, not {list(wanted[name])})" for name in wrong])


def _check_tied(tied: Mapping[str, str], found: Shapes, path: Path) -> None:
    """Weights that the config ties and the files hold twice must be the same: which of them counts would be a guess."""
    import torch

    for name, source in tied.items():
        if name in found and source in found and not torch.equal(_tensor(path, name), _tensor(path, source)):
            raise InputError(f"{path}: config.json ties {name} to {source}, but the weights hold two different ones; correct it")


def _tensor(path: Path, name: str) -> Any:
    from safetensors import safe_open

    file = next(file for file in weight_files(path) if name in _header(file))
    with safe_open(file, "pt") as weights:
        return weights.get_tensor(name)


def _check_report(report: Mapping[str, Any], path: Path) -> None:
    """The same once more, by transformers' own account of what it loaded."""
    for name, what in (
        ("missing_keys", "lack"),
        ("unexpected_keys", "hold unknown"),
        ("mismatched_keys", "have a wrong shape for"),
    ):
        _report(path, what, [str(key[0] if isinstance(key, tuple) else key) for key in report.get(name, ())])


def _report(path: Path, what: str, names: list[str]) -> None:
    if names:
        first, more = min(names), f" and {len(names) - 1} more" if len(names) > 1 else ""
        hint = "; does config.json lack tie_word_embeddings?" if what == "lack" and first.endswith(_HEADS) else ""
        raise InputError(f"{path}: the weights {what} {first}{more}; config.json and weights do not belong together{hint}")


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


def weight_shapes(path: Path) -> Shapes:
    """Names and shapes of a checkpoint's weights, read from the headers. Raises InputError for files that are missing."""
    entries = [(name, entry) for file in weight_files(path) for name, entry in _header(file).items() if name != "__metadata__"]
    return {name: tuple(entry["shape"]) for name, entry in entries if not name.endswith(_RECOMPUTED)}


def weight_dtypes(path: Path) -> list[str]:
    """The dtypes of a checkpoint's weights as its files name them, the most frequent first."""
    counts = Counter(
        str(entry["dtype"]) for file in weight_files(path) for name, entry in _header(file).items() if name[:2] != "__"
    )
    return [name for name, _ in counts.most_common()]


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
    """The names, dtypes, shapes and places of a file's weights. Raises InputError for a file that ends too early."""
    total = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        text = stream.read(length) if length <= total else b""
    try:
        header = dict(json.loads(text))
    except ValueError:
        raise InputError(f"{file}: the weights are damaged (no readable header); copy or download them again") from None
    end = 8 + length + max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0)
    if end != total:
        raise InputError(f"{file}: the weights are damaged ({total:,} bytes of {end:,}); copy or download them again")
    return header
