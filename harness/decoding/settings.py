"""Completing decode settings for a checkpoint, and refusing those that would have no effect or that it does not allow.

Needs no torch: a run is planned before anything is loaded. What the settings mean stands in `records.DecodeConfig`.
"""

import dataclasses
from collections.abc import Mapping

from ...rewards.errors import InputError
from ..models.checkpoint import Checkpoint
from ..models.families import Family
from ..records import Algorithm, DecodeConfig, Remasking

MAX_NEW_TOKENS = 1024
"""The length limit where neither the caller nor the task gives one."""

CANVAS_BLOCK = 32
"""The block of a full-attention model where the settings give none: its authors' own in most of their results."""

_ALWAYS = {"algorithm", "block_size", "max_new_tokens", "stop", "never", "cache", "full_length"}
_TOKENS = {"temperature", "top_k", "top_p", "top_n_sigma", "filter_order", "confidence", "score"}
_BLOCK = {"remasking", "steps_per_block", "schedule", "schedule_eps", "sub_block_size", "horizon", "force_first_token"}
_EOS = {"guidance", "logits_eos_inf", "confidence_eos_eot_inf", "eos_early_stop"}

ALGORITHM_USES: Mapping[Algorithm, frozenset[str]] = {
    "block": frozenset(_ALWAYS | _TOKENS | _BLOCK | _EOS),
    "edit": frozenset(_ALWAYS | _TOKENS | {"threshold", "edit_threshold", "min_fixed", "max_post_steps"}),
    "remask": frozenset(_ALWAYS | _TOKENS | {"threshold", "low_threshold", "remask_threshold"}),
    "wino": frozenset(_ALWAYS | _TOKENS | {"threshold", "remask_threshold"}),
    "diffusion_gemma": frozenset(
        {"algorithm", "block_size", "max_new_tokens", "stop", "cache", "full_length"}
        | {"steps_per_block", "entropy_bound", "stable_steps", "mean_entropy"}
    ),
}
"""The settings each algorithm uses; those of algorithm `block` besides what its rule uses."""

RULE_USES: Mapping[Remasking, frozenset[str]] = {
    "static": frozenset({"overshoot", "order_temperature"}),
    "dynamic": frozenset({"threshold", "overshoot", "order_temperature"}),
    "sequential": frozenset(),
    "random": frozenset(),
    "origin": frozenset(),
    "threshold": frozenset({"threshold"}),
    "factor": frozenset({"factor"}),
    "near_best": frozenset({"threshold"}),
    "credit": frozenset({"threshold", "credit_alpha", "credit_gamma", "credit_decay"}),
    "hierarchy": frozenset({"threshold", "low_threshold"}),
    "entropy_bounded": frozenset({"entropy_bound"}),
    "entropy_budget": frozenset({"entropy_bound"}),
    "klass": frozenset({"threshold", "kl_threshold", "kl_steps", "overshoot", "order_temperature"}),
}
"""The settings each rule of algorithm `block` uses besides the algorithm's own."""


def resolve(decode: DecodeConfig, checkpoint: Checkpoint) -> DecodeConfig:
    """Fill in block size, steps and length. Raises InputError for settings that have no effect or are not allowed."""
    family = checkpoint.family
    if not family.masked and decode.algorithm == "block":
        decode = dataclasses.replace(decode, algorithm="diffusion_gemma")
    _refuse_unused(decode)
    _check_family(decode, family, checkpoint.id)
    decode = dataclasses.replace(decode, max_new_tokens=decode.max_new_tokens or MAX_NEW_TOKENS)
    full = family.attention == "full"
    if decode.algorithm == "diffusion_gemma":
        return dataclasses.replace(decode, block_size=checkpoint.block_size, steps_per_block=decode.steps_per_block or 48)
    if decode.cache == "exact" and full:
        decode = dataclasses.replace(decode, cache="none")
    size = _canvas_block(decode) if full else _trained_block(decode, checkpoint)
    steps = decode.steps_per_block or size
    linear = decode.schedule == "linear" or decode.remasking == "origin"
    if steps > size and not linear:
        raise InputError(f"decode.steps_per_block={steps}: a block of {size} tokens has at most {size} steps")
    if decode.sub_block_size is not None and size % decode.sub_block_size:
        raise InputError(f"decode.sub_block_size={decode.sub_block_size}: a block of {size} tokens is no multiple of it")
    counted = "steps_per_block" in ALGORITHM_USES[decode.algorithm]
    return dataclasses.replace(decode, block_size=size, steps_per_block=steps if counted else None)


def _canvas_block(decode: DecodeConfig) -> int:
    longest = decode.max_new_tokens or MAX_NEW_TOKENS
    if decode.schedule == "linear" or decode.remasking == "origin":
        return decode.block_size or longest
    return decode.block_size or min(CANVAS_BLOCK, longest)


def _trained_block(decode: DecodeConfig, checkpoint: Checkpoint) -> int:
    trained = checkpoint.block_size
    size = decode.block_size or trained
    if size is None:
        raise InputError(f"{checkpoint.id}: config.json has no block_size; give it with --set decode.block_size=N")
    context = int(checkpoint.config.get("max_position_embeddings") or 0) or size
    if (trained and size % trained and trained % size) or size > context:
        raise InputError(
            f"decode.block_size={size}: {checkpoint.id} was trained with blocks of {trained}; "
            f"allowed are its divisors and multiples up to the context of {context}"
        )
    return size


def changed(decode: DecodeConfig) -> set[str]:
    """The settings that differ from their defaults."""
    return {f.name for f in dataclasses.fields(decode) if getattr(decode, f.name) != f.default}


def used(decode: DecodeConfig) -> frozenset[str]:
    """The settings that have an effect under these settings."""
    uses = ALGORITHM_USES[decode.algorithm]
    if decode.algorithm == "block":
        uses |= RULE_USES[decode.remasking]
        if decode.schedule == "even" and decode.remasking != "origin":
            uses -= {"schedule_eps"}
    if decode.temperature == 0 and decode.confidence == "raw":
        uses -= {"top_k", "top_p", "top_n_sigma", "filter_order"}
    return uses


def _refuse_unused(decode: DecodeConfig) -> None:
    unused = sorted(changed(decode) - used(decode))
    if not unused:
        return
    name = unused[0]
    if name in _TOKENS and decode.temperature == 0:
        what = "temperature 0 with raw confidence"
    else:
        what = f"algorithm {decode.algorithm}" + (f" with remasking {decode.remasking}" if decode.algorithm == "block" else "")
    raise InputError(f"decode.{name}={getattr(decode, name)!r} has no effect under {what}; leave it out")


def _check_family(decode: DecodeConfig, family: Family, name: str) -> None:
    """What only some kinds of model can do."""
    full = family.attention == "full"
    if (decode.algorithm == "diffusion_gemma") == family.masked:
        raise InputError(f"decode.algorithm={decode.algorithm}: not for {name}, a model of the family {family.name}")
    only_full = [
        ("algorithm", decode.algorithm == "wino"),
        ("cache", decode.cache in ("prefix", "dual")),
        ("guidance", decode.guidance > 0),
    ]
    for setting, given in only_full:
        if given and not full:
            raise InputError(
                f"decode.{setting}={getattr(decode, setting)!r}: only for models with full attention; "
                f"{name} is {family.attention}" + (", its block cache is exact" if setting == "cache" else "")
            )
    if decode.algorithm == "wino" and family.shift:
        raise InputError(f"decode.algorithm=wino: {name} predicts a token from the position before; a shadow cannot check it")
    approximate = decode.cache in ("prefix", "dual")
    if decode.full_length and decode.eos_early_stop:
        raise InputError("decode.full_length and decode.eos_early_stop exclude each other")
    if decode.cache == "none" and not full and decode.overshoot == "overwrite":
        raise InputError("decode.cache=none: not together with overshoot=overwrite, which changes the context afterwards")
    if decode.horizon is not None and decode.cache != "prefix":
        raise InputError(f"decode.horizon={decode.horizon}: needs decode.cache=prefix")
    if approximate and (decode.guidance > 0 or decode.algorithm == "wino"):
        raise InputError(f"decode.cache={decode.cache}: not together with guidance or wino, whose passes see something else")
    if approximate and family.shift and not decode.force_first_token:
        raise InputError(
            f"decode.cache={decode.cache}: {name} predicts a token from the position before, which lies outside the window; "
            "add --set decode.force_first_token=true, as the authors do"
        )
