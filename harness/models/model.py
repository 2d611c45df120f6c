"""A loaded model: its tokenizer, its network, and `generate`.

`load_model` is the way in. `Model.generate` turns requests into rollouts in completion order; which requests share a
forward pass changes nothing but the time.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ...rewards.errors import InputError
from ...rewards.records import Message
from ..records import DecodeConfig, ModelInfo, Request, Rollout
from .checkpoint import Checkpoint, open_checkpoint
from .network import load_network

DTYPES = ("auto", "float32", "bfloat16", "float16")

MAX_NEW_TOKENS = 1024
"""The length limit where neither the caller nor the task gives one."""


class Model:
    """A checkpoint with its weights in memory."""

    def __init__(self, checkpoint: Checkpoint, network: Any, info: ModelInfo) -> None:
        self.checkpoint = checkpoint
        self.network = network
        self.info = info
        self.tokenizer = checkpoint.tokenizer

    @property
    def context(self) -> int:
        """The most positions the model was made for."""
        return int(self.network.config.max_position_embeddings)

    def encode(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Token ids of a conversation through the checkpoint's chat template, ready for the assistant's turn.

        A conversation that ends with the assistant's turn is one whose answer was begun: the model goes on from there.
        """
        turns = [{"role": message.role, "content": message.content} for message in messages]
        begun = bool(turns) and turns[-1]["role"] == "assistant"
        ids = self.tokenizer.apply_chat_template(
            turns, add_generation_prompt=not begun, continue_final_message=begun, tokenize=True, return_dict=False
        )
        return tuple(ids)

    def resolve(self, decode: DecodeConfig) -> DecodeConfig:
        """Fill in the model's own block size and steps. Raises InputError for settings the model does not allow."""
        return resolve(decode, self.checkpoint)

    def generate(
        self, requests: Iterable[Request], decode: DecodeConfig, *, max_batch: int = 32, fuse: bool = True
    ) -> Iterator[Rollout]:
        """Yield one rollout per request, in completion order. `max_batch` bounds the sequences that share a forward pass.

        `fuse` runs prompts and finished blocks together with the denoising steps that follow them; without it they have forward
        passes of their own, as the published loops do. The tokens are the same.
        """
        from ..decoding.block import BlockDecoder, TokenRules
        from .denoiser import BlockDenoiser

        family = self.checkpoint.family
        if (family.attention, family.alignment, family.shift) != ("block_causal", "absolute", False):
            raise InputError(f"--model {self.info.id}: checkpoints of the family {family.name} cannot be decoded yet")
        decode = self.resolve(decode)
        denoiser = BlockDenoiser(self.network, _whole(decode.block_size), max_batch)
        tokens = TokenRules(self.checkpoint.mask_id, frozenset(self.checkpoint.stop_ids), self._banned(), self._text)
        decoder = BlockDecoder(denoiser, tokens, decode, rows=max_batch, context=self.context, fuse=fuse)
        for decoded in decoder.run(requests):
            yield self._rollout(decoded, decode)

    def _text(self, ids: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    def _banned(self) -> Any:
        """Tokens that are never drawn: the mask, and embedding rows that no token of the tokenizer uses."""
        import torch

        weight = self.network.lm_head.weight
        banned = torch.ones(weight.shape[0], dtype=torch.bool)
        banned[[i for i in self.tokenizer.get_vocab().values() if i < len(banned)]] = False
        banned[self.checkpoint.mask_id] = True
        return banned.to(weight.device)

    def _rollout(self, decoded: Any, decode: DecodeConfig) -> Rollout:
        request, sequence = decoded.request, decoded.sequence
        kept = sequence.tokens[: decoded.length]
        if kept and kept[-1] in self.checkpoint.stop_ids:
            kept = kept[:-1]
        return Rollout(
            problem_id=request.problem_id,
            sample=request.sample,
            seed=request.seed,
            prompt_ids=request.prompt_ids,
            token_ids=tuple(sequence.tokens),
            length=decoded.length,
            step_map=tuple(sequence.step_map),
            logprobs=tuple(sequence.logprobs),
            confidences=tuple(sequence.confidences),
            block_size=_whole(decode.block_size),
            block_offset=len(request.prompt_ids) % _whole(decode.block_size),
            forward_passes=decoded.passes,
            cache=decode.cache,
            finish=decoded.finish,
            text=_before(self._text(kept), decode.stop),
            decode=decode,
            model=self.info,
            seconds=round(decoded.seconds, 6),
            events=tuple(sequence.events),
            detail=decoded.detail,
        )


def load_model(
    name: str,
    *,
    dtype: str = "auto",
    device: str = "auto",
    revision: str | None = None,
    family: str | None = None,
    mask_id: int | None = None,
    block_size: int | None = None,
) -> Model:
    """Load a checkpoint by embedded name, directory or hub id.

    `dtype` "auto" is float32 on a CPU and the checkpoint's own elsewhere; `device` "auto" is the first accelerator, else the
    CPU; `family`, `mask_id` and `block_size` say what the checkpoint does not. Raises InputError in one line for whatever is
    wrong with the checkpoint or the settings.
    """
    import torch

    if dtype not in DTYPES:
        raise InputError(f"--dtype {dtype}: not one of {', '.join(DTYPES)}")
    checkpoint = open_checkpoint(name, revision, family=family, mask_id=mask_id, block_size=block_size)
    device = _device(device)
    chosen = ("float32" if device == "cpu" else _own_dtype(checkpoint)) if dtype == "auto" else dtype
    network = load_network(checkpoint, getattr(torch, chosen), device)
    info = ModelInfo(checkpoint.id, checkpoint.revision, checkpoint.family.name, checkpoint.fingerprint(), chosen)
    return Model(checkpoint, network, info)


def resolve(decode: DecodeConfig, checkpoint: Checkpoint) -> DecodeConfig:
    """Fill in the checkpoint's block size and steps. Raises InputError for settings the checkpoint does not allow."""
    import dataclasses

    trained = checkpoint.block_size
    size = decode.block_size or trained
    if size is None:
        raise InputError(f"{checkpoint.id}: config.json has no block_size; give it with --set decode.block_size=N")
    context = int(checkpoint.config.get("max_position_embeddings", 0)) or size
    if (trained and size % trained and trained % size) or size > context:
        raise InputError(
            f"decode.block_size={size}: {checkpoint.id} was trained with blocks of {trained}; "
            f"allowed are its divisors and multiples up to the context of {context}"
        )
    steps = decode.steps_per_block or size
    if steps > size:
        raise InputError(f"decode.steps_per_block={steps}: a block of {size} tokens has at most {size} steps")
    longest = decode.max_new_tokens or MAX_NEW_TOKENS
    return dataclasses.replace(decode, block_size=size, steps_per_block=steps, max_new_tokens=longest)


def _before(text: str, stops: tuple[str, ...]) -> str:
    """The text before the first stop string."""
    return text[: min((text.index(stop) for stop in stops if stop in text), default=len(text))]


def _device(device: str) -> str:
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device {device}: not usable here ({str(error).splitlines()[0]}); see `unmask doctor`") from None
    return device


def _own_dtype(checkpoint: Checkpoint) -> str:
    own = checkpoint.config.get("dtype") or checkpoint.config.get("torch_dtype") or "bfloat16"
    return str(own) if own in DTYPES else "bfloat16"


def _whole(value: int | None) -> int:
    if value is None:
        raise ValueError("the decode settings are not resolved")
    return value
