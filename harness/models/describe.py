"""Says in words what was recognised of a checkpoint, and why: for `unmask doctor --model M`.

Reads settings, tokenizer and the headers of the weights; no weight is loaded. Not covered: whether the machine has the memory
for the model, and whether the weights are any good.
"""

from collections.abc import Iterator
from typing import NamedTuple

from ...rewards.errors import InputError
from .checkpoint import Checkpoint
from .network import check_weights, weight_dtypes, weight_files, weight_shapes
from .settings import read_json
from .translation import rope

_ATTENTION = {
    "full": "full: every position sees every other",
    "block_causal": "block-causal: full inside a block, causal between blocks",
    "causal_context": "causal context: the context is computed left to right, the block sees all of it and itself",
}
_EVIDENCE = {"recorded": "recordings of the original code", "layout": "the published layout (no recording of the original)"}


class Line(NamedTuple):
    """One thing that was recognised, and where it comes from."""

    name: str
    value: str
    where: str = ""


def describe(checkpoint: Checkpoint) -> list[Line]:
    """Everything that decoding with this checkpoint rests on. Raises InputError if it cannot be loaded."""
    return [*_family(checkpoint), *_tokens(checkpoint), *_weights(checkpoint), *_remarks(checkpoint)]


def _family(checkpoint: Checkpoint) -> Iterator[Line]:
    family, found = checkpoint.family, checkpoint.found
    yield Line("model", checkpoint.id, f"{checkpoint.path} ({checkpoint.revision})")
    yield Line("family", f"{family.name}: {family.title} ({family.source})", found["family"])
    yield Line("loads as", family.network_class, f"tested against {_EVIDENCE[family.evidence]}")
    yield Line("attention", _ATTENTION[family.attention])
    place = "at multiples of the block size from position 0" if family.alignment == "absolute" else "at the end of the prompt"
    yield Line("blocks", f"{checkpoint.block_size or 'as decoded'}; they begin {place}", found["block size"])
    yield Line(
        "predictions", "shifted: position i is predicted by the output at i - 1" if family.shift else "at their own position"
    )
    if family.first_token == "ar":
        yield Line("first token", "the first token of a block is predicted left to right, from the context alone")


def _tokens(checkpoint: Checkpoint) -> Iterator[Line]:
    tokenizer, rows = checkpoint.tokenizer, checkpoint.rows
    mask = "none" if checkpoint.mask is None else f"{checkpoint.mask} {_text(tokenizer, checkpoint.mask)}"
    yield Line("mask token", mask, checkpoint.found["mask"])
    stops = ", ".join(f"{token} {_text(tokenizer, token)}" for token in checkpoint.stop_ids)
    yield Line("stop tokens", stops, checkpoint.found["stop"])
    unused = rows - len({token for token in tokenizer.get_vocab().values() if token < rows})
    spare = f"{unused:,} of them without a token, never drawn" if unused else "each with a token"
    yield Line("vocabulary", f"{rows:,} rows, {spare}")
    yield Line("template", *_template(checkpoint))


def _text(tokenizer: object, token: int) -> str:
    return repr(tokenizer.convert_ids_to_tokens(token))  # type: ignore[attr-defined]


def _template(checkpoint: Checkpoint) -> tuple[str, str]:
    """What the template makes of a single question: a system prompt that it adds changes scores."""
    tokenizer = checkpoint.tokenizer
    if tokenizer.chat_template is None:
        return "none: tasks cannot be asked, likelihoods can be measured", ""
    asked = tokenizer.apply_chat_template([{"role": "user", "content": "QUESTION"}], add_generation_prompt=True, tokenize=False)
    return repr(asked), checkpoint.family.template


def _weights(checkpoint: Checkpoint) -> Iterator[Line]:
    plan = check_weights(checkpoint)
    config, files, dtypes = plan.config.get_text_config(), weight_files(checkpoint.path), weight_dtypes(checkpoint.path)
    count = len(weight_shapes(checkpoint.path))
    shards = f"{len(files)} file{'s' * (len(files) > 1)}, {plan.size / 1e9:.3g} GB"
    yield Line("weights", f"{plan.parameters:,} parameters, {', '.join(dtypes)}", f"{shards}; all {count} names and shapes fit")
    yield Line("output layer", "is the embedding (tied)" if config.tie_word_embeddings else "has weights of its own")
    yield Line("context", f"{config.max_position_embeddings:,} positions")
    yield Line("rotary base", str(_rope(checkpoint)))
    if checkpoint.adapter is not None:
        yield Line("adapter", str(checkpoint.adapter.path), f"trained on {checkpoint.adapter.base or 'a model it does not name'}")
    yield Line("fingerprint", checkpoint.fingerprint(), "of files and given settings")


def _rope(checkpoint: Checkpoint) -> object:
    try:
        settings = rope(checkpoint.config, str(checkpoint.path / "config.json"))
    except InputError:
        return "by layer type"
    kind = settings["rope_type"]
    return f"{settings['rope_theta']:g}{'' if kind == 'default' else f', {kind}'}"


def _remarks(checkpoint: Checkpoint) -> Iterator[Line]:
    """What a release says and unmask does not follow, or follows against another of its files."""
    config, tokenizer = checkpoint.config, checkpoint.tokenizer
    if "auto_map" in config:
        yield Line("remark", "names code of its own, which is not run: transformers' class is used", "config.json, auto_map")
    asked = config.get("attn_implementation") or config.get("_attn_implementation")
    if asked and asked != "sdpa":
        yield Line("remark", f"asks for {asked}; sdpa is used", "config.json, attn_implementation")
    named = _mask_of_special_tokens(checkpoint)
    if named and checkpoint.mask is not None and tokenizer.convert_ids_to_tokens(checkpoint.mask) != named:
        yield Line("remark", f"names {named!r} as mask token, which is not the model's", "special_tokens_map.json")


def _mask_of_special_tokens(checkpoint: Checkpoint) -> str:
    file = checkpoint.path / "special_tokens_map.json"
    token = read_json(file, "").get("mask_token") if file.exists() else None
    return str(token.get("content", "") if isinstance(token, dict) else token or "")
