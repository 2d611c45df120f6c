"""Reads what decoding needs to know of a checkpoint beside its weights: tokenizer, mask token, stop tokens, block size.

Each is looked up in the places that releases use, in a fixed order, and returned with the place it was found. Not covered: the
weights and the architecture's own fields (`translation`).
"""

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

from ...rewards.errors import InputError
from .families import Family
from .translation import Config, rows_of, whole

MASK_FIELDS = ("mask_token_id", "text_mask_token_id", "mask_id")
"""Where a config may keep the mask token's id."""


class Setting(NamedTuple):
    """A value and where it was found, for a person."""

    value: int | None
    where: str


def read_json(path: Path, missing: str) -> dict[str, Any]:
    """Read a JSON object. Raises InputError: `missing` when there is no file."""
    try:
        data = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise InputError(missing) from None
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error})") from None
    if not isinstance(data, dict):
        raise InputError(f"{path}: expected an object, found {type(data).__name__}")
    return data


def load_tokenizer(path: Path) -> Any:
    """The tokenizer of a checkpoint: tokenizer.json, else Qwen2's from vocab.json and merges.txt, as Dream ships it."""
    import transformers

    slow = (path / "vocab.json").exists() and (path / "merges.txt").exists()
    if not (path / "tokenizer.json").exists() and not slow:
        raise InputError(f"{path}: no tokenizer.json; copy the tokenizer files of the released model into that directory")
    kind = transformers.PreTrainedTokenizerFast if (path / "tokenizer.json").exists() else transformers.Qwen2TokenizerFast
    quieten()
    try:
        return kind.from_pretrained(path)
    except (ValueError, OSError, KeyError, TypeError) as error:
        raise InputError(f"{path}: the tokenizer cannot be loaded ({one_line(error)})") from None


def find_mask(config: Config, tokenizer: Any, family: Family, path: Path, given: Setting | None) -> Setting:
    """The mask token's id, checked against the rows of the embedding. Its value is None for a family without mask token."""
    if not family.masked:
        return Setting(None, "none: this family has no mask token")
    found = _mask(config, tokenizer, family, given)
    if found is None:
        raise InputError(
            f"{path}: no mask token: config.json has no mask_token_id and the tokenizer no {family.mask_tokens[0]}; "
            f"give --mask-id N"
        )
    rows = rows_of(config, str(path / "config.json"))
    if not isinstance(found.value, int) or isinstance(found.value, bool) or not 0 <= found.value < rows:
        raise InputError(f"{path}: mask_token_id {found.value!r} ({found.where}) lies outside the vocabulary of {rows}")
    return found


def _mask(config: Config, tokenizer: Any, family: Family, given: Setting | None) -> Setting | None:
    """A family's own token comes before the tokenizer's mask token: uploads name one there that is not the model's."""
    if given is not None:
        return given
    for name in MASK_FIELDS:
        if config.get(name) is not None:
            return Setting(config[name], f"config.json, {name}")
    vocabulary = tokenizer.get_vocab()
    for token in family.mask_tokens:
        if token in vocabulary:
            return Setting(vocabulary[token], f"the tokenizer's {token}")
    if tokenizer.mask_token in vocabulary:
        return Setting(vocabulary[tokenizer.mask_token], f"the tokenizer's mask token, {tokenizer.mask_token}")
    return None if family.mask_id is None else Setting(family.mask_id, f"the constant of the family {family.name}")


def find_stops(config: Config, hints: Config, tokenizer: Any, family: Family, path: Path) -> dict[int, str]:
    """Every id that ends a response, and where it was found: generation_config, config, tokenizer, the family's end tokens."""
    vocabulary = tokenizer.get_vocab()
    given = [(token, "generation_config.json") for token in _as_list(hints.get("eos_token_id"))]
    given += [(token, "config.json") for token in _as_list(config.get("eos_token_id"))]
    given += [(tokenizer.eos_token_id, "the tokenizer")]
    given += [(vocabulary.get(token), f"the family's {token}") for token in family.end_tokens]
    stops: dict[int, str] = {}
    for token, where in given:
        if token is not None:
            stops.setdefault(token, f"{token} ({where})")
    rows = rows_of(config, str(path / "config.json"))
    wrong = next((token for token in stops if not isinstance(token, int) or not 0 <= token < rows), None)
    if wrong is not None:
        raise InputError(f"{path}: the stop token {stops[wrong]} lies outside the vocabulary of {rows}")
    if not stops:
        raise InputError(f"{path}: no stop token: neither generation_config.json, config.json nor the tokenizer names one")
    return stops


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def find_block_size(config: Config, family: Family, where: str, given: Setting | None) -> Setting:
    """The block size the model was trained with; None for a model that has none."""
    if given is not None:
        if given.value is None or given.value < 1:
            raise InputError(f"{given.where} {given.value}: it must be at least 1")
        return given
    for name in family.block_fields:
        if config.get(name) is not None:
            return Setting(whole(config[name], name, where), f"config.json, {name}")
    if family.default_block_size is None:
        return Setting(None, "none: this family has no blocks of its own")
    return Setting(family.default_block_size, f"the default of the family {family.name}")


def one_line(error: BaseException) -> str:
    """An error of another library as the end of one of ours."""
    return " ".join(str(error).split())[:200]


def quieten() -> None:
    """transformers' warnings here repeat what our own errors say; its progress bar is for people only."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    if not sys.stderr.isatty():
        logging.disable_progress_bar()
