"""The training loop: rollouts, verdicts, an update; evaluation and checkpoints in between; resumed by the same command.

What a step does is a function of the settings, the weights and the trainer's state: problems come from a numbered stream,
random streams are seeded by step and rank. So a run that was killed and resumed ends bit for bit as one that was not (on a CPU,
where the arithmetic repeats). How a trainer learns is not decided here.
"""

import json
import random
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..harness.environment import environment
from ..harness.evaluate import RunError
from ..harness.executor import SMALL_MODEL
from ..harness.plan import TaskPlan, jobs
from ..harness.records import DecodeConfig, Sample
from ..harness.results import TaskResult, VerifierInfo, summarise
from ..harness.store import Lock, check_no_strangers, make_folder, write_atomically
from ..rewards.errors import InputError
from ..rewards.serde import encode
from .checkpoint import set_block_size
from .config import TrainConfig, changed_setting, write_train_config
from .curriculum import widen
from .display import View, show_training
from .folders import Made, write_tables
from .groups import Group, is_kept, share
from .learner import Learner
from .parallel import rank, world_size
from .plan import TrainPlan, make_trainer, overlap, plan_training, stage_decode
from .problems import Draw, ProblemStream
from .rollout import Clock, Order, Pools, collect, order
from .sharding import barrier, end_ranks, start_ranks
from .state import Progress, folder_of, read_progress, read_state, steps_in, whole_folder, write_state
from .tracking import MetricsLog, batch_metrics, open_trackers


def train(config: TrainConfig) -> Progress:
    """Train as `config` says, from the start or from where an earlier session ended; returns where it ended.

    Raises InputError for bad settings, RunError when training cannot go on (the last checkpoint stays as it was).
    """
    plan = plan_training(config)
    start_ranks(config.device)
    try:
        lock = _claim(config, plan) if rank() == 0 else None
        barrier()
        try:
            return _train(config, plan)
        finally:
            if lock is not None:
                lock.release()
    finally:
        end_ranks()


def _train(config: TrainConfig, plan: TrainPlan) -> Progress:
    out = Path(config.out)
    with Pools(config.workers) as pools, show_training(config.steps, rank()) as view:
        loop = Loop(config, plan, pools, view)
        trackers = open_trackers(config.trackers, out, config.project, encode(config)) if rank() == 0 else []
        log = MetricsLog(out / "metrics.jsonl", loop.progress.step, trackers) if rank() == 0 else None
        try:
            for line in loop.run():
                if log is not None:
                    log.write(line)
                view.line(line)
        finally:
            if log is not None:
                log.close()
    return loop.progress


def _claim(config: TrainConfig, plan: TrainPlan) -> Lock:
    """Take the run directory: a new one, or one of the same settings, data and verifiers."""
    out = Path(config.out)
    make_folder(out)
    lock = Lock(out)
    existing = out / "config.yaml"
    meant = {f"data of {task.name}": getattr(task.benchmark, "revision", "") for task in (*plan.tasks, *plan.held_out)}
    meant |= {f"verifier of {task.name}": task.verifier.version for task in (*plan.tasks, *plan.held_out)}
    if not existing.exists():
        check_no_strangers(out, "training run")
        write_train_config(config, existing)
    elif change := changed_setting(config, existing):
        raise InputError(f"{out} is a run with other settings ({change}); choose another folder with out=DIR")
    identity = out / "identity.json"
    if not identity.exists():
        _write(identity, meant)
    theirs = json.loads(identity.read_text("utf-8"))
    for name, value in meant.items():
        if theirs.get(name) != value:
            raise InputError(f"{out} was made with something else ({name} was {theirs.get(name)!r}, is now {value!r})")
    return lock


class Loop:
    """One session of a run. `run` yields the metrics of every step after it is done and before it is saved."""

    def __init__(self, config: TrainConfig, plan: TrainPlan, pools: Pools, view: View) -> None:
        self._config, self._plan, self._pools, self._view = config, plan, pools, view
        self._out = Path(config.out)
        self._learner = Learner(config)
        self._set_threads()
        seed_all(config.seed, 0, 0)  # what a trainer draws at first is the same on all ranks
        self._trainer = make_trainer(config, self._learner.model)
        self._stream = ProblemStream(plan.tasks, config.seed)
        self.progress = self._resume()
        self._saving = 0.0
        self._made: list[Made] = []
        if rank() == 0:
            _write(
                self._out / "environment.json", environment(self._learner.sampler, plan.task_configs[0]) | {"ranks": world_size()}
            )

    def _set_threads(self) -> None:
        small = sum(weight.numel() for weight in self._learner.sampler.network.parameters()) < SMALL_MODEL
        threads = self._config.threads or (1 if small else None)
        if threads is not None:
            torch.set_num_threads(threads)

    def _resume(self) -> Progress:
        """Go on from the newest state, if there is one."""
        states = steps_in(self._out / "state")
        if not states:
            return Progress()
        folder = folder_of(self._out / "state", states[-1])
        progress = read_progress(folder)
        self._trainer.load_state_dict(read_state(folder, self._learner.trainable()))
        self._learner.sync(progress.step)
        self._view.say(f"{self._out}: going on after step {progress.step}")
        return progress

    def run(self) -> Iterator[dict[str, Any]]:
        """Do what is left of the run."""
        if self.progress.step == 0:
            if both := overlap(self._plan):
                self._view.say(f"evaluation: {both} held-out problems are among the training problems")
            if self._config.evaluation.every:
                yield self._step_zero()
        for step in range(self.progress.step + 1, self._config.steps + 1):
            yield self._step(step)
            self._save(step)

    def _step_zero(self) -> dict[str, Any]:
        started = time.monotonic()
        return {"step": 0, **self._evaluate(0), "seconds": _since(started)}

    def _step(self, step: int) -> dict[str, Any]:
        started = time.monotonic()
        seed_all(self._config.seed, step, rank())
        clock = Clock()
        kept, samples, drawn, rounds = self._batch(step, clock)
        line: dict[str, Any] = {"step": step, **self._update(step, kept), **batch_metrics(samples)}
        line |= {"groups": drawn - self.progress.drawn, "groups_kept": len(kept), "rounds": rounds}
        self._learner.sync(step)
        self.progress = replace(
            self.progress,
            step=step,
            drawn=drawn,
            tokens=self.progress.tokens + int(line["tokens"]),
            forwarded=self.progress.forwarded + float(line.get("tokens_forwarded", 0)),
        )
        line |= {"tokens_total": self.progress.tokens, "forwarded_total": self.progress.forwarded}
        line |= {"seconds_rollout": round(clock.generating, 3), "seconds_verdict": round(clock.judging, 3)}
        every = self._config.evaluation.every
        if every and (step % every == 0 or step == self._config.steps):
            line |= self._evaluate(step)
        line |= {"seconds_save": self._saving, "seconds": _since(started)}
        return line

    def _batch(self, step: int, clock: Clock) -> tuple[list[Group], list[Sample], int, int]:
        """Rollouts until there are groups enough: the kept groups, all samples, the data cursor behind them, the rounds."""
        wanted, kept, samples = self._config.groups, list[Group](), list[Sample]()
        drawn, rounds = self.progress.drawn, 0
        self._made = []
        while len(kept) < wanted.problems and rounds <= wanted.refill:
            missing = wanted.problems - len(kept)
            groups = self._roll_out(step, self._stream.draw(drawn, missing), clock)
            drawn, rounds = drawn + missing, rounds + 1
            kept += [group for group in groups if is_kept(group, wanted)]
            samples += [sample for group in groups for sample in group.samples]
            self._check_verdicts(step, samples)
        self._write_tables(folder_of(self._out / "rollouts", step))
        return kept, samples, drawn, rounds

    def _roll_out(self, step: int, draws: Sequence[Draw], clock: Clock) -> list[Group]:
        """The groups of `draws`, in their order."""
        orders, places = [], []
        for task in self._plan.tasks:
            mine = [draw for draw in draws if draw.task is task]
            if mine:
                places += mine
                samples = self._config.groups.samples
                orders.append(order(self._learner.sampler, task, mine, self._decode(step, task), samples, self._config.seed))
        folder = folder_of(self._out / "rollouts", step)
        self._view.stage(step, "rollouts", sum(len(one.jobs) for one in orders))
        collected = self._collect(orders, folder, clock)
        self._made += [
            Made(
                one.task, replace(self._plan.task_configs[self._plan.tasks.index(one.task)], decode=one.decode), one.jobs, samples
            )
            for one, samples in zip(orders, collected, strict=True)
        ]
        found = [sample for samples in collected for sample in samples]
        size = self._config.groups.samples
        groups = [Group(draw.number, tuple(found[i * size : (i + 1) * size])) for i, draw in enumerate(places)]
        return sorted(groups, key=lambda group: group.number)

    def _collect(self, orders: Sequence[Order], folder: Path, clock: Clock) -> list[list[Sample]]:
        return collect(self._learner.sampler, orders, folder, self._pools, self._view, self._config.max_batch, clock)

    def _decode(self, step: int, task: TaskPlan) -> DecodeConfig:
        stage = self._config.stage(step)
        return task.decode if stage is None else stage_decode(self._config, task, stage.rollout_block, self._plan.checkpoint)

    def _check_verdicts(self, step: int, samples: Sequence[Sample]) -> None:
        failed = [sample.verdict for sample in samples if sample.verdict.reward is None]
        if len(failed) > self._config.max_verifier_errors * len(samples):
            raise RunError(
                f"step {step}: {len(failed)} of {len(samples)} responses could not be judged "
                f"(allowed: {self._config.max_verifier_errors:.0%}; the first: {failed[0].detail}); {self._last_good()}"
            )

    def _update(self, step: int, kept: Sequence[Group]) -> Mapping[str, Any]:
        """One update from the kept groups, or a message where there are none."""
        if not kept:
            return {"message": "no group was kept: no update"}
        self._view.stage(step, "update", 0)
        started = time.monotonic()
        samples = share(kept, rank(), world_size())
        if (stage := self._config.stage(step)) is not None:
            samples = [widen(sample, stage.train_block) for sample in samples]
        try:
            metrics = self._trainer.step(samples)
        except FloatingPointError as error:
            raise RunError(f"step {step}: {error}; no update was made; {self._last_good()}") from None
        return {**metrics, "seconds_update": _since(started)}

    def _last_good(self) -> str:
        states = steps_in(self._out / "state")
        return f"the state after step {states[-1]} is intact in {self._out}" if states else "nothing was saved yet"

    def _evaluate(self, step: int) -> dict[str, Any]:
        """Scores on the held-out tasks; notes the best step."""
        started = time.monotonic()
        folder = folder_of(self._out / "evaluations", step)
        self._made = []
        results = [self._evaluate_task(step, number, folder) for number in range(len(self._plan.held_out))]
        self._write_tables(folder)
        if rank() == 0:
            _write(folder / "results.json", {"schema": 1, "tasks": encode(results)})
        score = sum(result.score.mean if result.score else 0.0 for result in results) / len(results)
        if step and (self.progress.best_score is None or score > self.progress.best_score):
            self.progress = replace(self.progress, best_step=step, best_score=score)
        line = {"eval_score": score, "seconds_eval": _since(started)}
        line["eval_tokens_per_forward"] = sum(result.tokens_per_forward for result in results) / len(results)
        line["eval_tokens_per_step"] = sum(result.tokens_per_step for result in results) / len(results)
        if len(results) > 1:
            line |= {f"eval_score/{result.task}": result.score.mean if result.score else 0.0 for result in results}
        return line

    def _evaluate_task(self, step: int, number: int, folder: Path) -> TaskResult:
        task = self._plan.held_out[number]
        todo = list(jobs(task, self._learner.sampler, self._config.evaluation.seed))
        self._view.stage(step, f"evaluation on {task.name}", len(todo))
        samples = self._collect([Order(task, task.decode, todo)], folder, Clock())[0]
        self._check_verdicts(step, samples)
        self._made.append(Made(task, self._plan.held_out_configs[number], todo, samples))
        return summarise(
            iter(samples),
            task.benchmark,
            task.problems,
            task=task.name,
            metric=getattr(task.benchmark, "metric", "mean"),
            samples=task.samples,
            tokens_per_second=None,
            data_revision=getattr(task.benchmark, "revision", ""),
            verifier=VerifierInfo(task.verifier.name, task.verifier.version),
            seed=self._config.evaluation.seed,
            notes=tuple(getattr(task.benchmark, "notes", ())),
        )

    def _write_tables(self, folder: Path) -> None:
        if rank() == 0:
            write_tables(folder, self._made, self._learner.sampler)

    def _save(self, step: int) -> None:
        """Write checkpoint and state where they are due, and remove the old ones."""
        started = time.monotonic()
        due = step % self._config.checkpoints.every == 0 or step == self._config.steps
        if due or self.progress.best_step == step:
            self._save_checkpoint(step)
        if due:
            with whole_folder(folder_of(self._out / "state", step), self._last_good()) as folder:
                write_state(folder, self._learner.trainable(), self._trainer.state_dict(), self.progress)
        if rank() == 0:
            self._prune()
        self._saving = _since(started)

    def _save_checkpoint(self, step: int) -> None:
        with whole_folder(folder_of(self._out / "checkpoints", step), self._last_good()) as folder:
            self._trainer.save(folder)
            if rank() == 0 and (stage := self._config.stage(step)) is not None:
                set_block_size(folder, stage.train_block)
        if rank() == 0 and self.progress.best_step == step:
            _point(self._out / "checkpoints" / "best", folder_of(Path(), step))

    def _prune(self) -> None:
        """Keep the newest checkpoints, the best one, and the newest state."""
        checkpoints = steps_in(self._out / "checkpoints")
        kept = {*checkpoints[-self._config.checkpoints.keep :], self.progress.best_step}
        for step in checkpoints:
            if step not in kept:
                shutil.rmtree(folder_of(self._out / "checkpoints", step))
        for step in steps_in(self._out / "state")[:-1]:
            shutil.rmtree(folder_of(self._out / "state", step))


def seed_all(seed: int, step: int, stream: int) -> None:
    """Seed every global random stream by run, step and rank: what a step draws does not depend on what came before it."""
    own = random.Random(f"step/{seed}/{step}/{stream}").getrandbits(63)
    random.seed(own)
    np.random.seed(own % 2**32)
    torch.manual_seed(own)


def _point(link: Path, target: Path) -> None:
    """Make `link` a symbolic link to `target`, replacing an old one as a whole."""
    temporary = link.with_name(f".{link.name}.new")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(link)


def _since(started: float) -> float:
    return round(time.monotonic() - started, 3)


def _write(path: Path, data: Mapping[str, Any]) -> None:
    write_atomically(path, json.dumps(data, indent=1, ensure_ascii=False) + "\n")
