"""What a run ran on: versions, hardware, numeric settings. For the record; nothing reads it back."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from .config import RunConfig
from .models.model import Model
from .source import Generator

_PACKAGES = (
    "unmask",
    "torch",
    "transformers",
    "tokenizers",
    "datasets",
    "math-verify",
    "sympy",
    "numpy",
    "pyarrow",
    "orjson",
    "ray",
)


def environment(model: Generator, config: RunConfig) -> dict[str, Any]:
    """Describe the machine and the libraries of this session."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: package_version(name) for name in _PACKAGES},
        "cores": os.cpu_count(),
        "dtype": model.info.dtype,
        "max_batch": config.max_batch,
        **(_numerics(model) if isinstance(model, Model) else {"endpoint": model.info.id}),
    }


def _numerics(model: Model) -> dict[str, Any]:
    """What the model's numbers depend on."""
    import torch

    device = next(model.network.parameters()).device
    return {
        "device": str(device),
        "accelerator": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "threads": torch.get_num_threads(),
        "attention": model.network.config._attn_implementation,
    }


def package_version(name: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
