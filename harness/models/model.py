"""A loaded model: its tokenizer, its network, and `generate`.

`load_model` is the way in. `Model.generate` turns requests into rollouts in completion order; which requests share a
forward pass changes nothing but the time.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ...rewards.errors import InputError
from ...rewards.records import Message
from ..decoding.settings import resolve
from ..records import DecodeConfig, ModelInfo, Request, Rollout
from .checkpoint import Checkpoint, open_checkpoint
from .network import load_network

if TYPE_CHECKING:
    from ..decoding.ending import TokenRules
    from ..decoding.rows import Watch
    from ..decoding.usage import Usage
    from .denoiser import Context

DTYPES = ("auto", "float32", "bfloat16", "float16")


class Model:
    """A checkpoint with its weights in memory."""

    def __init__(self, checkpoint: Checkpoint, network: Any, info: ModelInfo) -> None:
        self.checkpoint = checkpoint
        self.network = network
        self.info = info
        self.tokenizer = checkpoint.tokenizer
        self.kv_budget: int | None = None

    @property
    def context(self) -> int:
        """The most positions the model was made for."""
        return int(self.network.config.get_text_config().max_position_embeddings)

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
        self,
        requests: Iterable[Request | None],
        decode: DecodeConfig,
        *,
        max_batch: int = 32,
        kv_budget: int | None = None,
        fuse: bool = True,
        usage: "Usage | None" = None,
        watch: "Watch | None" = None,
    ) -> Iterator[Rollout]:
        """Yield one rollout per request, in completion order.

        `max_batch` bounds the sequences that share a forward pass, `kv_budget` the bytes of an exact cache (default: the
        attribute of that name): fewer sequences then share a pass. `fuse` runs prompts and finished blocks together with the
        denoising steps that follow them; without it they have forward passes of their own, as the published loops do. None of
        them changes a token. `usage` is counted up. `requests` may yield None for "none right now" while others are being
        decoded; it is asked again after the next pass. `watch` is shown every response after every pass (`decoding.rows.Watch`).
        Raises InputError when the budget does not hold one sequence, or the memory does not.
        """
        decode = self.resolve(decode)
        budget = kv_budget or self.kv_budget
        for decoded in self._decoder(decode, max_batch, budget, fuse, usage).run(requests, watch):
            yield self._rollout(decoded, decode)

    def _decoder(self, decode: DecodeConfig, rows: int, budget: int | None, fuse: bool, usage: "Usage | None") -> Any:
        """The loop that fits the model's attention."""
        from ..decoding.block import BlockDecoder
        from ..decoding.canvas import CanvasDecoder
        from .canvas import CanvasDenoiser
        from .denoiser import BlockDenoiser

        family, size = self.checkpoint.family, _whole(decode.block_size)
        tokens = self._token_rules(decode)
        if decode.algorithm == "diffusion_gemma":
            from ..decoding.native import NativeDecoder

            return NativeDecoder(self.network, tokens, decode, canvas=size, context=self.context)
        if family.attention == "full":
            cache = decode.cache if decode.cache in ("prefix", "dual") else "none"
            whole = CanvasDenoiser(self.network, size, rows, shift=family.shift, cache=cache, horizon=decode.horizon)
            return CanvasDecoder(whole, tokens, decode, rows=rows, context=self.context)
        context: Context = "blocks" if family.alignment == "absolute" else "prompt_blocks"
        context = "causal" if family.attention == "causal_context" else context
        denoiser = BlockDenoiser(self.network, size, rows, context=context, shift=family.shift, budget=budget)
        return BlockDecoder(
            denoiser,
            tokens,
            decode,
            rows=rows,
            context=self.context,
            alignment=family.alignment,
            first_token=family.first_token,
            fuse=fuse,
            usage=usage,
        )

    def _token_rules(self, decode: DecodeConfig) -> "TokenRules":
        from ..decoding.choose import Endings
        from ..decoding.ending import TokenRules

        stops = self.checkpoint.stop_ids
        endings = Endings(*stops[:2])
        mask = self.checkpoint.mask_id if self.checkpoint.family.masked else -1
        return TokenRules(mask, frozenset(stops), self.banned(decode.never), self.text, decode.stop, endings)

    def text(self, ids: Sequence[int]) -> str:
        """Decode response tokens, special ones left out."""
        text: str = self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    def banned(self, never: str) -> Any:
        """Tokens that are never drawn: the mask, and embedding rows that no token of the tokenizer uses."""
        import torch

        weight = self.network.lm_head.weight
        banned = torch.full((weight.shape[0],), never == "unused")
        banned[[i for i in self.tokenizer.get_vocab().values() if i < len(banned)]] = False
        if self.checkpoint.family.masked:
            banned[self.checkpoint.mask_id] = never != "nothing"
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
            block_offset=len(request.prompt_ids) % _whole(decode.block_size) if self._absolute else 0,
            forward_passes=decoded.passes,
            cache=decode.cache,
            finish=decoded.finish,
            text=_before(self.text(kept), decode.stop),
            decode=decode,
            model=self.info,
            seconds=round(decoded.seconds, 6),
            events=tuple(sequence.events),
            detail=decoded.detail,
            canvas=decoded.canvas,
            note=_NOTES.get(decode.algorithm) or _NOTES.get(decode.cache, ""),
        )

    @property
    def _absolute(self) -> bool:
        """Whether blocks lie at multiples of the block size from position 0."""
        family = self.checkpoint.family
        return family.attention == "block_causal" and family.alignment == "absolute"


_NOTES = {
    "diffusion_gemma": "no log-probability in closed form: logprobs are 0; events are the changes of the best guesses",
    "prefix": "approximate prefix cache: log-probabilities come from stale keys and cannot be recomputed",
    "dual": "approximate dual cache: log-probabilities come from stale keys and cannot be recomputed",
}


def load_model(
    name: str,
    *,
    dtype: str = "auto",
    device: str = "auto",
    revision: str | None = None,
    family: str | None = None,
    mask_id: int | None = None,
    block_size: int | None = None,
    adapter: str | None = None,
) -> Model:
    """Load a checkpoint by embedded name, directory or hub id.

    `dtype` "auto" is float32 on a CPU and the checkpoint's own elsewhere; `device` "auto" is the first accelerator, else the
    CPU; `family`, `mask_id` and `block_size` say what the checkpoint does not; `adapter` is a LoRA's directory. Raises
    InputError in one line for whatever is wrong with the checkpoint or the settings.
    """
    import torch

    if dtype not in DTYPES:
        raise InputError(f"--dtype {dtype}: not one of {', '.join(DTYPES)}")
    checkpoint = open_checkpoint(name, revision, family=family, mask_id=mask_id, block_size=block_size, adapter=adapter)
    device = _device(device)
    chosen = ("float32" if device == "cpu" else own_dtype(checkpoint)) if dtype == "auto" else dtype
    network = load_network(checkpoint, getattr(torch, chosen), device)
    info = ModelInfo(checkpoint.id, checkpoint.revision, checkpoint.family.name, checkpoint.fingerprint(), chosen)
    return Model(checkpoint, network, info)


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


def own_dtype(checkpoint: Checkpoint) -> str:
    """The dtype that a checkpoint says its weights have."""
    own = checkpoint.config.get("dtype") or checkpoint.config.get("torch_dtype") or "bfloat16"
    return str(own) if own in DTYPES else "bfloat16"


def _whole(value: int | None) -> int:
    if value is None:
        raise ValueError("the decode settings are not resolved")
    return value
