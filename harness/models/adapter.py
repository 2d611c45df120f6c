"""LoRA adapters: a directory with `adapter_config.json` and `adapter_model.safetensors`, added to the weights once loaded.

The adapter is merged, so that everything behind it sees an ordinary network and `save_model` writes the merged model. An adapter
trained on a family's own code names the modules as the release does; these names are translated like the weights'. Covered: what
`peft` calls LORA, with its variants. Not covered: other kinds of adapters, whole modules saved beside one, single experts.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...rewards.errors import InputError
from .families import Family
from .settings import one_line, read_json

_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter that was found; its weights are not loaded yet."""

    path: Path
    config: dict[str, Any]

    @property
    def base(self) -> str:
        """The model that it says it was trained on, or an empty string."""
        return str(self.config.get("base_model_name_or_path") or "")


def open_adapter(name: str) -> Adapter:
    """Find and read an adapter. Raises InputError for what is missing or not covered."""
    path = Path(name).expanduser()
    if not path.is_dir():
        raise InputError(f"--adapter {name}: no such directory; give the one that holds {_CONFIG}")
    config = read_json(path / _CONFIG, f"--adapter {name}: no {_CONFIG} in it")
    if config.get("peft_type") != "LORA":
        raise InputError(f"--adapter {name}: its peft_type is {config.get('peft_type')!r}; only LORA is covered")
    if config.get("modules_to_save"):
        saved = ", ".join(config["modules_to_save"])
        raise InputError(f"--adapter {name}: holds whole modules ({saved}) beside the LoRA; merge it where it was trained")
    if not (path / _WEIGHTS).exists():
        raise InputError(f"--adapter {name}: no {_WEIGHTS} in it")
    return Adapter(path, config)


def merge_adapter(network: Any, adapter: Adapter, family: Family) -> Any:
    """Add an adapter to the weights, in their dtype. Raises InputError where it does not fit the network."""
    try:
        from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
    except ImportError:
        raise InputError("--adapter needs peft: pip install 'unmask[lora]'") from None

    state = _translated(adapter, family)
    whole = next((name for name in state if ".lora_" not in name), None)
    if whole:
        raise InputError(
            f"--adapter {adapter.path}: holds whole weights ({whole}) beside the LoRA; merge it where it was trained"
        )
    modules = sorted({_module(name) for name in state})
    known = dict(network.named_modules())
    unknown = [module for module in modules if module not in known]
    if not modules or unknown:
        detail = f"the model has no module {unknown[0]}" if unknown else "it is empty"
        raise InputError(f"--adapter {adapter.path}: does not fit the model: {detail}")
    try:
        config = LoraConfig.from_pretrained(str(adapter.path))
        config.target_modules = set(modules)
        config.base_model_name_or_path = None  # where the adapter was trained says nothing of where the model lies here
        tuned = get_peft_model(network, config)
        report = set_peft_model_state_dict(tuned, {f"base_model.model.{name}": value for name, value in state.items()})
        if report.unexpected_keys:
            raise InputError(f"--adapter {adapter.path}: holds unknown {report.unexpected_keys[0]}")
        return tuned.merge_and_unload(safe_merge=True).eval()
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"--adapter {adapter.path}: does not fit the model ({one_line(error)})") from None


def _translated(adapter: Adapter, family: Family) -> dict[str, Any]:
    """The adapter's weights under the names of the network's modules."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = load_file(adapter.path / _WEIGHTS)
    except SafetensorError as error:
        raise InputError(f"{adapter.path / _WEIGHTS}: damaged ({one_line(error)})") from None
    renamed = {_renamed(name.removeprefix("base_model.model."), family): value for name, value in state.items()}
    if family.renames and (adapter.config.get("rank_pattern") or adapter.config.get("alpha_pattern")):
        raise InputError(f"--adapter {adapter.path}: ranks by module name are not covered for the family {family.name}")
    return renamed


def _renamed(name: str, family: Family) -> str:
    for pattern, replacement in family.renames:
        name = re.sub(pattern, replacement, name)
    return name


def _module(name: str) -> str:
    """The module a LoRA weight belongs to: what stands before `.lora_A` and its like."""
    return name.partition(".lora_")[0]
