"""Tiny random checkpoints of every family in the layout of its release: the config's field names, the weights' names, the special
tokens. The weights come from the plain transformers class, so that a loaded checkpoint can be compared with where it came from.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor

ROWS = 272
"""Rows of the embedding: more than the tokenizer has tokens, as in releases."""

State = dict[str, Tensor]
CHATML = (
    "{%- for m in messages %}{{- '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
)


class Layout(NamedTuple):
    """How a family's release looks: the class behind it, its config's own fields, its names, its tokens and its mask token."""

    base: str
    config: Mapping[str, Any]
    names: Callable[[State, Any], State] = lambda state, config: state
    mask: str = "<|mask|>"
    folder: str = "model"
    network: Mapping[str, Any] = {}


def _dense(model_type: str, architecture: str, **fields: Any) -> dict[str, Any]:
    return {
        "model_type": model_type,
        "architectures": [architecture],
        "torch_dtype": "float32",
        "vocab_size": ROWS,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "hidden_act": "silu",
        "max_position_embeddings": 512,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1000000.0,
        "tie_word_embeddings": False,
        "attn_implementation": "flash_attention_2",
    } | fields


_EXPERTS = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "norm_topk_prob": True}


def _llada(state: State, config: Any) -> State:
    inner = {
        "input_layernorm": "attn_norm",
        "self_attn.q_proj": "q_proj",
        "self_attn.k_proj": "k_proj",
        "self_attn.v_proj": "v_proj",
        "self_attn.o_proj": "attn_out",
        "post_attention_layernorm": "ff_norm",
        "mlp.gate_proj": "ff_proj",
        "mlp.up_proj": "up_proj",
        "mlp.down_proj": "ff_out",
    }
    out = {
        "model.transformer.wte.weight": state["model.embed_tokens.weight"],
        "model.transformer.ln_f.weight": state["model.norm.weight"],
    }
    if not config.tie_word_embeddings:
        out["model.transformer.ff_out.weight"] = state["lm_head.weight"]
    for layer in range(config.num_hidden_layers):
        for theirs, ours in inner.items():
            out[f"model.transformer.blocks.{layer}.{ours}.weight"] = state[f"model.layers.{layer}.{theirs}.weight"]
    return out


def _experts(state: State, config: Any) -> State:
    """The experts one by one, as releases keep them; transformers holds each layer's in two tensors."""
    out = {}
    for name, value in state.items():
        if name.endswith("experts.gate_up_proj"):
            for i, expert in enumerate(value):
                gate, up = expert.chunk(2)
                out[name.replace("gate_up_proj", f"{i}.gate_proj.weight")] = gate.contiguous()
                out[name.replace("gate_up_proj", f"{i}.up_proj.weight")] = up.contiguous()
        elif name.endswith("experts.down_proj"):
            out |= {name.replace("down_proj", f"{i}.down_proj.weight"): expert.contiguous() for i, expert in enumerate(value)}
        else:
            out[name] = value
    return out


def _llada2(state: State, config: Any) -> State:
    renamed = {
        "model.embed_tokens.": "model.word_embeddings.",
        ".self_attn.q_norm.": ".attention.query_layernorm.",
        ".self_attn.k_norm.": ".attention.key_layernorm.",
        ".self_attn.o_proj.": ".attention.dense.",
        ".e_score_correction_bias": ".expert_bias",
    }
    out: State = {}
    for name, value in _experts(state, config).items():
        if ".self_attn.q_proj." in name:
            parts = [state[name.replace("q_proj", f"{part}_proj")] for part in "qkv"]
            out[name.replace(".self_attn.q_proj.", ".attention.query_key_value.")] = torch.cat(parts)
        elif ".self_attn.k_proj." not in name and ".self_attn.v_proj." not in name:
            for theirs, ours in renamed.items():
                name = name.replace(theirs, ours)
            out[name] = value
    return out


def _nemotron(state: State, config: Any) -> State:
    return {
        name.replace("model.", "encoder.", 1) if name.startswith("model.") else name.replace("lm_head", "diffusion_head"): value
        for name, value in state.items()
    }


_LLADA_CONFIG = {
    "model_type": "llada",
    "architectures": ["LLaDAModelLM"],
    "torch_dtype": "float32",
    "d_model": 64,
    "mlp_hidden_size": 96,
    "n_layers": 2,
    "n_heads": 4,
    "n_kv_heads": 4,
    "embedding_size": ROWS,
    "vocab_size": ROWS - 4,
    "max_sequence_length": 512,
    "rope_theta": 500000.0,
    "rms_norm_eps": 1e-5,
    "weight_tying": False,
    "flash_attention": True,
    "block_type": "llama",
    "layer_norm_type": "rms",
    "rope": True,
    "alibi": False,
}
_LLADA_NETWORK = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
}
_LLADA2_CONFIG = _dense("llada2_moe", "LLaDA2MoeModelLM", **_EXPERTS) | {
    "head_dim": 16,
    "partial_rotary_factor": 0.5,
    "rotary_dim": 8,
    "rope_theta": 600000,
    "n_group": 4,
    "topk_group": 2,
    "first_k_dense_replace": 1,
    "num_shared_experts": 1,
    "routed_scaling_factor": 2.5,
    "score_function": "sigmoid",
    "use_qk_norm": True,
    "use_bias": False,
    "use_qkv_bias": False,
}

LAYOUTS: Mapping[str, Layout] = {
    "sdar": Layout("Qwen3", _dense("sdar", "SDARForCausalLM", head_dim=32, block_size=4), mask="<|MASK|>"),
    "sdar-moe": Layout("Qwen3Moe", _dense("sdar_moe", "SDARMoeForCausalLM", head_dim=32, **_EXPERTS), _experts, "<|MASK|>"),
    "llada": Layout("Llama", _LLADA_CONFIG, _llada, "<|mdm_mask|>", network=_LLADA_NETWORK),
    "illada": Layout(
        "Llama",
        _LLADA_CONFIG | {"n_kv_heads": 2, "weight_tying": True, "mask_token_id": 5},
        _llada,
        network=_LLADA_NETWORK | {"num_key_value_heads": 2, "tie_word_embeddings": True},
    ),
    "mmada": Layout(
        "Llama",
        _LLADA_CONFIG | {"model_type": "mmada", "architectures": ["MMadaModelLM"], "codebook_size": 4},
        _llada,
        "<|mdm_mask|>",
        network=_LLADA_NETWORK,
    ),
    "llada-moe": Layout(
        "Qwen3Moe",
        _dense(
            "lladamoe", "LLaDAMoEModelLM", num_experts=8, num_experts_per_tok=2, expert_intermediate_size=32, norm_topk_prob=None
        )
        | {"num_key_value_heads": 4, "intermediate_size": None, "dense_intermediate_size": 96, "moe_layer_freq": [1, 1]},
        _experts,
        network=_EXPERTS | {"head_dim": 16, "norm_topk_prob": False, "intermediate_size": 96},
    ),
    "llada2": Layout(
        "Glm4Moe",
        _LLADA2_CONFIG,
        _llada2,
        network={
            "n_routed_experts": 8,
            "n_shared_experts": 1,
            "num_nextn_predict_layers": 0,
            "rope_parameters": {"rope_type": "default", "rope_theta": 600000.0, "partial_rotary_factor": 0.5},
        },
    ),
    "dream": Layout("Qwen2", _dense("Dream", "DreamModel")),
    "fast-dllm-v2": Layout("Qwen2", _dense("Fast_dLLM_Qwen", "Fast_dLLM_QwenForCausalLM", bd_size=8), mask="|<MASK>|"),
    "stable-diffcoder": Layout("Llama", _dense("llama", "LlamaForCausalLM", mask_token_id=261), folder="Stable-DiffCoder-8B"),
    "rnd1": Layout("Qwen3Moe", _dense("rnd1", "RND1LM", head_dim=16, mask_token_id=261, **_EXPERTS), _experts),
    "coda": Layout("Qwen3", _dense("CoDA", "CoDALanguageModel", head_dim=16, mask_token_id=261)),
    "a2d-qwen3": Layout(
        "Qwen3", _dense("a2d-qwen3", "A2DQwen3LMHeadModel", head_dim=16, tie_word_embeddings=True), folder="mdlm"
    ),
    "a2d-qwen3-block": Layout("Qwen3", _dense("a2d-qwen3", "A2DQwen3LMHeadModel", head_dim=16), folder="qwen3-bd3lm-v0.1"),
    "a2d-qwen2": Layout("Qwen2", _dense("a2d-qwen2", "A2DQwen2LMHeadModel")),
    "a2d-llama": Layout("Llama", _dense("a2d-llama", "A2DLlamaLMHeadModel")),
    "open-dcoder": Layout("Qwen2", _dense("qwen2", "Qwen2ForCausalLM", tie_word_embeddings=True), folder="open-dcoder-0.5B"),
    "sdlm": Layout("Qwen2", _dense("qwen2", "Qwen2ForCausalLM", text_mask_token_id=261, block_size=4)),
    "nemotron-diffusion": Layout(
        "Ministral3",
        _dense("nemotron_labs_diffusion", "NemotronLabsDiffusionModel", head_dim=16, mask_token_id=100, block_size=8)
        | {
            "rope_theta": None,
            "rope_parameters": {
                "rope_type": "yarn",
                "rope_theta": 1000000.0,
                "factor": 4.0,
                "original_max_position_embeddings": 128,
                "llama_4_scaling_beta": 0.1,
                "mscale": 1.0,
                "mscale_all_dim": 1.0,
            },
        },
        _nemotron,
    ),
}
"""Of every family with a mask token, and of the variants of one that differ in their layout."""


def native_network(layout: Layout, seed: int = 0) -> Any:
    """The plain transformers model behind a layout, with random weights wide enough for varied predictions."""
    kept = {name: value for name, value in layout.config.items() if name not in ("model_type", "architectures", "torch_dtype")}
    fields = kept if "hidden_size" in kept else {}
    fields = {name: value for name, value in fields.items() if value is not None and name != "attn_implementation"}
    fields |= {"vocab_size": ROWS, "max_position_embeddings": 512, **layout.network}
    if "rope_parameters" not in fields:
        theta = float(layout.config["rope_theta"])
        fields |= {"rope_parameters": {"rope_type": "default", "rope_theta": theta}}
    fields.pop("rope_theta", None)
    config = getattr(transformers, f"{layout.base}Config")(**fields)
    config._attn_implementation = "sdpa"
    torch.manual_seed(seed)
    network = getattr(transformers, f"{layout.base}ForCausalLM")(config).eval()
    with torch.no_grad():
        for name, value in [*network.named_parameters(), *network.named_buffers()]:
            if value.dim() > 1:
                value.normal_(0.0, 0.35 if "embed" in name or "head" in name else 0.15)
            elif "norm" in name:
                value.normal_(1.0, 0.1)
            elif "bias" in name:
                value.normal_(0.0, 0.1)
    return network


def write_checkpoint(folder: Path, family: str, seed: int = 0, **fields: Any) -> Path:
    """Write a tiny checkpoint of `family` into a folder below `folder`; `fields` replace those of its config (None: left out)."""
    layout = LAYOUTS[family]
    path = folder / layout.folder
    path.mkdir(parents=True)
    network = native_network(layout, seed)
    state = network.state_dict()
    if network.config.tie_word_embeddings:
        del state["lm_head.weight"]
    released = layout.names(state, network.config)
    save_file(
        {name: value.clone().contiguous() for name, value in released.items()}, path / "model.safetensors", {"format": "pt"}
    )
    config = {name: value for name, value in ({**layout.config, **fields}).items() if value is not None}
    write(path / "config.json", config | {"eos_token_id": 256, "pad_token_id": 256})
    write_tokenizer(path, layout.mask)
    return path


def write_tokenizer(path: Path, mask: str) -> None:
    """A tokenizer of bytes: ids 0-255, then the special tokens, the mask at 261."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|eot_id|>", "<|role_end|>", mask]
    tokenizer.add_special_tokens(specials)
    tokenizer.save(str(path / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    write(path / "tokenizer_config.json", settings | {"chat_template": CHATML, "clean_up_tokenization_spaces": False})


def write(path: Path, data: Mapping[str, object]) -> None:
    path.write_text(json.dumps(data, indent=1) + "\n")
