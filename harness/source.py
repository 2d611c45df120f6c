"""Where a run's completions come from: a checkpoint on this machine, or an endpoint. Both can be planned with before any
weights are loaded.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from ..rewards.errors import InputError
from ..rewards.records import Message
from .config import RunConfig
from .decoding.presets import official
from .decoding.settings import resolve
from .models.checkpoint import Checkpoint, open_checkpoint
from .models.model import load_model
from .models.remote import RemoteModel, is_remote
from .records import DecodeConfig, ModelInfo, Request, Rollout

Source = Checkpoint | RemoteModel


class Generator(Protocol):
    """What a run needs of a model."""

    @property
    def info(self) -> ModelInfo: ...

    def encode(self, messages: Sequence[Message]) -> tuple[int, ...]: ...

    def generate(self, requests: Iterable[Request], decode: DecodeConfig, *, max_batch: int) -> Iterator[Rollout]: ...


def open_source(config: RunConfig) -> Source:
    """What can be known of the model without loading it. Raises InputError for what is wrong with it."""
    return RemoteModel(config.model) if is_remote(config.model) else open_checkpoint(config.model, **config.model_options())


def load_source(config: RunConfig, source: Source, device: str) -> Generator:
    """The model itself."""
    if isinstance(source, RemoteModel):
        return source
    return load_model(config.model, dtype=config.dtype, device=device, **config.model_options())


def authors_own(decode: DecodeConfig, source: Source, task: str) -> DecodeConfig:
    """The settings of the checkpoint's authors for a task, `decode` on top. Raises InputError where there are none."""
    if isinstance(source, RemoteModel):
        raise InputError("--decode official: the endpoint decides how it decodes; set it there")
    return official(decode, source, task)


def settle(decode: DecodeConfig, source: Source) -> DecodeConfig:
    """The decode settings as they will be used. Raises InputError for what the model does not allow."""
    if isinstance(source, RemoteModel):
        return source.resolve(decode)
    if source.tokenizer.chat_template is None:
        raise InputError(f"{source.path}: the tokenizer has no chat template; add `chat_template` to tokenizer_config.json")
    return resolve(decode, source)
