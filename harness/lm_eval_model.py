"""Our engine as a model of lm-evaluation-harness (extra `lm-eval`), so that its tasks and its command line run on a DLM.

    python -m unmask.harness.lm_eval_model --model unmask --model_args pretrained=demo --tasks gsm8k --apply_chat_template

does what `lm_eval` does, with the model type `unmask` added; in Python, `simple_evaluate(model=UnmaskLM("demo"), ...)`. Answers
are generated greedily unless the task or `--gen_kwargs` asks for sampling, and ranked by `models.likelihood`. The other way
round, lm-eval's tasks as benchmarks of ours, is `--task lm_eval:NAME`. Not covered: images, several processes (`unmask eval`
shards its runs itself).
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from tqdm import tqdm

from ..rewards.errors import InputError, nearest
from ..rewards.serde import convert, encode
from .identity import request_seed
from .models.likelihood import Method, likelihood
from .models.model import Model, load_model
from .records import DecodeConfig, Request

try:
    from lm_eval.api.model import TemplateLM
    from lm_eval.models.utils import normalize_gen_kwargs
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
except ImportError as error:
    raise InputError(f"lm-evaluation-harness is not installed ({error}); pip install 'unmask[lm-eval]'") from None

MAX_NEW_TOKENS = 256
"""lm-eval's length limit for tasks that set none."""

_LOG = logging.getLogger(__name__)
_OURS = {"temperature", "top_p", "top_k"}
_THEIRS = {"until", "max_gen_toks", "do_sample"}


class UnmaskLM(TemplateLM):  # type: ignore[misc]
    """A diffusion language model for lm-eval.

    `pretrained` is a checkpoint or a loaded `Model`; `likelihood_method` and `mc_num` are `method` and `samples` of
    `models.likelihood`; `family`, `mask_id` and `adapter` are those of `load_model`; what else is given is decode settings
    (threshold=0.9, steps_per_block=4, ...). Raises InputError for what is unknown.
    """

    def __init__(
        self,
        pretrained: str | Model = "demo",
        *,
        revision: str | None = None,
        dtype: str = "auto",
        device: str | None = None,
        batch_size: int | str = 32,
        max_batch_size: int | None = None,
        likelihood_method: Method = "auto",
        mc_num: int = 128,
        seed: int = 0,
        family: str | None = None,
        mask_id: int | None = None,
        adapter: str | None = None,
        **decode: Any,
    ) -> None:
        super().__init__()
        if isinstance(pretrained, str):
            told: dict[str, Any] = {"revision": revision, "family": family, "mask_id": mask_id, "adapter": adapter}
            pretrained = load_model(pretrained, dtype=dtype, device=device or "auto", **told)
        self.model = pretrained
        self.tokenizer = self.model.tokenizer
        self._decode = replace(DecodeConfig(temperature=0.0), **_settings(decode))
        self._batch = int(batch_size) if str(batch_size).isdecimal() else 32
        self._method, self._samples, self._seed = likelihood_method, mc_num, seed

    @property
    def eot_token_id(self) -> int:
        """The first of the checkpoint's stop tokens."""
        return int(self.model.checkpoint.stop_ids[0])

    @property
    def max_length(self) -> int:
        """The most tokens of prompt and answer together."""
        return self.model.context

    @property
    def tokenizer_name(self) -> str:
        """Part of lm-eval's key for cached requests."""
        return f"{self.model.info.id}-{self.model.info.fingerprint}".replace("/", "__")

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """A conversation as text; without a generation prompt its last turn is gone on with."""
        text: str = self.tokenizer.apply_chat_template(
            chat_history,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt,
        )
        return text

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        """Token ids; a beginning-of-text token that a chat template wrote is not doubled."""
        begun = bool(self.tokenizer.bos_token) and string.startswith(self.tokenizer.bos_token)
        special = not begun if add_special_tokens is None else add_special_tokens
        return list(self.tokenizer.encode(string, add_special_tokens=special))

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """Answer each request up to its stop strings. Requests with the same settings share batches."""
        groups: dict[DecodeConfig, list[int]] = defaultdict(list)
        for index, request in enumerate(requests):
            groups[self._decode_of(request.args[1])].append(index)
        answers = [""] * len(requests)
        with tqdm(total=len(requests), desc="Running generate_until requests", disable=disable_tqdm) as bar:
            for decode, indices in groups.items():
                for rollout in self.model.generate(self._requests(requests, indices, decode), decode, max_batch=self._batch):
                    index = int(rollout.problem_id)
                    answers[index] = rollout.text
                    self.cache_hook.add_partial("generate_until", requests[index].args, rollout.text)
                    bar.update()
        return answers

    def _decode_of(self, settings: dict[str, Any]) -> DecodeConfig:
        """A request's settings over the model's. Raises InputError for one that a diffusion model has no use for."""
        wanted = normalize_gen_kwargs(dict(settings), default_max_gen_toks=MAX_NEW_TOKENS)
        for name in wanted:
            if name not in _OURS | _THEIRS:
                raise InputError(f"generation setting {name!r}{nearest(name, _OURS | _THEIRS)}: not one that this model knows")
        chosen = {name: wanted[name] for name in _OURS if name in settings}
        if wanted.get("do_sample"):
            chosen["temperature"] = wanted["temperature"] or 1.0
        elif "do_sample" in settings or "temperature" in settings:
            chosen["temperature"] = 0.0
        stop = tuple(text for text in wanted["until"] if text)
        return replace(self._decode, max_new_tokens=wanted["max_gen_toks"], stop=stop, **_settings(chosen))

    def _requests(self, requests: Sequence[Any], indices: Sequence[int], decode: DecodeConfig) -> list[Request]:
        """The longest prompts first, so that the last batches are the quick ones."""
        seen: Counter[str] = Counter()
        made = []
        for index in indices:
            context = requests[index].args[0]
            seed = request_seed(self._seed, "lm_eval", context, seen[context])
            seen[context] += 1
            made.append(Request(str(index), 0, self._fitting(context, decode.max_new_tokens or 0), seed))
        return sorted(made, key=lambda request: -len(request.prompt_ids))

    def _fitting(self, context: str, answer: int) -> tuple[int, ...]:
        """The prompt's tokens; where the context has no room for them and an answer, the beginning is cut off, with a warning."""
        ids, room = self.tok_encode(context), max(self.max_length - answer, self.max_length // 2)
        if len(ids) > room:
            _LOG.warning("a prompt of %d tokens is cut to its last %d", len(ids), room)
        return tuple(ids[-room:])

    def _loglikelihood_tokens(
        self, requests: list[tuple[tuple[str, str], list[int], list[int]]], disable_tqdm: bool = False, **_: Any
    ) -> list[tuple[float, bool]]:
        """(log-probability, whether greedy decoding gives it) of each continuation; the same pair is measured once."""
        known: dict[tuple[tuple[int, ...], tuple[int, ...]], tuple[float, bool]] = {}
        found = []
        for key, context, continuation in tqdm(requests, desc="Running loglikelihood requests", disable=disable_tqdm):
            pair = (tuple(context), tuple(continuation))
            if pair not in known:
                known[pair] = self._measure(context, continuation)
            found.append(known[pair])
            self.cache_hook.add_partial("loglikelihood", key, known[pair])
        return found

    def _measure(self, context: list[int], continuation: list[int]) -> tuple[float, bool]:
        kept = context[-max(self.max_length - len(continuation), 0) :] if len(continuation) < self.max_length else []
        settings: dict[str, Any] = {"samples": self._samples, "seed": self._seed, "max_batch": self._batch}
        result = likelihood(self.model, kept, continuation, method=self._method, **settings)
        if result.greedy is None:  # Monte Carlo opens no tokens; greedy decoding does, in the order of confidence
            result = replace(result, greedy=likelihood(self.model, kept, continuation, method="confidence", **settings).greedy)
        return result.log_probability, bool(result.greedy)

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        """The log-probability of whole texts; one longer than the context is cut into windows, as lm-eval prescribes."""
        found = []
        for request in tqdm(requests, desc="Running loglikelihood_rolling requests", disable=disable_tqdm):
            windows = get_rolling_token_windows(
                self.tok_encode(request.args[0]), self.prefix_token_id, max_seq_len=self.max_length - 1, context_len=1
            )
            pairs = [(("", ""), *make_disjoint_window(window)) for window in windows]
            total = sum(value for value, _ in self._loglikelihood_tokens(pairs, disable_tqdm=True))
            found.append(total)
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, total)
        return found


def _settings(given: dict[str, Any]) -> dict[str, Any]:
    """Decode settings by name, in the types of the record. Raises InputError for a name that is none."""
    from typing import get_type_hints

    hints = get_type_hints(DecodeConfig)
    known = [field.name for field in fields(DecodeConfig)]
    for name in given:
        if name not in known:
            raise InputError(f"model argument {name!r}{nearest(name, known)}: neither the model's nor a decode setting")
    return {name: convert(hints[name], encode(value), "model arguments", name) for name, value in given.items()}


def main() -> None:
    """lm-eval's own command line, which then knows the model type `unmask`."""
    import lm_eval.models  # noqa: F401  # lm-eval registers its own models only while none is registered
    from lm_eval.__main__ import cli_evaluate
    from lm_eval.api.registry import register_model

    register_model("unmask")(UnmaskLM)
    cli_evaluate()


if __name__ == "__main__":
    main()
