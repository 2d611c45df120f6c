"""Model families as data: how to recognise a checkpoint, and how its weights become a model of transformers' own classes.

A family is a `Family` value, not a subclass. Covered now: SDAR and TraDo (dense), which are Qwen3 weight for weight; only the
attention mask, the mask token and the decoding differ (SDAR, arXiv 2510.06303; TraDo, arXiv 2509.06949). No remote code is run.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ...rewards.errors import InputError

Config = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Family:
    """What unmask has to know of a family.

    `base` names the transformers class (`<base>Config`, `<base>ForCausalLM`). `translate` maps the checkpoint's config to the
    base config's arguments. `attention` and `alignment` say which positions see each other and where blocks begin: at absolute
    position 0, or at the end of the prompt. `shift` says whether position i is predicted by the output at i - 1.
    `mask_tokens` are looked up in the tokenizer when the config has no mask id.
    """

    name: str
    title: str
    model_types: tuple[str, ...]
    architectures: tuple[str, ...]
    base: str
    translate: Callable[[Config, str], dict[str, Any]]
    attention: Literal["full", "block_causal"]
    alignment: Literal["absolute", "prompt_end"]
    shift: bool
    default_block_size: int | None
    mask_tokens: tuple[str, ...]


def recognise(config: Config, where: str) -> Family:
    """Return the family of a checkpoint from its config.json. Raises InputError if there is none."""
    model_type = config.get("model_type")
    architectures = config.get("architectures") or []
    for family in FAMILIES:
        if model_type in family.model_types or any(name in family.architectures for name in architectures):
            return family
    known = ", ".join(sorted({name for family in FAMILIES for name in family.model_types}))
    named = ", ".join(architectures) or "none"
    raise InputError(
        f"{where}: model_type {model_type!r} (architectures: {named}) is not a family unmask knows; "
        f"known model types: {known} (see `unmask list models`)"
    )


_QWEN3_FIELDS = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "hidden_act",
    "max_position_embeddings",
    "initializer_range",
    "rms_norm_eps",
    "tie_word_embeddings",
    "attention_bias",
    "attention_dropout",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
)
_QWEN3_REQUIRED = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")


def _qwen3(config: Config, where: str) -> dict[str, Any]:
    """SDAR's config on Qwen3Config: the same names; the rotary base is either a field of its own or in `rope_parameters`."""
    missing = [name for name in _QWEN3_REQUIRED if name not in config]
    if missing:
        raise InputError(f"{where}: {', '.join(missing)} missing; is this the config of a whole checkpoint?")
    if config.get("use_sliding_window"):
        raise InputError(f"{where}: use_sliding_window is on; a block-diffusion model needs full attention over its context")
    out = {name: config[name] for name in _QWEN3_FIELDS if name in config}
    return out | {"rope_parameters": _rope(config), "tie_word_embeddings": bool(config.get("tie_word_embeddings", False))}


def _rope(config: Config) -> dict[str, Any]:
    given = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    given.setdefault("rope_type", given.pop("type", "default"))
    if "rope_theta" in config:
        given.setdefault("rope_theta", config["rope_theta"])
    given.setdefault("rope_theta", 10000.0)
    given["rope_theta"] = float(given["rope_theta"])
    return given


SDAR = Family(
    name="sdar",
    title="SDAR and TraDo, dense (block diffusion on Qwen3)",
    model_types=("sdar",),
    architectures=("SDARForCausalLM",),
    base="Qwen3",
    translate=_qwen3,
    attention="block_causal",
    alignment="absolute",
    shift=False,
    default_block_size=4,
    mask_tokens=("<|MASK|>",),
)

FAMILIES = (SDAR,)
