"""Translates a released config.json into the arguments of the config class of transformers that the weights fit.

One function for each layout; all are pure: a config in, keyword arguments out. What the base class would silently default is
demanded here, since a wrong rotary base or head count gives a model that runs and is wrong. Not covered: the mask token, the
block size and the stop tokens, which no base class knows (`checkpoint`).
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from ...rewards.errors import InputError

Config: TypeAlias = Mapping[str, Any]
Translation: TypeAlias = Callable[[Config, str], dict[str, Any]]

_DECODER = (
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
    "attention_bias",
    "mlp_bias",
    "attention_dropout",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
)
_MOE = ("moe_intermediate_size", "num_experts", "num_experts_per_tok", "norm_topk_prob", "decoder_sparse_step", "mlp_only_layers")
_REQUIRED = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "rms_norm_eps",
)


def dense(config: Config, where: str) -> dict[str, Any]:
    """Qwen2, Qwen3, Llama and Ministral3 under their own field names (SDAR, Dream, Stable-DiffCoder, ...)."""
    _demand(config, (*_REQUIRED, "intermediate_size"), where)
    _refuse_window(config, where)
    return _taken(config, _DECODER) | {"rope_parameters": rope(config, where)}


def moe(config: Config, where: str) -> dict[str, Any]:
    """Qwen3-MoE under its own field names (SDAR-MoE, RND1)."""
    _demand(config, (*_REQUIRED, "num_experts", "num_experts_per_tok", "moe_intermediate_size", "norm_topk_prob"), where)
    _refuse_window(config, where)
    return _taken(config, (*_DECODER, *_MOE)) | {"rope_parameters": rope(config, where)}


def llada(config: Config, where: str) -> dict[str, Any]:
    """LLaDA's config (OLMo's names) on LlamaConfig. `embedding_size` counts the rows of the embedding, `vocab_size` need not.

    A checkpoint that uses what Llama lacks (ALiBi, biases, layer norms, head norms, scaled logits) is refused.
    """
    _demand(config, ("d_model", "n_layers", "n_heads", "mlp_hidden_size", "rms_norm_eps", "rope_theta"), where)
    for name, plain in _LLADA_PLAIN.items():
        if config.get(name, plain) != plain:
            raise InputError(f"{where}: {name} is {config[name]!r}; of LLaDA's code unmask covers {name}: {plain!r} only")
    heads = config["n_heads"]
    one = 1 if config.get("multi_query_attention") else None
    return {
        "vocab_size": rows_of(config, where),
        "hidden_size": config["d_model"],
        "intermediate_size": config["mlp_hidden_size"],
        "num_hidden_layers": config["n_layers"],
        "num_attention_heads": heads,
        "num_key_value_heads": config.get("n_kv_heads") or one or heads,
        "hidden_act": config.get("activation_type", "silu"),
        "max_position_embeddings": config.get("max_sequence_length") or config.get("max_position_embeddings") or 4096,
        "rms_norm_eps": config["rms_norm_eps"],
        "rope_parameters": rope(config, where),
        "bos_token_id": config.get("bos_token_id"),
        "eos_token_id": config.get("eos_token_id"),
    } | _tie(config, "weight_tying")


_LLADA_PLAIN = {
    "alibi": False,
    "rope": True,
    "rope_full_precision": True,
    "layer_norm_type": "rms",
    "attention_layer_norm": False,
    "include_bias": False,
    "include_qkv_bias": False,
    "input_emb_norm": False,
    "scale_logits": False,
    "activation_type": "silu",
    "block_type": "llama",
    "block_group_size": 1,
    "clip_qkv": None,
}


def lladamoe(config: Config, where: str) -> dict[str, Any]:
    """LLaDA-MoE on Qwen3MoeConfig. Its code never normalises the chosen experts' weights, whatever `norm_topk_prob` says."""
    _demand(config, (*_REQUIRED, "num_experts", "num_experts_per_tok", "expert_intermediate_size"), where)
    for name in ("moe_router_enable_expert_bias", "shared_expert_intermediate_size", "clip_qkv", "router_num_group"):
        if config.get(name):
            raise InputError(f"{where}: {name} is {config[name]!r}; unmask knows LLaDA-MoE without it only")
    if config.get("moe_router_score_function", "softmax") != "softmax" or 0 in (config.get("moe_layer_freq") or ()):
        raise InputError(f"{where}: unmask knows LLaDA-MoE with softmax routing and experts in every layer only")
    experts = config["expert_intermediate_size"]
    return _taken(config, (*_DECODER, "num_experts", "num_experts_per_tok")) | {
        "head_dim": config["hidden_size"] // config["num_attention_heads"],
        "intermediate_size": config.get("dense_intermediate_size") or experts,
        "moe_intermediate_size": experts,
        "norm_topk_prob": False,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "rope_parameters": rope(config, where),
    }


def llada2(config: Config, where: str) -> dict[str, Any]:
    """LLaDA2.0 and 2.1 (Bailing MoE v2) on Glm4MoeConfig: sigmoid scores, experts chosen within the best groups."""
    wanted = ("num_experts", "num_experts_per_tok", "moe_intermediate_size", "first_k_dense_replace", "n_group", "topk_group")
    _demand(config, (*_REQUIRED, "head_dim", "routed_scaling_factor", *wanted), where)
    for name, plain in {"score_function": "sigmoid", "use_bias": False, "use_qkv_bias": False, "use_qk_norm": True}.items():
        if config.get(name, plain) != plain:
            raise InputError(f"{where}: {name} is {config[name]!r}; unmask knows LLaDA2 with {name}: {plain!r} only")
    _refuse_window(config, where)
    same = ("moe_intermediate_size", "num_experts_per_tok", "norm_topk_prob", "routed_scaling_factor")
    return _taken(config, (*_DECODER, *same, "n_group", "topk_group", "first_k_dense_replace")) | {
        "n_routed_experts": config["num_experts"],
        "n_shared_experts": config.get("num_shared_experts", 1),
        "use_qk_norm": True,
        "num_nextn_predict_layers": 0,
        "rope_parameters": rope(config, where) | {"partial_rotary_factor": _rotary_share(config)},
    }


def _rotary_share(config: Config) -> float:
    share = config.get("partial_rotary_factor")
    if share is None and "rotary_dim" in config:
        share = config["rotary_dim"] / config["head_dim"]
    return float(share if share is not None else 1.0)


def native(config: Config, where: str) -> dict[str, Any]:
    """A config whose model transformers has under its own name: the config as it is."""
    return {name: value for name, value in config.items() if name not in _NOT_THE_MODEL}


_NOT_THE_MODEL = ("architectures", "auto_map", "transformers_version", "attn_implementation", "_attn_implementation")


def rows_of(config: Config, where: str) -> int:
    """The rows of the embedding table: what the vocabulary size means for every check of a token id."""
    for holder in (config, config.get("text_config") or {}):
        for name in ("embedding_size", "vocab_size"):
            value = holder.get(name)
            if value is not None:
                return whole(value, name, where)
    raise InputError(f"{where}: field 'vocab_size': missing; is this the config of a whole checkpoint?")


def whole(value: Any, name: str, where: str) -> int:
    """Return `value` if it is a whole number above 0. Raises InputError naming the field otherwise."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"{where}: field {name!r}: expected a whole number above 0, found {value!r}")
    return value


def rope(config: Config, where: str) -> dict[str, Any]:
    """The rotary settings. The base is either a field of its own or within `rope_parameters`; there is no default for it."""
    given = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    given.setdefault("rope_type", given.pop("type", "default"))
    if config.get("rope_theta") is not None:
        given.setdefault("rope_theta", config["rope_theta"])
    theta = given.get("rope_theta")
    if isinstance(theta, bool) or not isinstance(theta, int | float) or theta <= 0:
        raise InputError(f"{where}: field 'rope_theta': expected the rotary base, a number above 0, found {theta!r}")
    return given | {"rope_theta": float(theta)}


def _taken(config: Config, names: Iterable[str]) -> dict[str, Any]:
    return {name: config[name] for name in names if config.get(name) is not None} | _tie(config, "tie_word_embeddings")


def _tie(config: Config, name: str) -> dict[str, Any]:
    """Nothing where the config is silent: the weights then tell whether the output layer is the embedding."""
    return {"tie_word_embeddings": bool(config[name])} if config.get(name) is not None else {}


def _demand(config: Config, names: Iterable[str], where: str) -> None:
    missing = [name for name in names if config.get(name) is None]
    if missing:
        raise InputError(f"{where}: {', '.join(missing)} missing; is this the config of a whole checkpoint?")


def _refuse_window(config: Config, where: str) -> None:
    if config.get("use_sliding_window"):
        raise InputError(f"{where}: use_sliding_window is on; a diffusion model needs full attention over its context")
