"""How many sequences the key-value cache has room for.

Covered: the cache of block-causal decoding, one row of `positions` for each sequence. Not covered: weights and activations.
"""

import re
from dataclasses import dataclass
from typing import Any

from ...rewards.errors import InputError

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


@dataclass(frozen=True, slots=True)
class Layout:
    """Rows of the cache, and positions of each."""

    rows: int
    positions: int


@dataclass(frozen=True, slots=True)
class CachePlan:
    """What a cache may take: at most `rows` sequences, and `budget` bytes (None: no limit) at `position_bytes` a position."""

    rows: int
    position_bytes: int
    budget: int | None = None

    def layout(self, positions: int) -> Layout:
        """The most rows for sequences of up to `positions`. Raises InputError if not even one fits into the budget."""
        if self.budget is None:
            return Layout(self.rows, positions)
        rows = min(self.rows, self.budget // (positions * self.position_bytes))
        if rows == 0:
            raise InputError(
                f"--kv-budget {size_text(self.budget)}: one sequence of {positions} positions takes "
                f"{size_text(positions * self.position_bytes)} of cache; give at least that, or lower decode.max_new_tokens"
            )
        return Layout(rows, positions)


def position_bytes(network: Any) -> int:
    """Bytes of keys and values that one position takes over all layers."""
    config = network.config
    dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    layer = 2 * int(config.num_key_value_heads) * int(dim)
    return layer * int(config.num_hidden_layers) * int(next(network.parameters()).element_size())


def parse_size(text: str, name: str) -> int:
    """Bytes from "512MiB", "2G", "1073741824". Raises InputError, with `name` as the place, for anything else."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?\s*", text, re.IGNORECASE)
    if not found or float(found[1]) == 0:
        raise InputError(f"{name} {text}: not a size; write for example 512MiB or 2GiB")
    return int(float(found[1]) * _UNITS[found[2].upper()])


def size_text(size: int) -> str:
    """A size for people, rounded up so that it is enough."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20)):
        if size >= factor:
            return f"{-(-size * 100 // factor) / 100:g} {unit}"
    return f"{-(-size // 1024)} KiB"
