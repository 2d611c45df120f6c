"""What a run ran on: versions, hardware, numeric settings. For the record; nothing reads it back."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from .config import RunConfig
from .models.model import Model

_PACKAGES = ("unmask", "torch", "transformers", "tokenizers", "datasets", "math-verify", "sympy", "numpy", "pyarrow")


def environment(model: Model, config: RunConfig) -> dict[str, Any]:
    """Describe the machine and the libraries of this session."""
    import torch

    device = next(model.network.parameters()).device
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: package_version(name) for name in _PACKAGES},
        "device": str(device),
        "accelerator": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "dtype": model.info.dtype,
        "attention": model.network.config._attn_implementation,
        "max_batch": config.max_batch,
    }


def package_version(name: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
