"""A verifier as a process reward: it runs in the pool, and its verdicts' step rewards count. Covers `arithmetic` and `tests`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...rewards.errors import InputError
from ...rewards.groups import is_group
from ...rewards.pool import VerifierPool
from ...rewards.records import Verdict
from ...rewards.verifier import Verifier
from ..evaluate import completion_of
from .base import Context, Item, Steps


@dataclass(frozen=True)
class Verified:
    """The step rewards of a verifier. A sample on which it could not judge has none, and says so."""

    verifier: Verifier

    def __post_init__(self) -> None:
        if is_group(self.verifier):
            raise InputError(f"process reward {self.verifier.name!r} judges groups; steps are rewarded sample by sample")

    @property
    def name(self) -> str:
        return self.verifier.name

    @property
    def version(self) -> str:
        return self.verifier.version

    def rewards(self, items: Sequence[Item], context: Context) -> Iterator[Steps]:
        """Judge every sample in worker processes. Raises InputError when the verifier knows of no steps."""
        if context.start is not None:
            yield from self._judged(items, context.start(self.verifier))
            return
        with VerifierPool(self.verifier, context.workers) as pool:
            yield from self._judged(items, pool)

    def _judged(self, items: Sequence[Item], pool: VerifierPool) -> Iterator[Steps]:
        found: dict[int, Steps] = {}
        submitted = ((place, item.problem, completion_of(item.rollout)) for place, item in enumerate(items))
        for place, verdict in pool.map(submitted):
            found[place] = self._steps(verdict)
        return (found[place] for place in range(len(items)))

    def _steps(self, verdict: Verdict) -> Steps:
        if verdict.reward is None:
            return Steps(None, f"process reward {self.name!r} could not judge: {verdict.detail}")
        if verdict.step_rewards is None:
            if verdict.status in ("unparsed", "refused", "timeout", "crashed"):
                return Steps((), f"{self.name}: {verdict.detail}")
            raise InputError(f"process reward {self.name!r}: its verdicts have no step rewards, so it cannot reward steps")
        return Steps(verdict.step_rewards, f"{self.name}: {verdict.detail}" if verdict.detail else "", self._parts(verdict))

    def _parts(self, verdict: Verdict) -> dict[str, float]:
        return {f"process.{key}": value for key, value in verdict.parts.items()}
