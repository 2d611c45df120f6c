"""LoRA: low-rank adapters in place, and merging them into plain weights. peft (the extra `lora`) does the work."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from ..rewards.errors import InputError
from .config import LoraConfig


def add_adapters(network: Any, config: LoraConfig) -> None:
    """Put adapters into the linear layers that `config.targets` names, and freeze everything else.

    Raises InputError where peft is missing or no layer has such a name.
    """
    try:
        from peft import LoraConfig as PeftConfig
        from peft import inject_adapter_in_model
    except ImportError:
        raise InputError("lora: needs peft; install it with `pip install 'unmask[lora]'`") from None
    settings = PeftConfig(
        r=config.rank, lora_alpha=config.alpha, lora_dropout=config.dropout, target_modules=list(config.targets)
    )
    try:
        inject_adapter_in_model(settings, network)
    except ValueError:
        names = sorted({name.rpartition(".")[2] for name, module in network.named_modules() if hasattr(module, "in_features")})
        raise InputError(f"lora.targets: no layer is called {', '.join(config.targets)}; layers: {', '.join(names)}") from None
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(".lora_" in name)


def has_adapters(network: Any) -> bool:
    """Whether `add_adapters` was called on the network."""
    return any(".lora_" in name for name, _ in network.named_parameters())


def plain_weights(network: Any) -> Iterator[tuple[str, Tensor]]:
    """The weights under the names of a network without adapters, adapters merged in: W + (alpha / rank) B A."""
    modules = dict(network.named_modules())
    for name, weight in network.state_dict().items():
        if ".lora_" in name:
            continue
        owner, inside, kind = name.partition(".base_layer.")
        if not inside:
            yield name, weight
        else:
            delta = modules[owner].get_delta_weight("default") if kind == "weight" else 0
            yield f"{owner}.{kind}", weight + delta
