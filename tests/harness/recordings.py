"""Recordings of the original implementations: which settings reproduce a case, and what it has to give.

A folder holds a checkpoint and `generations.json`; its cases are told apart by the arguments that the original function took, so
that a new folder or case needs no code as long as it records a known function.
"""

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from unmask.harness.models.model import Model, load_model
from unmask.harness.records import DecodeConfig, Remasking, Request, Rollout, Score

SHARED = Path(__file__).parents[3] / "shared" / "reference" / "dlm"
SHIPPED = Path(__file__).parents[1] / "data"
_SDAR: dict[str, Remasking] = {
    "low_confidence_static": "static",
    "low_confidence_dynamic": "dynamic",
    "sequential": "sequential",
}
_IN_FORCE = {"eps": 0.001, "top_k": 50, "top_p": 1.0}
"""What Dream's generation takes from the model config where a caller gives nothing."""
_SCORES: dict[str, Score] = {"confidence": "probability", "margin_confidence": "margin", "neg_entropy": "neg_entropy"}


@dataclass(frozen=True)
class Case:
    """One recorded generation of one prompt."""

    folder: Path
    name: str
    prompt_ids: tuple[int, ...]
    decode: DecodeConfig
    stop_ids: tuple[int, ...]
    expected: dict[str, Any]

    @property
    def decoder(self) -> str:
        """The decoder in a word or two, for the table."""
        decode = self.decode
        rule = decode.remasking if decode.algorithm == "block" else decode.algorithm
        marks = [
            decode.schedule if decode.schedule != "even" else "",
            f"cache {decode.cache}" if decode.cache in ("prefix", "dual") else "",
            "guided" if decode.guidance else "",
            decode.score if decode.score != "probability" else "",
        ]
        return ", ".join([rule, *filter(None, marks)])


def folders(given: Path | None) -> list[Path]:
    """The folders with recordings: the one given or those in it, else the shared ones, else the small set that is shipped."""
    root = given or (SHARED if SHARED.exists() else SHIPPED)
    found = [path.parent for path in (*root.glob("generations.json"), *sorted(root.glob("*/generations.json")))]
    return [folder for folder in found if (folder / "config.json").exists()]


def cases(folder: Path) -> Iterator[Case]:
    """The deterministic cases of a folder; a recorded batch gives one case per row."""
    recorded = json.loads((folder / "generations.json").read_text("utf-8"))
    for number, case in enumerate(recorded["cases"]):
        if case.get("deterministic") is False or case.get("token_choice") == "seeded":
            continue
        for row, prompt, expected in _rows(case):
            name = f"{case['name']}@{case.get('prompt', number)}{row}"
            yield Case(folder, name, prompt, _settings(case, recorded), _stops(case, recorded), expected)


def _stops(case: dict[str, Any], recorded: dict[str, Any]) -> tuple[int, ...]:
    """The stop tokens that ended the recorded run; none where it went on to its full length."""
    eos = case["params"].get("eos_id")
    if case.get("stop_ids"):
        return tuple(case["stop_ids"])
    return (eos,) if eos is not None and "editing_threshold" not in case["params"] else ()


def _rows(case: dict[str, Any]) -> Iterator[tuple[str, tuple[int, ...], dict[str, Any]]]:
    """The prompts of a case without their padding, and what each is to give."""
    if not isinstance(case["prompt_ids"][0], list):
        yield (
            "",
            tuple(case["prompt_ids"]),
            _expected(case, case.get("output_ids"), case.get("step_map"), len(case["prompt_ids"])),
        )
        return
    width = len(case["prompt_ids"][0])
    for row, (prompt, mask) in enumerate(zip(case["prompt_ids"], case["attention_mask"], strict=True)):
        kept = tuple(token for token, seen in zip(prompt, mask, strict=True) if seen)
        yield f"#{row}", kept, _expected(case, case["output_ids"][row], case["step_map"][row], width)


def _expected(case: dict[str, Any], output: list[int] | None, step_map: list[int] | None, width: int) -> dict[str, Any]:
    tokens = case["generated_ids"] if output is None else output[width:]
    out: dict[str, Any] = {"tokens": tokens, "denoise": case.get("n_denoise_forwards", case.get("n_forwards"))}
    out["step_map"] = step_map if step_map is not None else case.get("first_unmask_step")
    out["stored"], out["events"], out["trace"] = case.get("n_store_forwards"), case.get("events"), case.get("trace")
    out["history"] = case.get("history")
    return out


def _settings(case: dict[str, Any], recorded: dict[str, Any]) -> DecodeConfig:
    params = case["params"]
    if "remasking_strategy" in params:
        return _sdar(case)
    if "editing_threshold" in params:
        return _llada21(params)
    if "eos_id" in params:
        return _llada2(params)
    if "effective" in case or "alg" in params:
        return _dream(params, _IN_FORCE | case.get("effective", params))
    if "tar" in params or "target" in params:
        return _dllm_rl(params)
    return _llada(case["name"], params)


def _sdar(case: dict[str, Any]) -> DecodeConfig:
    params, native = case["params"], case["token_choice"] == "native_topk1"
    rule = _SDAR[params["remasking_strategy"]]
    return DecodeConfig(
        block_size=params["block_length"],
        steps_per_block=params["denoising_steps"],
        remasking=rule,
        threshold=params["confidence_threshold"] if rule == "dynamic" else 0.9,
        temperature=params["temperature"] if native else 0.0,
        top_k=params["top_k"] if native else 0,
        confidence="processed" if native else "raw",
        overshoot="overwrite" if rule != "sequential" else "clamp",
        max_new_tokens=params["gen_length"],
        never="nothing",
    )


def _llada2(params: dict[str, Any]) -> DecodeConfig:
    return DecodeConfig(
        block_size=params["block_length"],
        steps_per_block=params["steps"],
        threshold=params["threshold"],
        temperature=0.0,
        max_new_tokens=params["gen_length"],
        eos_early_stop=params.get("eos_early_stop", False),
        never="nothing",
    )


def _llada21(params: dict[str, Any]) -> DecodeConfig:
    return DecodeConfig(
        algorithm="edit",
        block_size=params["block_length"],
        threshold=params["threshold"],
        edit_threshold=params["editing_threshold"],
        max_post_steps=params["max_post_steps"],
        min_fixed=params.get("num_to_transfer", 1),
        temperature=0.0,
        max_new_tokens=params["gen_length"],
        never="nothing",
    )


def _dream(params: dict[str, Any], effective: dict[str, Any]) -> DecodeConfig:
    scores: dict[str, Score] = {"entropy": "neg_entropy", "topk_margin": "margin"}
    return DecodeConfig(
        steps_per_block=params["steps"],
        remasking="static",
        schedule="linear",
        schedule_eps=effective["eps"],
        temperature=effective["temperature"] or 0.0,
        top_k=effective["top_k"] or 0,
        top_p=effective["top_p"] or 1.0,
        filter_order="top_p_first",
        confidence="processed",
        score=scores.get(effective["alg"], "probability"),
        max_new_tokens=params["max_new_tokens"],
        never="nothing",
    )


def _dllm_rl(params: dict[str, Any]) -> DecodeConfig:
    dream = "tar" in params
    length = params["max_new_tokens" if dream else "gen_length"]
    score = _SCORES[params["tar" if dream else "target"]]
    threshold = params["unmask_threshold"]
    return DecodeConfig(
        block_size=params["block_length"],
        steps_per_block=params["steps"] // (length // params["block_length"]),
        remasking="static" if threshold is None else "threshold",
        threshold=0.9 if threshold is None else threshold,
        schedule="linear" if dream else "even",
        schedule_eps=params["eps"] if dream else 0.001,
        temperature=0.0,
        filter_order="top_p_first" if dream else "top_k_first",
        confidence="processed" if dream else "raw",
        score="entropy" if score == "neg_entropy" and not dream else score,
        max_new_tokens=length,
        cache="prefix" if params["use_cache"] else "exact",
        horizon=params["further_horizon"],
        force_first_token=dream,
        never="nothing",
    )


def _llada(name: str, params: dict[str, Any]) -> DecodeConfig:
    length, block = params["gen_length"], params["block_length"]
    caches = {"fastdllm_prefix": "prefix", "fastdllm_dual": "dual"}
    cached = next((kind for start, kind in caches.items() if name.startswith(start)), "exact")
    threshold = params.get("threshold")
    return DecodeConfig(
        block_size=block,
        steps_per_block=params["steps"] // (length // block),
        remasking="static" if threshold is None else "threshold",
        threshold=0.9 if threshold is None else threshold,
        temperature=0.0,
        max_new_tokens=length,
        guidance=params.get("cfg_scale", 0.0),
        logits_eos_inf=params.get("logits_eos_inf", False),
        confidence_eos_eot_inf=params.get("confidence_eos_eot_inf", False),
        cache=cached,  # type: ignore[arg-type]
        never="nothing",
    )


@cache
def model_of(folder: Path) -> Model:
    """The checkpoint of a folder, loaded once."""
    return load_model(str(folder), device="cpu")


def run(case: Case, max_batch: int = 4) -> Rollout:
    """Decode a case."""
    loaded = model_of(case.folder)
    checkpoint = dataclasses.replace(loaded.checkpoint, stop_ids=case.stop_ids or loaded.checkpoint.stop_ids)
    decode = dataclasses.replace(case.decode, full_length=not case.stop_ids)
    model = Model(checkpoint, loaded.network, loaded.info)
    return next(iter(model.generate([Request("p", 0, case.prompt_ids, seed=1)], decode, max_batch=max_batch, fuse=False)))
