"""`prm`: a process reward model with the interface of Qwen2.5-Math-PRM (arXiv 2501.07301): a two-class head at step separators.

The solution goes to the model as one assistant turn, each step followed by the separator token (`<extra_0>`); the softmax over
the two classes at a separator gives the probability that the step before it is right. The released layout is read by
transformers' own Qwen2 without remote code: `model.*`, and the head as `score.0`, `score.2` (a hidden layer between them) or as
one `score`. Not covered: reward models that speak through their language head.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from ...rewards.errors import InputError
from ...rewards.records import Message, StepReward
from ...rewards.steps import Shape, shaped
from ..models.checkpoint import fingerprint
from .base import Context, Item, Steps
from .options import check_types, require, version
from .splitting import Split, step_spans

SYSTEM = "Please reason step by step, and put your final answer within \\boxed{}."
"""The system turn of the model card of Qwen2.5-Math-PRM."""
_FILES = ["*.json", "*.safetensors", "*.txt", "*.jinja", "*.model"]


@dataclass(frozen=True)
class PrmReward:
    """The probability that each step is right, according to the process reward model `model` (a directory or a hub id).

    `split`: what a step is; a `chunk` has so many characters. `shape`: how probabilities become rewards. `separator`: the token
    behind a step. `positive`: the class that means right.
    """

    model: str = ""
    split: Split = "auto"
    chunk: int = 800
    shape: Shape = "mean"
    separator: str = "<extra_0>"
    positive: Literal[0, 1] = 1
    system: str = SYSTEM
    batch: int = 8
    device: str = "auto"
    dtype: str = "auto"

    def __post_init__(self) -> None:
        check_types(self)
        require(self, bool(self.model), "model", "given: a checkpoint directory or a hub id")
        require(self, self.batch >= 1, "batch", "at least 1")
        require(self, self.chunk >= 1, "chunk", "at least 1")

    @property
    def name(self) -> str:
        return "prm"

    @property
    def version(self) -> str:
        """The weights are part of it, wherever they lie."""
        weights = fingerprint(_located(self.model))
        return f"{version(self, '1', without=('model', 'batch', 'device'))}-{weights}"

    def rewards(self, items: Sequence[Item], context: Context) -> Iterator[Steps]:
        """Yield the steps of each item; a solution longer than the model's context could not be judged."""
        judge = _load(self.model, self.dtype, self.device)
        todo = iter(items)
        while part := list(islice(todo, self.batch)):
            spans = [step_spans(item.rollout.text, self.split, self.chunk) for item in part]
            inputs = [self._ids(judge, item, of_item) for item, of_item in zip(part, spans, strict=True)]
            fits = [i for i, ids in enumerate(inputs) if spans[i] and len(ids) <= judge.context]
            scores = dict(zip(fits, judge.probabilities([inputs[i] for i in fits], self._separator(judge)), strict=True))
            for i in range(len(part)):
                yield self._steps(spans[i], scores.get(i), len(inputs[i]), judge.context)

    def _steps(self, spans: list[tuple[int, int]], scores: list[list[float]] | None, length: int, context: int) -> Steps:
        if not spans:
            return Steps((), "prm: the response is empty")
        if scores is None:
            return Steps(None, f"prm: the solution has {length} tokens, the model's context {context}")
        steps = [StepReward(*span, classes[self.positive]) for span, classes in zip(spans, scores, strict=True)]
        return Steps(shaped(steps, self.shape), parts={"process.steps": float(len(steps))})

    def _separator(self, judge: "_Judge") -> int:
        ids: list[int] = judge.tokenizer.encode(self.separator, add_special_tokens=False)
        if len(ids) != 1:
            raise InputError(f"process reward 'prm': option 'separator': {self.separator!r} is not one token of {self.model}")
        return ids[0]

    def _ids(self, judge: "_Judge", item: Item, spans: list[tuple[int, int]]) -> list[int]:
        """Everything up to the last separator; what comes behind it cannot matter to a causal model."""
        turns = [Message("system", self.system)] if self.system else []
        turns += [turn for turn in item.problem.prompt if turn.role != "system"]
        plain = [{"role": turn.role, "content": judge.plain(turn.content, self.separator)} for turn in turns]
        if turns[-1:] and turns[-1].role == "assistant":
            plain.pop()  # an answer that was begun for the policy; the text of the response goes on from it
        ids = list(judge.tokenizer.apply_chat_template(plain, add_generation_prompt=True, tokenize=True, return_dict=False))
        separator = self._separator(judge)
        for start, end in spans:
            step = judge.plain(item.rollout.text[start:end], self.separator)
            ids += [*judge.tokenizer.encode(step, add_special_tokens=False), separator]
        return ids


class _Judge:
    """A loaded process reward model."""

    def __init__(self, network: Any, tokenizer: Any) -> None:
        self.network, self.tokenizer = network, tokenizer

    @property
    def context(self) -> int:
        return int(self.network.model.config.max_position_embeddings)

    def plain(self, text: str, separator: str) -> str:
        """Text without the spellings of special tokens, which a solution must not be able to bring in."""
        for token in (separator, *self.tokenizer.all_special_tokens):
            text = text.replace(token, " ")
        return text

    def probabilities(self, inputs: list[list[int]], separator: int) -> list[list[list[float]]]:
        """The two classes' probabilities at every separator of each input."""
        import torch

        if not inputs:
            return []
        device = next(self.network.parameters()).device
        longest = max(map(len, inputs))
        ids = torch.tensor([[*one, *[0] * (longest - len(one))] for one in inputs], device=device)
        mask = torch.tensor([[1] * len(one) + [0] * (longest - len(one)) for one in inputs], device=device)
        with torch.inference_mode():
            classes = self.network(ids, mask).float().softmax(dim=-1).cpu()
        places = [[i for i, token in enumerate(one) if token == separator] for one in inputs]
        return [[classes[row, i].tolist() for i in of_row] for row, of_row in enumerate(places)]


@lru_cache(1)
def _load(name: str, dtype: str, device: str) -> _Judge:
    import torch
    from transformers import AutoConfig, AutoTokenizer

    path = _located(name)
    config = AutoConfig.from_pretrained(path)
    if config.model_type != "qwen2":
        raise InputError(f"process reward 'prm': {name}: model_type {config.model_type!r}; the interface is that of qwen2 models")
    device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    chosen = ("float32" if device == "cpu" else "bfloat16") if dtype == "auto" else dtype
    network = _network(config, _weights(path), name).to(device=device, dtype=getattr(torch, chosen)).eval()
    return _Judge(network, AutoTokenizer.from_pretrained(path))


def _weights(path: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    files = sorted(path.glob("*.safetensors"))
    if not files:
        raise InputError(f"process reward 'prm': {path}: no .safetensors file")
    return {key: value for file in files for key, value in load_file(file).items()}


def _network(config: Any, weights: Mapping[str, Any], name: str) -> Any:
    import torch
    from transformers import Qwen2Model

    class Network(torch.nn.Module):
        """A Qwen2 trunk with a two-class head; parameters are named as in the release."""

        def __init__(self) -> None:
            super().__init__()
            size = config.hidden_size
            self.model = Qwen2Model(config)
            plain = "score.weight" in weights
            hidden = torch.nn.Sequential(torch.nn.Linear(size, size), torch.nn.ReLU(), torch.nn.Linear(size, 2))
            self.score = torch.nn.Linear(size, 2, bias="score.bias" in weights) if plain else hidden

        def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.score(self.model(input_ids=ids, attention_mask=mask).last_hidden_state)
            return out

    network = Network()
    kept = {key: value for key, value in weights.items() if key != "lm_head.weight"}
    try:
        missing, unexpected = network.load_state_dict(kept, strict=False)
    except RuntimeError as error:
        raise InputError(f"process reward 'prm': {name}: {' '.join(str(error).split())[:200]}") from None
    if missing or unexpected:
        odd = [f"{key} is missing" for key in missing] + [f"{key} is unknown" for key in unexpected]
        raise InputError(f"process reward 'prm': {name}: not a process reward model of this kind: {', '.join(odd[:3])}")
    return network


@lru_cache(8)
def _located(name: str) -> Path:
    if (path := Path(name)).is_dir():
        return path
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=_FILES))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise InputError(
            f"process reward 'prm': {name}: neither a directory nor to be had from the hub ({type(error).__name__})"
        ) from None
