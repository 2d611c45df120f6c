"""A user's own trainers, as a file: they misbehave on request."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from unmask.harness.records import Sample
from unmask.trainers.checkpoint import save_policy
from unmask.trainers.tracerl import TraceRL


class Nudge:
    """Adds a little noise to every weight. `fail` at a step: `nan`, `interrupt`; `seen` is a file of what it was given."""

    def __init__(self, model: Any, options: Mapping[str, Any], total_steps: int) -> None:
        self.model, self.options, self.done = model, options, 0

    def step(self, samples: Sequence[Sample]) -> dict[str, float]:
        if self.options.get("fail_at") == self.done + 1:
            if self.options["fail"] == "nan":
                raise FloatingPointError("the loss is not finite (nan)")
            if not Path(self.options["flag"]).exists():
                Path(self.options["flag"]).touch()
                raise KeyboardInterrupt
        self.done += 1
        with torch.no_grad():
            for weight in self.model.network.parameters():
                weight += 1e-4 * torch.randn_like(weight)
        blocks = {sample.rollout.block_size for sample in samples}
        return {"seen": float(len(samples)), "done": float(self.done), "block": float(max(blocks))}

    def state_dict(self) -> dict[str, Any]:
        return {"done": self.done}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.done = state["done"]

    def save(self, path: Path) -> None:
        save_policy(self.model, path)


class Dies(TraceRL):
    """TraceRL whose process ends without a word in its second step, unless the file `flag` is there."""

    def __init__(self, model: Any, options: Mapping[str, Any], total_steps: int) -> None:
        self.flag = Path(options["flag"])
        super().__init__(model, {name: value for name, value in options.items() if name != "flag"}, total_steps)

    def step(self, samples: Sequence[Sample]) -> dict[str, float]:
        if self.steps_done == 1 and not self.flag.exists():
            os._exit(3)
        return super().step(samples)
