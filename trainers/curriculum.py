"""Training with larger blocks than the rollouts had: how a block model learns to decode more tokens side by side.

Source: TraceRL (arXiv 2509.06949, section 5.6): rollouts with block size B are trained on as if decoded with 2B, then both have
2B. The recorded steps stay as they are: within a wider block, the first half was simply decided first.
"""

from dataclasses import replace

from ..harness.records import Sample


def widen(sample: Sample, block_size: int) -> Sample:
    """The sample with its blocks counted in `block_size`, a multiple of the rollout's own.

    Blocks lie at absolute multiples of their size, so each wide block is a whole number of the rollout's. The last one may be
    cut short. `logprobs` stay those of the narrow blocks: the wide context is another.
    """
    rollout = sample.rollout
    if rollout.block_size == block_size:
        return sample
    return replace(sample, rollout=replace(rollout, block_size=block_size, block_offset=len(rollout.prompt_ids) % block_size))
