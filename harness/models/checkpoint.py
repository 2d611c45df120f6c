"""Reads a checkpoint directory: where it is, what it is, whether all of it is there.

Covered: local directories, the embedded model, hub ids (fetched through huggingface_hub); config, tokenizer, stop tokens, mask
token and a fingerprint of the weights. Not covered: loading the weights (`network`).
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
from .translation import rows_of, whole

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
    mask: int | None
    stop_ids: tuple[int, ...]
    block_size: int | None

    @property
    def mask_id(self) -> int:
        """The mask token. Raises InputError for a family that has none."""
        if self.mask is None:
            raise InputError(f"{self.id}: the family {self.family.name} has no mask token")
        return self.mask


def open_checkpoint(name: str, revision: str | None = None) -> Checkpoint:
    """Find and read a checkpoint by embedded name, directory or hub id. Raises InputError for what is wrong with it."""
    path, resolved = _locate(name, revision)
    config = _read_json(path / "config.json", f"{name}: no config.json in {path}; give the directory of a checkpoint")
    family = recognise(config, str(path / "config.json"), f"{name} {path}")
    where = str(path / "config.json")
    rows = rows_of(config, where)
    if config.get("max_position_embeddings") is not None:
        whole(config["max_position_embeddings"], "max_position_embeddings", where)
    tokenizer = _load_tokenizer(path)
    mask_id = _mask_id(config, tokenizer, family, rows, path) if family.masked else None
    generation = path / "generation_config.json"
    hints = _read_json(generation, "") if generation.exists() else {}
    stop_ids = _stop_ids(config, hints, tokenizer, family, path)
    block_size = _block_size(config, family, where)
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


def _load_tokenizer(path: Path) -> Any:
    from transformers import PreTrainedTokenizerFast

    if not (path / "tokenizer.json").exists():
        raise InputError(f"{path}: no tokenizer.json; copy the tokenizer files of the released model into that directory")
    quieten()
    try:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(path)
    except (ValueError, OSError, KeyError, TypeError) as error:
        raise InputError(f"{path}: the tokenizer cannot be loaded ({one_line(error)})") from None
    if tokenizer.chat_template is None:
        raise InputError(f"{path}: the tokenizer has no chat template; add `chat_template` to tokenizer_config.json")
    return tokenizer


def _mask_id(config: dict[str, Any], tokenizer: Any, family: Family, rows: int, path: Path) -> int:
    """The mask token's id: from the config, else the tokenizer, else the family's; checked against the embedding's rows."""
    vocabulary = tokenizer.get_vocab()
    found = config.get("mask_token_id")
    if found is None and tokenizer.mask_token is not None:
        found = vocabulary.get(tokenizer.mask_token)
    if found is None:
        found = next((vocabulary[token] for token in family.mask_tokens if token in vocabulary), family.mask_id)
    if found is None:
        raise InputError(f"{path}: no mask token: config.json has no mask_token_id and the tokenizer no {family.mask_tokens[0]}")
    if not isinstance(found, int) or not 0 <= found < rows:
        raise InputError(f"{path / 'config.json'}: mask_token_id {found!r} lies outside the vocabulary of {rows}")
    return found


def _stop_ids(config: dict[str, Any], hints: dict[str, Any], tokenizer: Any, family: Family, path: Path) -> tuple[int, ...]:
    """Every id that ends a response: those of generation_config and config, the tokenizer's end token, the family's."""
    vocabulary = tokenizer.get_vocab()
    given = [*_as_list(hints.get("eos_token_id")), *_as_list(config.get("eos_token_id")), tokenizer.eos_token_id]
    given += [vocabulary.get(token) for token in family.end_tokens]
    ids = tuple(dict.fromkeys(i for i in given if i is not None))
    if not ids:
        raise InputError(f"{path}: no stop token: neither generation_config.json, config.json nor the tokenizer names one")
    return ids


def _block_size(config: dict[str, Any], family: Family, where: str) -> int | None:
    for name in family.block_fields:
        if config.get(name) is not None:
            return whole(config[name], name, where)
    return family.default_block_size


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


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


def one_line(error: BaseException) -> str:
    """An error of another library as the end of one of ours."""
    return " ".join(str(error).split())[:200]


def quieten() -> None:
    """transformers' warnings here repeat what our own errors say; its progress bar is for people only."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    if not sys.stderr.isatty():
        logging.disable_progress_bar()
