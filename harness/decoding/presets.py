"""Decoders by name, with their sources, and the settings that the authors of a family used per benchmark.

A preset is a set of `DecodeConfig` fields and nothing else: `--decode NAME` sets them, `--set` changes them, and every record
holds the result in full. `--decode official` takes what the checkpoint's authors report for its family and the task at hand.
Needs no torch.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...rewards.errors import InputError
from ..models.checkpoint import Checkpoint
from ..records import DecodeConfig
from .settings import changed

Settings = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Preset:
    """A decoder by name: where it comes from, and the settings that differ from the defaults."""

    source: str
    settings: Settings


_GREEDY: Settings = {"temperature": 0.0}
_DREAM: Settings = {
    "remasking": "static",
    "schedule": "linear",
    "confidence": "processed",
    "filter_order": "top_p_first",
    "top_k": 50,
}
_EDIT: Settings = {"algorithm": "edit", "temperature": 0.0}
_DLLM_RL: Settings = {"remasking": "threshold", "threshold": 0.95, "block_size": 32, "horizon": 128, "cache": "prefix"}

PRESETS: Mapping[str, Preset] = {
    "dynamic": Preset("all above the threshold, at least the scheduled number (the default)", {"remasking": "dynamic"}),
    "static": Preset("the scheduled number, the most confident first", {"remasking": "static"}),
    "sequential": Preset("the scheduled number, left to right", {"remasking": "sequential"}),
    "sdar": Preset(
        "SDAR generate.py, low_confidence_dynamic; dLLM-RL's evaluation of SDAR and TraDo (arXiv 2510.06303, 2509.06949)",
        {"remasking": "dynamic", "threshold": 0.9, "confidence": "processed"},
    ),
    "sdar-static": Preset("SDAR generate.py, low_confidence_static", {"remasking": "static", "confidence": "processed"}),
    "jetengine-entropy": Preset(
        "JetEngine's entropy_bounded on SDAR", {"remasking": "entropy_budget", "entropy_bound": 0.35, "confidence": "processed"}
    ),
    "llada": Preset("LLaDA generate.py, low_confidence (arXiv 2502.09992)", {"remasking": "static", **_GREEDY}),
    "llada-random": Preset("LLaDA generate.py, random", {"remasking": "random", **_GREEDY}),
    "d1": Preset(
        "d1 and diffu-GRPO: half as many steps as tokens (arXiv 2504.12216)",
        {"remasking": "static", "block_size": 32, "steps_per_block": 16, **_GREEDY},
    ),
    "dream": Preset(
        "Dream diffusion_generate, entropy, with the top_k 50 of its model config (arXiv 2508.15487)",
        {**_DREAM, "score": "neg_entropy", "temperature": 0.1, "top_p": 0.9},
    ),
    "dream-maskgit": Preset("Dream diffusion_generate, maskgit_plus", {**_DREAM, "temperature": 0.1, "top_p": 0.9}),
    "dream-margin": Preset(
        "Dream diffusion_generate, topk_margin", {**_DREAM, "score": "margin", "temperature": 0.1, "top_p": 0.9}
    ),
    "dream-origin": Preset("Dream diffusion_generate, origin: its default", {**_DREAM, "remasking": "origin"}),
    "dream-coder": Preset("Dream-Coder's evaluation", {**_DREAM, "score": "neg_entropy", "temperature": 0.1, "top_p": 0.95}),
    "diffucoder": Preset(
        "DiffuCoder's evaluation (arXiv 2506.20639)", {**_DREAM, "score": "neg_entropy", "temperature": 0.3, "top_p": 0.95}
    ),
    "fast-dllm": Preset(
        "Fast-dLLM, threshold (arXiv 2505.22618)", {"remasking": "threshold", "threshold": 0.9, "block_size": 32, **_GREEDY}
    ),
    "fast-dllm-factor": Preset("Fast-dLLM, factor", {"remasking": "factor", "factor": 1.0, "block_size": 32, **_GREEDY}),
    "fast-dllm-prefix": Preset(
        "Fast-dLLM, threshold with the prefix cache (approximate)",
        {"remasking": "threshold", "threshold": 0.9, "block_size": 32, "cache": "prefix", **_GREEDY},
    ),
    "fast-dllm-dual": Preset(
        "Fast-dLLM, threshold with the dual cache (approximate)",
        {"remasking": "threshold", "threshold": 0.9, "block_size": 32, "cache": "dual", **_GREEDY},
    ),
    "fast-dllm-v2": Preset(
        "Fast-dLLM v2, sub-blocks of 8 (arXiv 2509.26328)",
        {"remasking": "threshold", "threshold": 0.9, "sub_block_size": 8, **_GREEDY},
    ),
    "dllm-rl-llada": Preset("dLLM-RL sample/llada_sample.py, dynamic (approximate cache)", {**_DLLM_RL, "temperature": 0.1}),
    "dllm-rl-dream": Preset(
        "dLLM-RL sample/dream_sample.py, dynamic (approximate cache, first token of a block forced)",
        {
            **_DLLM_RL,
            "schedule": "linear",
            "confidence": "processed",
            "filter_order": "top_p_first",
            "temperature": 0.1,
            "top_k": 40,
            "top_p": 0.95,
            "force_first_token": True,
        },
    ),
    "dinfer-threshold": Preset(
        "dInfer, threshold (arXiv 2510.08666)", {"remasking": "near_best", "threshold": 0.9, "block_size": 32, **_GREEDY}
    ),
    "dinfer-hierarchy": Preset(
        "dInfer, hierarchy", {"remasking": "hierarchy", "threshold": 0.9, "low_threshold": 0.4, "block_size": 32, **_GREEDY}
    ),
    "dinfer-hierarchy-remask": Preset(
        "dInfer, hierarchy with remasking (arXiv 2510.08666)",
        {"algorithm": "remask", "threshold": 0.9, "low_threshold": 0.4, "remask_threshold": 0.4, "block_size": 32, **_GREEDY},
    ),
    "dinfer-credit": Preset("dInfer, credit", {"remasking": "credit", "threshold": 0.8, "block_size": 32, **_GREEDY}),
    "llada2": Preset("LLaDA2.0 generate (arXiv 2512.15745)", {"remasking": "dynamic", "threshold": 0.95, **_GREEDY}),
    "llada2.1-quality": Preset("LLaDA2.1, Quality", {**_EDIT, "threshold": 0.7, "edit_threshold": 0.5}),
    "llada2.1-speed": Preset("LLaDA2.1, Speed", {**_EDIT, "threshold": 0.5, "edit_threshold": 0.0}),
    "eb": Preset(
        "EB-Sampler (arXiv 2505.24857)", {"remasking": "entropy_bounded", "entropy_bound": 0.1, "block_size": 32, **_GREEDY}
    ),
    "klass": Preset(
        "KLASS (arXiv 2511.05664)",
        {"remasking": "klass", "threshold": 0.9, "kl_threshold": 0.01, "kl_steps": 2, "block_size": 32, **_GREEDY},
    ),
    "wino": Preset(
        "WINO (arXiv 2507.18578)",
        {"algorithm": "wino", "threshold": 0.6, "remask_threshold": 0.9, "block_size": 128, **_GREEDY},
    ),
    "nemotron": Preset("Nemotron-Labs-Diffusion, diffusion mode", {"remasking": "threshold", "threshold": 0.9, **_GREEDY}),
    "diffusion-gemma": Preset("DiffusionGemma's own generate", {"algorithm": "diffusion_gemma", "steps_per_block": 48}),
}
"""What `--decode NAME` sets."""


@dataclass(frozen=True, slots=True)
class Official:
    """The authors' settings of a family, or of those of its checkpoints whose name holds `hint`: a preset, and what changes it
    for a task (`""`: any other)."""

    family: str
    preset: str
    tasks: Mapping[str, Settings]
    hint: str = ""


def _canvas(length: int, **more: Any) -> Settings:
    """One block as long as the canvas."""
    return {"max_new_tokens": length, "block_size": length, **more}


def _blocks(length: int, block: int, **more: Any) -> Settings:
    return {"max_new_tokens": length, "block_size": block, **more}


_NO_EARLY_END: Settings = {"confidence_eos_eot_inf": True}
_LLADA_TASKS: Mapping[str, Settings] = {
    "gsm8k": _canvas(512, **_NO_EARLY_END),
    "math500": _canvas(512, **_NO_EARLY_END),
    "math": _canvas(512, **_NO_EARLY_END),
    "humaneval": _canvas(512, logits_eos_inf=True),
    "mbpp": _canvas(256, **_NO_EARLY_END),
    "": _canvas(256),
}
_LLADA15_TASKS: Mapping[str, Settings] = {
    "gsm8k": _blocks(256, 16, **_NO_EARLY_END),
    "math500": _blocks(1024, 128, **_NO_EARLY_END),
    "math": _blocks(1024, 128, **_NO_EARLY_END),
    "humaneval": _blocks(512, 32, **_NO_EARLY_END),
    "mbpp": _blocks(512, 32, **_NO_EARLY_END),
    "": _blocks(256, 16, **_NO_EARLY_END),
}
_DREAM_TASKS: Mapping[str, Settings] = {
    "gsm8k": {"max_new_tokens": 256},
    "math500": {"max_new_tokens": 512},
    "math": {"max_new_tokens": 512},
    "humaneval": {"max_new_tokens": 768},
    "mbpp": {"max_new_tokens": 1024},
    "": {"max_new_tokens": 512},
}

OFFICIAL: tuple[Official, ...] = (
    Official("llada", "llada", _LLADA15_TASKS, hint="1.5"),
    Official("llada", "llada", _LLADA_TASKS),
    Official("mmada", "llada", {"": _blocks(256, 32)}),
    Official("llada-moe", "llada", {"": _blocks(512, 32)}),
    Official("dream", "diffucoder", {"": {"max_new_tokens": 256}}, hint="diffucoder"),
    Official("dream", "dream-coder", {"": {"max_new_tokens": 768}}, hint="coder"),
    Official("dream", "dream", _DREAM_TASKS),
    Official("sdar", "sdar", {"": {"max_new_tokens": 2000}}),
    Official("sdar-moe", "sdar", {"": {"max_new_tokens": 2000}}),
    Official("llada2", "llada2.1-quality", {"": {}}, hint="2.1"),
    Official("llada2", "llada2", {"": {}}),
    Official("fast-dllm-v2", "fast-dllm-v2", {"": {}}),
    Official("nemotron-diffusion", "nemotron", {"": {}}),
    Official("diffusion-gemma", "diffusion-gemma", {"": {}}),
)
"""In the order they are looked up. Sources: the models' evaluation pages and papers, as in docs/decoding.md."""


def official(decode: DecodeConfig, checkpoint: Checkpoint, task: str) -> DecodeConfig:
    """The authors' settings for a checkpoint and a task, with what `decode` changes of the defaults on top.

    Raises InputError for a family whose authors' settings are not known.
    """
    name, family = f"{checkpoint.id} {checkpoint.path.name}".lower(), checkpoint.family.name
    found = next((entry for entry in OFFICIAL if entry.family == family and entry.hint in name), None)
    if found is None:
        known = ", ".join(dict.fromkeys(entry.family for entry in OFFICIAL))
        raise InputError(
            f"--decode official: no authors' settings are known for the family {family} (known: {known}); "
            "choose a decoder of `unmask list decoders`"
        )
    settings = {**PRESETS[found.preset].settings, **found.tasks.get(task, found.tasks[""])}
    own = {name: getattr(decode, name) for name in changed(decode)}
    if "max_new_tokens" in own and settings.get("block_size") == settings.get("max_new_tokens"):
        # One block as long as the canvas stays one when the canvas is given another length.
        own = {"block_size": own["max_new_tokens"], **own}
    return dataclasses.replace(DecodeConfig(), **{**settings, **own})
