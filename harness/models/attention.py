"""Attention masks of the diffusion families, as boolean matrices (True: may attend).

Blocks are counted by absolute position: position p lies in block p // block_size.
"""

from torch import Tensor


def block_causal(queries: Tensor, keys: Tensor, block_size: int) -> Tensor:
    """Mask of a block-causal model: full inside a block, causal between blocks.

    `queries` (..., Q) and `keys` (..., K) hold absolute positions; returns (..., Q, K). Source: SDAR, arXiv 2510.06303.
    """
    return keys.unsqueeze(-2) // block_size <= queries.unsqueeze(-1) // block_size


def clean_and_noisy(positions: Tensor, copies: Tensor, block_size: int) -> Tensor:
    """Mask of one sequence [clean | noisy copies], as block diffusion trains (BD3-LM, arXiv 2503.09573, section 3.2).

    `positions` (..., N) are absolute positions and `copies` (..., N) say which copy a token belongs to: 0 clean, 1 and up
    noisy, negative padding. A clean token sees the clean blocks up to its own; a noisy one sees the clean blocks before its
    own and its own block in its own copy. Padding sees itself, so that no row is empty. Returns (..., N, N).
    """
    block = positions // block_size
    query_block, key_block = block.unsqueeze(-1), block.unsqueeze(-2)
    query_copy, key_copy = copies.unsqueeze(-1), copies.unsqueeze(-2)
    to_clean = (key_copy == 0) & ((key_block < query_block) | ((query_copy == 0) & (key_block == query_block)))
    to_own_block = (key_copy == query_copy) & (key_copy > 0) & (key_block == query_block)
    same = (key_copy == query_copy) & (positions.unsqueeze(-1) == positions.unsqueeze(-2))
    return (to_clean & (query_copy >= 0)) | to_own_block | same
