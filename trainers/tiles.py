"""Attention over long [clean | views] sequences, tile by tile, so that neither a dense mask nor what it masks is computed.

A tile is a run of queries. Clean queries see clean keys up to their own block; queries of views see the clean keys before the
tile's last block and the tile itself. Each tile is one call of PyTorch's SDPA with a mask of its own, a piece of
`attention.clean_and_noisy`. Views are sorted by place, so that a tile's keys end soon behind what its queries may see.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from .packing import Batch

NAME = "unmask_tiles"
"""What transformers calls this attention."""

SIZE = 512
"""Queries of a tile, about."""

LONG = 1024
"""Sequences from this length on are worth tiles; shorter ones share one call."""


@dataclass(frozen=True, slots=True)
class Tile:
    """Queries `start` to `stop`; keys 0 to `clean` and, where `own`, those of the queries. `mask` (queries, keys) bool."""

    start: int
    stop: int
    clean: int
    own: bool
    mask: Tensor


def tiles_of(batch: Batch) -> list[list[Tile]]:
    """The tiles of every sequence of a batch. Padding is in none."""
    return [_tiles(positions, copies, batch.width) for positions, copies in zip(batch.positions, batch.copies, strict=True)]


def _tiles(positions: Tensor, copies: Tensor, width: int) -> list[Tile]:
    clean, total = int((copies == 0).sum()), int((copies >= 0).sum())
    block = positions // width
    size = max(SIZE // width, 1) * width
    tiles = []
    for start in range(0, clean, size):
        stop = min(start + size, clean)
        tiles.append(Tile(start, stop, stop, False, block[:stop] <= block[start:stop, None]))
    for start in range(clean, total, size):
        stop = min(start + size, total)
        seen = int(block[start:stop].max()) * width
        own = slice(start, stop)
        same_view = (block[own] == block[own, None]) & (copies[own] == copies[own, None])
        tiles.append(Tile(start, stop, seen, True, torch.cat([block[:seen] < block[own, None], same_view], dim=1)))
    return tiles


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    tiles: list[list[Tile]] | None = None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Tensor, Any]:
    """An attention function of transformers: query (b, heads, N, d), key and value (b, kv heads, N, d) to (b, N, heads, d).

    Without tiles it is transformers' own for SDPA.
    """
    if tiles is None:
        plain: tuple[Tensor, Any] = sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **options)
        return plain
    groups = query.shape[1] // key.shape[1]
    key, value = (states.repeat_interleave(groups, dim=1) for states in (key, value))
    rows = [_row(query[i : i + 1], key[i : i + 1], value[i : i + 1], own, scaling) for i, own in enumerate(tiles)]
    return torch.cat(rows).transpose(1, 2).contiguous(), None


def _row(query: Tensor, key: Tensor, value: Tensor, tiles: list[Tile], scaling: float | None) -> Tensor:
    out = [
        scaled_dot_product_attention(
            query[:, :, tile.start : tile.stop], _keys(key, tile), _keys(value, tile), attn_mask=tile.mask, scale=scaling
        )
        for tile in tiles
    ]
    padding = query.shape[2] - (tiles[-1].stop if tiles else 0)
    return torch.cat([*out, query.new_zeros(1, query.shape[1], padding, query.shape[3])], dim=2)


def _keys(states: Tensor, tile: Tile) -> Tensor:
    clean = states[:, :, : tile.clean]
    return torch.cat([clean, states[:, :, tile.start : tile.stop]], dim=2) if tile.own else clean


AttentionInterface.register(NAME, attend)
