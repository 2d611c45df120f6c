"""Model families as data: how to recognise a checkpoint, and how its weights become a model of transformers' own classes.

A family is a `Family` value, not a subclass. Nearly every open masked diffusion model is, weight for weight, a decoder that
transformers already has; the attention mask, the mask token, the shift of the predictions and the decoding differ. No remote
code is run. Not covered: telling the family of a checkpoint (`recognition`), what its config means for the base class
(`translation`), and the decoding.
"""

from dataclasses import dataclass, replace
from typing import Literal

from . import translation
from .translation import Translation

Attention = Literal["full", "block_causal", "causal_context"]


@dataclass(frozen=True, slots=True)
class Family:
    """What unmask has to know of a family.

    Recognised by `model_types` and `architectures` of config.json; one with `fields` or `hints` also needs a field in the config
    or a hint in the checkpoint's name, and then wins over one without (releases under a base class's own model type, or two
    kinds of model under one type). `base` names the transformers classes (`<base>Config` and `network`,
    by default `<base>ForCausalLM`), `translate` maps the checkpoint's config to the base config's arguments, `renames` its
    weight names (a regular expression with at most one group, and its replacement), `fused` names weights that hold several
    of the base class, row after row. `aliases` are names of config fields: the release's, and the one that `translate` knows.

    `attention` says which positions see each other: all (`full`), those of earlier blocks and the own one (`block_causal`), or
    the whole block on a context that was computed causally (`causal_context`). `alignment` says where blocks begin: at multiples
    of the block size from position 0 (`absolute`), or at the end of the prompt. With `shift` position i is predicted by the
    output at i - 1. `first_token` "ar" marks models that predict a block's first token left to right, from the context alone.

    The mask id comes from the config, else from `mask_tokens`, else the tokenizer's mask token, else `mask_id`; `masked` is False
    for models without one. The block size comes from one of `block_fields` of the config, else `default_block_size`. `end_tokens`
    end a response besides those that the checkpoint names. `template` says what the chat template does beyond the conversation.
    `source` is where it is described, `evidence` what the loading is tested against: recordings of the original code, or the
    published layout alone.
    """

    name: str
    title: str
    model_types: tuple[str, ...]
    architectures: tuple[str, ...]
    base: str
    translate: Translation
    attention: Attention
    alignment: Literal["absolute", "prompt_end"]
    shift: bool = False
    first_token: Literal["model", "ar"] = "model"
    default_block_size: int | None = None
    block_fields: tuple[str, ...] = ("block_size",)
    masked: bool = True
    mask_tokens: tuple[str, ...] = ("<|mask|>", "<|MASK|>", "<|mdm_mask|>")
    mask_id: int | None = None
    renames: tuple[tuple[str, str], ...] = ()
    aliases: tuple[tuple[str, str], ...] = ()
    fused: tuple[tuple[str, tuple[str, ...]], ...] = ()
    end_tokens: tuple[str, ...] = ()
    template: str = ""
    fields: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    network: str = ""
    source: str = ""
    evidence: Literal["recorded", "layout"] = "layout"

    @property
    def network_class(self) -> str:
        """The transformers class the weights load into."""
        return self.network or f"{self.base}ForCausalLM"


_LLADA_NAMES = (
    (r"^model\.transformer\.wte\.", "model.embed_tokens."),
    (r"^model\.transformer\.ln_f\.", "model.norm."),
    (r"^model\.transformer\.ff_out\.", "lm_head."),
    (r"^model\.transformer\.blocks\.(\d+)\.attn_norm\.", r"model.layers.\1.input_layernorm."),
    (r"^model\.transformer\.blocks\.(\d+)\.q_proj\.", r"model.layers.\1.self_attn.q_proj."),
    (r"^model\.transformer\.blocks\.(\d+)\.k_proj\.", r"model.layers.\1.self_attn.k_proj."),
    (r"^model\.transformer\.blocks\.(\d+)\.v_proj\.", r"model.layers.\1.self_attn.v_proj."),
    (r"^model\.transformer\.blocks\.(\d+)\.attn_out\.", r"model.layers.\1.self_attn.o_proj."),
    (r"^model\.transformer\.blocks\.(\d+)\.ff_norm\.", r"model.layers.\1.post_attention_layernorm."),
    (r"^model\.transformer\.blocks\.(\d+)\.ff_proj\.", r"model.layers.\1.mlp.gate_proj."),
    (r"^model\.transformer\.blocks\.(\d+)\.up_proj\.", r"model.layers.\1.mlp.up_proj."),
    (r"^model\.transformer\.blocks\.(\d+)\.ff_out\.", r"model.layers.\1.mlp.down_proj."),
)
_LLADA2_NAMES = (
    (r"^model\.word_embeddings\.", "model.embed_tokens."),
    (r"\.attention\.query_layernorm\.", ".self_attn.q_norm."),
    (r"\.attention\.key_layernorm\.", ".self_attn.k_norm."),
    (r"\.attention\.dense\.", ".self_attn.o_proj."),
    (r"\.mlp\.gate\.expert_bias", ".mlp.gate.e_score_correction_bias"),
)
_LLADA2_FUSED = ((".attention.query_key_value.weight", tuple(f".self_attn.{name}_proj.weight" for name in "qkv")),)
_NEMOTRON_NAMES = ((r"^encoder\.", "model."), (r"^diffusion_head\.", "lm_head."))

_QWEN_END = ("<|im_end|>", "<|endoftext|>")
_DEFAULT_SYSTEM = "ChatML; the released template adds a default system prompt when the conversation has none"

SDAR = Family(
    name="sdar",
    title="SDAR, TraDo, DiRL (dense)",
    source="arXiv 2510.06303, 2509.06949",
    model_types=("sdar",),
    architectures=("SDARForCausalLM",),
    base="Qwen3",
    translate=translation.dense,
    attention="block_causal",
    alignment="absolute",
    default_block_size=4,
    mask_tokens=("<|MASK|>",),
    mask_id=151669,
    end_tokens=_QWEN_END,
    template="Qwen3's ChatML",
    evidence="recorded",
)
SDAR_MOE = Family(
    name="sdar-moe",
    title="SDAR-30B-A3B",
    source="arXiv 2510.06303",
    model_types=("sdar_moe",),
    architectures=("SDARMoeForCausalLM",),
    base="Qwen3Moe",
    translate=translation.moe,
    attention="block_causal",
    alignment="absolute",
    default_block_size=4,
    mask_tokens=("<|MASK|>",),
    mask_id=151669,
    end_tokens=_QWEN_END,
    template="Qwen3's ChatML",
    evidence="recorded",
)
LLADA = Family(
    name="llada",
    title="LLaDA-8B, LLaDA-1.5, iLLaDA, d3LLM-LLaDA, dLLM-Var",
    source="arXiv 2502.09992, 2505.19223, 2601.07568",
    model_types=("llada",),
    architectures=("LLaDAModelLM",),
    base="Llama",
    translate=translation.llada,
    attention="full",
    alignment="prompt_end",
    mask_tokens=("<|mdm_mask|>",),
    mask_id=126336,
    renames=_LLADA_NAMES,
    end_tokens=("<|eot_id|>", "<|endoftext|>"),
    template="Llama-3-like headers; the released template always ends with the assistant's header",
    evidence="recorded",
)
MMADA = Family(
    name="mmada",
    title="MMaDA-8B, text only",
    source="arXiv 2505.15809",
    model_types=("mmada",),
    architectures=("MMadaModelLM", "MMaDAModelLM"),
    base="Llama",
    translate=translation.llada,
    attention="full",
    alignment="prompt_end",
    mask_tokens=("<|mdm_mask|>",),
    mask_id=126336,
    renames=_LLADA_NAMES,
    end_tokens=("<|eot_id|>", "<|endoftext|>"),
    template="as LLaDA's",
)
LLADA_MOE = Family(
    name="llada-moe",
    title="LLaDA-MoE-7B-A1B",
    source="arXiv 2509.24389",
    model_types=("lladamoe", "llada_moe"),
    architectures=("LLaDAMoEModel", "LLaDAMoEModelLM"),
    base="Qwen3Moe",
    translate=translation.lladamoe,
    attention="full",
    alignment="prompt_end",
    mask_tokens=("<|mask|>",),
    mask_id=156895,
    end_tokens=("<|role_end|>", "<|endoftext|>"),
    template="<role>HUMAN</role> ... <role>ASSISTANT</role>",
    evidence="recorded",
)
LLADA2 = Family(
    name="llada2",
    title="LLaDA2.0, LLaDA2.1 (mini, flash)",
    source="arXiv 2512.15745",
    model_types=("llada2_moe",),
    architectures=("LLaDA2MoeModelLM",),
    base="Glm4Moe",
    translate=translation.llada2,
    attention="block_causal",
    alignment="absolute",
    default_block_size=32,
    mask_tokens=("<|mask|>",),
    mask_id=156895,
    renames=_LLADA2_NAMES,
    fused=_LLADA2_FUSED,
    end_tokens=("<|role_end|>",),
    template="<role>SYSTEM/HUMAN/ASSISTANT</role> ... <|role_end|>; the released template says `detailed thinking off`",
    evidence="recorded",
)
DREAM = Family(
    name="dream",
    title="Dream-7B, Dream-Coder-7B, DiffuCoder-7B, d3LLM-Dream",
    source="arXiv 2508.15487, 2506.20639, 2601.07568",
    model_types=("Dream", "dream"),
    architectures=("DreamModel", "DreamForCausalLM"),
    base="Qwen2",
    translate=translation.dense,
    attention="full",
    alignment="prompt_end",
    shift=True,
    mask_tokens=("<|mask|>",),
    mask_id=151666,
    end_tokens=_QWEN_END,
    template=_DEFAULT_SYSTEM,
    evidence="recorded",
)
FAST_DLLM2 = Family(
    name="fast-dllm-v2",
    title="Fast-dLLM v2",
    source="arXiv 2509.26328",
    model_types=("Fast_dLLM_Qwen",),
    architectures=("Fast_dLLM_QwenForCausalLM",),
    base="Qwen2",
    translate=translation.dense,
    attention="block_causal",
    alignment="absolute",
    shift=True,
    first_token="ar",
    default_block_size=32,
    block_fields=("bd_size", "block_size"),
    mask_tokens=("|<MASK>|",),
    mask_id=151665,
    end_tokens=("<|im_end|>",),
    template=_DEFAULT_SYSTEM,
)
DIFFCODER = Family(
    name="stable-diffcoder",
    title="Stable-DiffCoder-8B",
    source="its model card",
    model_types=("llama", "stable_diffcoder", "seed_diffcoder"),
    architectures=("LlamaForCausalLM", "StableDiffCoderForCausalLM", "SeedDiffCoderForCausalLM"),
    base="Llama",
    translate=translation.dense,
    attention="block_causal",
    alignment="absolute",
    default_block_size=4,
    block_fields=("block_size", "block_length"),
    template="Seed-Coder's",
    hints=("diffcoder",),
)
RND1 = Family(
    name="rnd1",
    title="RND1-Base-0910",
    source="its model card",
    model_types=("rnd1",),
    architectures=("RND1LM",),
    base="Qwen3Moe",
    translate=translation.moe,
    attention="full",
    alignment="prompt_end",
    shift=True,
    mask_id=151669,
    end_tokens=_QWEN_END,
    template="a base model: Qwen3's template was not trained",
)
CODA = Family(
    name="coda",
    title="CoDA-v0",
    source="its model card",
    model_types=("CoDA", "coda"),
    architectures=("CoDALanguageModel",),
    base="Qwen3",
    translate=translation.dense,
    attention="full",
    alignment="prompt_end",
    shift=True,
    end_tokens=_QWEN_END,
    template="Qwen3's ChatML",
)


def _converted(base: str) -> tuple[Family, Family]:
    """The two kinds of model that dLLM's recipe makes of a decoder: full attention (mdlm), and block diffusion (bd3lm)."""
    full = Family(
        name=f"a2d-{base.lower()}",
        title=f"{base} made full-attention diffusion (dLLM's mdlm)",
        source="dLLM's recipe",
        model_types=(f"a2d-{base.lower()}",),
        architectures=(f"A2D{base}LMHeadModel", f"A2D{base}ForCausalLM"),
        base=base,
        translate=translation.dense,
        attention="full",
        alignment="prompt_end",
        template="the base model's",
    )
    block = replace(
        full,
        name=f"{full.name}-block",
        title=f"{base} made block diffusion (dLLM's bd3lm)",
        attention="block_causal",
        alignment="absolute",
        default_block_size=32,
        fields=("block_size",),
        hints=("bd3lm",),
    )
    return full, block


OPEN_DCODER = Family(
    name="open-dcoder",
    title="Open-dCoder-0.5B",
    source="its model card",
    model_types=("qwen2",),
    architectures=("Qwen2ForCausalLM",),
    base="Qwen2",
    translate=translation.dense,
    attention="full",
    alignment="prompt_end",
    shift=True,
    end_tokens=_QWEN_END,
    template=_DEFAULT_SYSTEM,
    hints=("open-dcoder", "open_dcoder", "opendcoder", "open-dllm"),
)
SDLM = Family(
    name="sdlm",
    title="SDLM-3B-D4, -D8, SDLM-32B",
    source="arXiv 2509.24007",
    model_types=("qwen2", "sdlm"),
    architectures=("Qwen2ForCausalLM", "SDLMForCausalLM"),
    base="Qwen2",
    translate=translation.dense,
    attention="causal_context",
    alignment="prompt_end",
    shift=True,
    default_block_size=4,
    block_fields=("block_size", "block_length"),
    mask_tokens=("<|mask|>", "<text_mask>"),
    end_tokens=_QWEN_END,
    template=_DEFAULT_SYSTEM,
    fields=("text_mask_token_id",),
    hints=("sdlm",),
)
NEMOTRON = Family(
    name="nemotron-diffusion",
    title="Nemotron-Labs-Diffusion (3B, 8B, 14B)",
    source="its model card",
    model_types=("nemotron_labs_diffusion",),
    architectures=("NemotronLabsDiffusionModel", "NemotronDiffusionModel"),
    base="Ministral3",
    translate=translation.dense,
    attention="causal_context",
    alignment="prompt_end",
    first_token="ar",
    default_block_size=32,
    mask_id=100,
    renames=_NEMOTRON_NAMES,
    template="its own",
)
DIFFUSION_GEMMA = Family(
    name="diffusion-gemma",
    title="DiffusionGemma-26B-A4B (no mask token)",
    source="transformers' own class",
    model_types=("diffusion_gemma",),
    architectures=("DiffusionGemmaForBlockDiffusion",),
    base="DiffusionGemma",
    translate=translation.native,
    attention="causal_context",
    alignment="prompt_end",
    default_block_size=256,
    block_fields=("canvas_length",),
    masked=False,
    end_tokens=("<turn|>",),
    template="Gemma's turns",
    network="DiffusionGemmaForBlockDiffusion",
    evidence="recorded",
)

FAMILIES = (
    SDAR,
    SDAR_MOE,
    LLADA,
    MMADA,
    LLADA_MOE,
    LLADA2,
    DREAM,
    FAST_DLLM2,
    DIFFCODER,
    RND1,
    CODA,
    *_converted("Qwen3"),
    *_converted("Qwen2"),
    *_converted("Llama"),
    OPEN_DCODER,
    SDLM,
    NEMOTRON,
    DIFFUSION_GEMMA,
)
