"""Reads a checkpoint directory: where it is, what it is, whether all of it is there.

Covered: local directories, the embedded model, hub ids (fetched through huggingface_hub) and a fingerprint of the weights. Not
covered: telling the family (`recognition`), reading its settings (`settings`), loading the weights (`network`).
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...rewards.errors import InputError, nearest
from .adapter import Adapter, open_adapter
from .families import Family
from .recognition import choose
from .settings import Setting, find_block_size, find_mask, find_stops, load_tokenizer, read_json
from .translation import rows_of, whole

EMBEDDED = {"demo": Path(__file__).parent / "demo"}
"""Models that come with the package, by name."""

SETTINGS = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
"""What a checkpoint's fingerprint covers besides its weights."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint that was found and understood; its weights are not loaded yet.

    `mask` is None for a family without a mask token. `found` says where each setting came from, for a person; `given` holds the
    settings that the user gave, which are part of the checkpoint's identity.
    """

    id: str
    path: Path
    revision: str
    family: Family
    config: dict[str, Any]
    tokenizer: Any
    mask: int | None
    stop_ids: tuple[int, ...]
    block_size: int | None
    found: Mapping[str, str] = field(default_factory=dict)
    given: Mapping[str, str] = field(default_factory=dict)
    adapter: Adapter | None = None

    @property
    def mask_id(self) -> int:
        """The mask token. Raises InputError for a family that has none."""
        if self.mask is None:
            raise InputError(f"{self.id}: the family {self.family.name} has no mask token")
        return self.mask

    @property
    def rows(self) -> int:
        """The rows of the embedding table: every token id lies below."""
        return rows_of(self.config, str(self.path / "config.json"))

    def fingerprint(self) -> str:
        """A short hash of what the directory holds and of the settings given: the same for the same model, wherever it lies."""
        own = fingerprint(self.path)
        return own if not self.given else hashlib.sha256(f"{own} {sorted(self.given.items())}".encode()).hexdigest()[:16]


def open_checkpoint(
    name: str,
    revision: str | None = None,
    *,
    family: str | None = None,
    mask_id: int | None = None,
    block_size: int | None = None,
    adapter: str | None = None,
) -> Checkpoint:
    """Find and read a checkpoint by embedded name, directory or hub id. Raises InputError for what is wrong with it.

    `family`, `mask_id` and `block_size` say what the checkpoint does not: a known family's name, a YAML file or a plug-in (see
    `recognition`), the id of the mask token, and the block size the model was trained with. `adapter` is a directory with a LoRA.
    """
    if name.startswith("openai:"):
        raise InputError(
            f"--model {name}: an endpoint gives text only, which `unmask eval` and `rollout` can use; give a checkpoint"
        )
    path, resolved = _locate(name, revision)
    where = str(path / "config.json")
    config = read_json(path / "config.json", f"{name}: no config.json in {path}; give the directory of a checkpoint")
    kind, why, *told = choose(config, where, _called(name, path), family)
    config |= {known: config[own] for own, known in kind.aliases if own in config}
    if config.get("max_position_embeddings") is not None:
        whole(config["max_position_embeddings"], "max_position_embeddings", where)
    tokenizer = load_tokenizer(path)
    mask = find_mask(config, tokenizer, kind, path, _given(mask_id, "--mask-id", told[0], f"{family}, mask_id"))
    hints = read_json(path / "generation_config.json", "") if (path / "generation_config.json").exists() else {}
    stops = find_stops(config, hints, tokenizer, kind, path)
    size = find_block_size(config, kind, where, _given(block_size, "--block-size", told[1], f"{family}, block_size"))
    found = {"family": why, "mask": mask.where, "block size": size.where, "stop": ", ".join(stops.values())}
    tuned = None if adapter is None else open_adapter(adapter)
    given = {"family": _content(family), "mask_id": mask_id, "block_size": block_size}
    given["adapter"] = None if tuned is None else fingerprint(tuned.path, ("adapter_config.json",))
    kept = {key: str(value) for key, value in given.items() if value is not None}
    called = name if adapter is None else f"{name}+{adapter}"
    return Checkpoint(called, path, resolved, kind, config, tokenizer, mask.value, tuple(stops), size.value, found, kept, tuned)


def _called(name: str, path: Path) -> str:
    """What a checkpoint is called: its folder and, in the hub's cache, its repository. Folders above say nothing of it."""
    return " ".join([name if "/" in name and not Path(name).exists() else "", path.resolve().name, *_cached(path)])


def _cached(path: Path) -> list[str]:
    return [part for part in path.parts if part.startswith("models--")]


def _given(flag: int | None, name: str, told: int | None, where: str) -> Setting | None:
    """What the user said: on the command line, else in the description of the family."""
    if flag is not None:
        return Setting(flag, name)
    return None if told is None else Setting(told, where)


def _content(family: str | None) -> str | None:
    """What identifies a family that was given: a file's content, else its name."""
    file = None if family is None else Path(family)
    return file.read_text("utf-8") if file is not None and file.suffix in (".yaml", ".yml") and file.is_file() else family


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


def fingerprint(path: Path, settings: Sequence[str] = SETTINGS) -> str:
    """A short hash that identifies the checkpoint in a directory, wherever it lies.

    Reads the configs and the tokenizer, every safetensors header (names, shapes, offsets) and 64 slices of 4 KiB of each weights
    file, so that it costs milliseconds for large checkpoints and still changes with training or with an edited setting.
    """
    digest = hashlib.sha256()
    for name in settings:
        file = path / name
        digest.update(f"{name}:{file.stat().st_size if file.exists() else -1}\n".encode())
        digest.update(file.read_bytes() if file.exists() else b"")
    for file in sorted(path.glob("*.safetensors")):
        digest.update(f"{file.name}:{file.stat().st_size}\n".encode())
        for piece in _slices(file):
            digest.update(piece)
    return digest.hexdigest()[:16]


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
