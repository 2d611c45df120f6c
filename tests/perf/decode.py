"""The engine beside plain loops: tokens a second, forward passes for each token, memory, and whether the tokens are the same.

    python -P tests/perf/decode.py                                  # CPU: the embedded model, and random weights of 0.1B parameters
    python -P tests/perf/decode.py --device cuda --shape 1.7b,8b    # random weights in SDAR's shapes, bf16, with the bandwidth floor

The plain loops (`plain_decoding.py`) decode one request after another, with transformers' own exact cache and without any, as the
published loops of SDAR and TraceRL do. All decode greedily with the dynamic rule at threshold 0.9. Workloads of the embedded model:
`arith`, 64 test problems that end by themselves (15 to 50 tokens), and `mixed`, 64 problems that go on to a length of their own
between 64 and 640 tokens. Random weights end at their lengths. Figures are medians of `--repeat` runs, taken in turn; the loops may
be given fewer requests (`--plain`), whose tokens a second are compared. `rows in use` is the share of the rows of a pass, weighted
by passes, that belong to unfinished requests.
"""

import argparse
import dataclasses
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

sys.path.append(str(Path(__file__).parent))
import plain_decoding  # type: ignore[import-not-found, unused-ignore]  # noqa: E402

from unmask import DecodeConfig, Model, Request, load_benchmark, load_model  # noqa: E402
from unmask.harness.models.denoiser import BlockDenoiser  # noqa: E402

THRESHOLD = 0.9
SHAPES = {
    "0.1b": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "num_key_value_heads": 4, "head_dim": 64}
    | {"intermediate_size": 2048, "vocab_size": 16384},
    "1.7b": {"hidden_size": 2048, "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128}
    | {"intermediate_size": 6144, "vocab_size": 151936},
    "8b": {"hidden_size": 4096, "num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128}
    | {"intermediate_size": 12288, "vocab_size": 151936},
}


@dataclass(frozen=True)
class Run:
    """One way's run over a workload."""

    outputs: dict[str, list[int]]
    passes: int
    seconds: float

    @property
    def tokens(self) -> int:
        return sum(len(tokens) for tokens in self.outputs.values())

    @property
    def rate(self) -> float:
        return self.tokens / self.seconds


class Usage:
    """Counts the rows of every forward pass of the engine, and those that belong to unfinished requests."""

    def __init__(self, denoiser: type[BlockDenoiser]) -> None:
        self.rows = self.used = self.passes = self.cache_bytes = 0
        original = denoiser.run

        def counted(this: BlockDenoiser, starts: torch.Tensor, *rest: Any, **named: Any) -> torch.Tensor:
            out = original(this, starts, *rest, **named)
            self.passes += 1
            self.used += len(starts)
            self.rows += max(len(starts), this.row_count)
            self.cache_bytes = max(self.cache_bytes, this.cache_bytes)
            return out

        denoiser.run = counted  # type: ignore[method-assign]
