"""The objective the slow and plain way, written without the fast path: one network call per row, dense masks from Python loops,
logits at every position, and one token at a time in the loss.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from unmask.harness.models.model import Model
from unmask.harness.records import Rollout


def steps_of_block(rollout: Rollout, block: int, size: int) -> list[int]:
    """The distinct steps that fixed tokens of a block (counted by absolute position), in order."""
    prompt = len(rollout.prompt_ids)
    inside = [step for i, step in enumerate(rollout.step_map) if (prompt + i) // size == block]
    return sorted(set(inside))


def block_rows(rollout: Rollout, size: int, shrink: int = 1) -> list[tuple[list[int], list[int], list[int]]]:
    """(noisy response, positions that carry loss, their step numbers) of every row, as in TraceRL's rounds."""
    prompt = len(rollout.prompt_ids)
    rank = []
    for i, step in enumerate(rollout.step_map):
        order = steps_of_block(rollout, (prompt + i) // size, size)
        rank.append(order.index(step) // shrink)
    rows = []
    for number in range(max(rank) + 1):
        hidden = [i for i, r in enumerate(rank) if r >= number]
        targets = [i for i, r in enumerate(rank) if r == number and i < rollout.length]
        if targets:
            blocks = [(prompt + i) // size for i in targets]
            rows.append((hidden, targets, blocks))
    return rows


def dense_mask(prompt: int, response: int, size: int) -> Tensor:
    """Who sees whom in [prompt | clean response | noisy response], entry by entry."""
    total = prompt + 2 * response
    place = [*range(prompt + response), *range(prompt, prompt + response)]
    noisy = [False] * (prompt + response) + [True] * response
    sees = torch.zeros(total, total, dtype=torch.bool)
    for q in range(total):
        for k in range(total):
            query, key = place[q] // size, place[k] // size
            if noisy[q] and noisy[k]:
                sees[q, k] = query == key
            elif noisy[q]:
                # The prompt's tail shares the first block and has no noisy copy of its own.
                sees[q, k] = key < query or (key == query and k < prompt)
            elif not noisy[k]:
                sees[q, k] = key <= query
    return sees


def row_logprobs(model: Model, rollout: Rollout, size: int, hidden: Sequence[int]) -> Tensor:
    """Log-probabilities (response tokens, vocabulary) of one row.

    Where the prompt ends inside a block, its tail must see the noisy tokens of that block as it does while sampling: the tail is
    then copied into the noisy part too.
    """
    prompt, tokens = list(rollout.prompt_ids), list(rollout.token_ids)
    start = len(prompt) // size * size
    tail = prompt[start:]
    noisy = tail + [model.checkpoint.mask_id if i in set(hidden) else token for i, token in enumerate(tokens)]
    mask = dense_mask(start, len(noisy), size)
    ids = torch.tensor([prompt[:start] + tail + tokens + noisy])
    positions = torch.tensor([[*range(start + len(noisy)), *range(start, start + len(noisy))]])
    out = model.network(input_ids=ids, position_ids=positions, attention_mask=mask[None, None], use_cache=False)
    return torch.log_softmax(out.logits[0, -len(tokens) :], dim=-1)


def canvas_rows(rollout: Rollout, shrink: int) -> list[tuple[list[int], list[int]]]:
    """(hidden positions, positions that carry loss) of every shrunk step of a full-attention rollout."""
    order = sorted({step for step in rollout.step_map if step >= 0})
    rank = [order.index(step) // shrink if step >= 0 else len(order) for step in rollout.step_map]
    rows = []
    for number in range(max(order.index(s) // shrink for s in order) + 1):
        targets = [i for i, r in enumerate(rank) if r == number and i < rollout.length]
        if targets:
            rows.append(([i for i, r in enumerate(rank) if r >= number], targets))
    return rows


def canvas_logprobs(model: Model, rollout: Rollout, hidden: Sequence[int]) -> Tensor:
    """Log-probabilities (response tokens, vocabulary) of one row under full attention, every logit computed."""
    prompt = list(rollout.prompt_ids)
    shown = [model.checkpoint.mask_id if i in set(hidden) else token for i, token in enumerate(rollout.token_ids)]
    logits = model.network(input_ids=torch.tensor([prompt + shown]), is_causal=False, use_cache=False).logits[0]
    if model.checkpoint.family.shift:
        logits = torch.cat([logits[:1], logits[:-1]])
    return torch.log_softmax(logits[len(prompt) :], dim=-1)
