"""Reads a checkpoint directory: where it is, what it is, whether all of it is there.

Covered: local directories, the embedded model, hub ids (fetched through huggingface_hub); config, tokenizer, stop tokens, mask
token, weights on transformers' own class with no key missing or left over, and a fingerprint of the weights. Not covered:
checkpoints that are not safetensors.
"""

import hashlib
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...rewards.errors import InputError, nearest
from .families import Family, recognise

EMBEDDED = {"demo": Path(__file__).parent / "demo"}
"""Models that come with the package, by name."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint that was found and understood; its weights are not loaded yet."""

    id: str
    path: Path
    revision: str
    family: Family
    config: dict[str, Any]
    tokenizer: Any
    mask_id: int
    stop_ids: tuple[int, ...]
    block_size: int | None


def open_checkpoint(name: str, revision: str | None = None) -> Checkpoint:
    """Find and read a checkpoint by embedded name, directory or hub id. Raises InputError for what is wrong with it."""
    path, resolved = _locate(name, revision)
    config = _read_json(path / "config.json", f"{name}: no config.json in {path}; give the directory of a checkpoint")
    family = recognise(config, str(path / "config.json"))
    for name, needed in (("vocab_size", True), ("block_size", False), ("max_position_embeddings", False)):
        _check_whole(config, name, path, needed=needed)
    tokenizer = _load_tokenizer(path)
    mask_id = _mask_id(config, tokenizer, family, path)
    generation = path / "generation_config.json"
    hints = _read_json(generation, "") if generation.exists() else {}
    stop_ids = _stop_ids(config, hints, tokenizer, path)
    block_size = config.get("block_size") or family.default_block_size
    return Checkpoint(name, path, resolved, family, config, tokenizer, mask_id, stop_ids, block_size)


def _locate(name: str, revision: str | None) -> tuple[Path, str]:
    if name in EMBEDDED:
        return EMBEDDED[name], "embedded"
    path = Path(name).expanduser()
    if path.is_dir():
        return path, "local"
    if path.exists():
        raise InputError(f"--model {name}: is a file; give the directory that holds config.json and the weights")
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        return _fetch(name, revision)
    raise InputError(
        f"--model {name}: no such directory, and not an embedded model ({', '.join(EMBEDDED)}) or a hub id (owner/name)"
        f"{nearest(name, EMBEDDED)}"
    )


def _fetch(name: str, revision: str | None) -> tuple[Path, str]:
    from huggingface_hub import errors, snapshot_download

    wanted = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
    try:
        path = Path(snapshot_download(name, revision=revision, allow_patterns=wanted))
    except errors.HFValidationError:
        raise InputError(f"--model {name}: no such directory, and no valid name of a hub repository") from None
    except errors.GatedRepoError:
        raise InputError(f"--model {name}: the hub asks for an accepted licence; log in with `hf auth login`") from None
    except errors.RevisionNotFoundError:
        raise InputError(f"--revision {revision}: the hub's {name} has no such revision") from None
    except errors.RepositoryNotFoundError:
        raise InputError(f"--model {name}: no such directory here and no such repository on the hub") from None
    except (errors.LocalEntryNotFoundError, errors.HfHubHTTPError, OSError) as error:
        raise InputError(
            f"--model {name}: no such directory here, and the hub cannot be reached ({type(error).__name__}); "
            f"download it elsewhere (`hf download {name} --local-dir DIR`) and give --model DIR"
        ) from None
    return path, path.name


def _read_json(path: Path, missing: str) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise InputError(missing) from None
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error})") from None
    if not isinstance(data, dict):
        raise InputError(f"{path}: expected an object, found {type(data).__name__}")
    return data


def _check_whole(config: dict[str, Any], name: str, path: Path, *, needed: bool) -> None:
    value = config.get(name)
    if value is None and not needed:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"{path / 'config.json'}: field {name!r}: expected a whole number above 0, found {value!r}")


def _load_tokenizer(path: Path) -> Any:
    from transformers import PreTrainedTokenizerFast

    if not (path / "tokenizer.json").exists():
        raise InputError(f"{path}: no tokenizer.json; copy the tokenizer files of the released model into that directory")
    _quieten()
    try:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(path)
    except (ValueError, OSError, KeyError, TypeError) as error:
        raise InputError(f"{path}: the tokenizer cannot be loaded ({_one_line(error)})") from None
    if tokenizer.chat_template is None:
        raise InputError(f"{path}: the tokenizer has no chat template; add `chat_template` to tokenizer_config.json")
    return tokenizer


def _mask_id(config: dict[str, Any], tokenizer: Any, family: Family, path: Path) -> int:
    """The mask token's id: from the config, else the tokenizer, else the family's token; checked against the vocabulary."""
    vocabulary = tokenizer.get_vocab()
    found = config.get("mask_token_id")
    if found is None and tokenizer.mask_token is not None:
        found = vocabulary.get(tokenizer.mask_token)
    if found is None:
        found = next((vocabulary[token] for token in family.mask_tokens if token in vocabulary), None)
    if found is None:
        raise InputError(f"{path}: no mask token: config.json has no mask_token_id and the tokenizer no {family.mask_tokens[0]}")
    if not isinstance(found, int) or not 0 <= found < config["vocab_size"]:
        raise InputError(f"{path / 'config.json'}: mask_token_id {found!r} lies outside the vocabulary of {config['vocab_size']}")
    return found


def _stop_ids(config: dict[str, Any], hints: dict[str, Any], tokenizer: Any, path: Path) -> tuple[int, ...]:
    """Every id that ends a response: those of generation_config and config, and the tokenizer's end token."""
    given = [*_as_list(hints.get("eos_token_id")), *_as_list(config.get("eos_token_id")), tokenizer.eos_token_id]
    ids = tuple(dict.fromkeys(i for i in given if i is not None))
    if not ids:
        raise InputError(f"{path}: no stop token: neither generation_config.json, config.json nor the tokenizer names one")
    return ids


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def load_network(checkpoint: Checkpoint, dtype: Any, device: str) -> Any:
    """Load the weights into transformers' own class. Raises InputError unless every key fits exactly once."""
    import transformers
    from safetensors import SafetensorError

    family, path = checkpoint.family, checkpoint.path
    if not list(path.glob("*.safetensors")):
        raise InputError(f"{path}: no *.safetensors; unmask loads safetensors only")
    arguments = family.translate(checkpoint.config, str(path / "config.json"))
    config = getattr(transformers, f"{family.base}Config")(**arguments)
    network_class = getattr(transformers, f"{family.base}ForCausalLM")
    # A wrong shape is to be reported like a wrong key, in one line, not as transformers' table; `_check_keys` refuses it.
    options = {"output_loading_info": True, "use_safetensors": True, "ignore_mismatched_sizes": True}
    _quieten()
    try:
        network, report = network_class.from_pretrained(path, config=config, dtype=dtype, attn_implementation="sdpa", **options)
    except SafetensorError as error:
        raise InputError(f"{path}: the weights are damaged ({_one_line(error)}); copy or download them again") from None
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise InputError(f"{path}: the weights cannot be loaded ({_one_line(error)})") from None
    _check_keys(report, path)
    return network.to(device).eval()


def _quieten() -> None:
    """transformers' warnings here repeat what `_check_keys` says; its progress bar is for people only."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    if not sys.stderr.isatty():
        logging.disable_progress_bar()


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


def fingerprint(path: Path) -> str:
    """A short hash that identifies the checkpoint in a directory, wherever it lies.

    Reads the configs and the tokenizer, every safetensors header (names, shapes, offsets) and 64 slices of 4 KiB of each weights
    file, so that it costs milliseconds for large checkpoints and still changes with training or with an edited setting.
    """
    digest = hashlib.sha256()
    for name in _SETTINGS:
        file = path / name
        digest.update(f"{name}:{file.stat().st_size if file.exists() else -1}\n".encode())
        digest.update(file.read_bytes() if file.exists() else b"")
    for file in sorted(path.glob("*.safetensors")):
        digest.update(f"{file.name}:{file.stat().st_size}\n".encode())
        for piece in _slices(file):
            digest.update(piece)
    return digest.hexdigest()[:16]


_SETTINGS = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


def _slices(file: Path, count: int = 64, size: int = 4096) -> Iterable[bytes]:
    total = file.stat().st_size
    with file.open("rb") as stream:
        header = int.from_bytes(stream.read(8), "little")
        yield stream.read(min(header, total))
        start = stream.tell()
        for offset in _offsets(start, total, count, size):
            stream.seek(offset)
            yield stream.read(size)


def _offsets(start: int, total: int, count: int, size: int) -> Sequence[int]:
    room = max(total - start - size, 0)
    return [start + room * i // max(count - 1, 1) for i in range(count)]


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
