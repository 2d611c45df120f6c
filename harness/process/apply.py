"""Process rewards for judged samples: what `unmask score --process` and a training loop call."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice

from ...rewards.errors import InputError
from ...rewards.records import Problem, Verdict
from ..records import Sample
from .base import Context, Item, ProcessConfig, ProcessReward, Steps, combined, load_process_reward
from .placement import decoder_of, token_rewards

AT_ONCE = 64
"""Samples that are rewarded together: enough to fill batches and workers, few enough to lose in a crash."""


class Process:
    """A configured process reward. `config` is checked here, so that a mistake is found before anything is generated."""

    def __init__(self, config: ProcessConfig) -> None:
        self.config = config
        self.reward: ProcessReward = load_process_reward(config.name, config.options)

    @property
    def name(self) -> str:
        return self.reward.name

    @property
    def version(self) -> str:
        """Names everything that the rewards depend on, the combination included."""
        config = self.config
        return f"{self.reward.version}-{config.combine}-{config.weight:g}-{config.place}-{config.spread}"

    def apply(self, samples: Sequence[Sample], problems: Mapping[str, Problem], context: Context) -> list[Sample]:
        """Return the samples with their steps rewarded and joined to the outcome, in the same order.

        `problems` by id. Raises InputError for a sample whose problem is not among them, or a model that is not the sampler's.
        """
        return list(self.stream(iter(samples), problems, context))

    def stream(self, samples: Iterator[Sample], problems: Mapping[str, Problem], context: Context) -> Iterator[Sample]:
        """The same for any number of samples, `AT_ONCE` at a time."""
        while batch := list(islice(samples, AT_ONCE)):
            yield from self._batch(batch, problems, context)

    def _batch(self, samples: list[Sample], problems: Mapping[str, Problem], context: Context) -> Iterator[Sample]:
        wanted = [place for place, sample in enumerate(samples) if self._matters(sample)]
        items = [Item(_problem(samples[i], problems), samples[i].rollout, samples[i].verdict) for i in wanted]
        found = dict(zip(wanted, self.reward.rewards(items, context), strict=True)) if items else {}
        for place, sample in enumerate(samples):
            yield replace(sample, verdict=self._verdict(sample, found.get(place)))

    def _matters(self, sample: Sample) -> bool:
        """Whether the steps can change anything: nothing was generated, the outcome failed, or the gate is closed."""
        if sample.rollout.finish == "error":
            return False
        if self.config.combine == "gate":
            return sample.verdict.status == "correct"
        return self.config.combine == "replace" or sample.verdict.reward is not None

    def _verdict(self, sample: Sample, steps: Steps | None) -> Verdict:
        if steps is not None:
            return combined(sample.verdict, steps, self.config.combine, self.config.weight)
        if sample.rollout.finish == "error" and self.config.combine == "replace":
            return combined(sample.verdict, Steps(()), "replace")
        return combined(sample.verdict, Steps(()), "gate" if self.config.combine == "gate" else "add")

    def token_rewards(self, sample: Sample, context: Context) -> list[float] | None:
        """The reward of each token (`placement.token_rewards`), or None for a sample without a reward."""
        if sample.verdict.reward is None:
            return None
        decode = decoder_of(context.tokenizer)
        return token_rewards(sample.rollout, sample.verdict, decode, self.config.place, self.config.spread)


def _problem(sample: Sample, problems: Mapping[str, Problem]) -> Problem:
    problem = problems.get(sample.problem_id)
    if problem is None:
        raise InputError(f"sample {sample.rollout.sample} of {sample.problem_id!r}: there is no problem of this id")
    return problem
