"""Groups: the responses to one draw of a problem, and which groups carry a lesson. Pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..harness.records import Sample
from .config import GroupConfig


@dataclass(frozen=True, slots=True)
class Group:
    """All samples of one draw, in order."""

    number: int
    samples: tuple[Sample, ...]

    @property
    def rewards(self) -> list[float]:
        """The rewards of the samples that could be judged."""
        return [sample.verdict.reward for sample in self.samples if sample.verdict.reward is not None]


def is_kept(group: Group, config: GroupConfig) -> bool:
    """Whether a group is trained on. One of which nothing could be judged never is."""
    rewards = group.rewards
    if not rewards:
        return False
    mean = sum(rewards) / len(rewards)
    if config.min_reward is not None and mean < config.min_reward:
        return False
    if config.max_reward is not None and mean > config.max_reward:
        return False
    return not (config.drop_equal and len(set(rewards)) == 1)


def share(groups: Sequence[Group], rank: int, ranks: int) -> list[Sample]:
    """The samples of this rank's groups: every `ranks`-th, so that loads differ by one group at most."""
    return [sample for group in groups[rank::ranks] for sample in group.samples]
