"""`unmask score RUN --process P --combine C`: rewards the steps of a run's samples and writes them beside a copy of its table.

The outcomes are the run's own verdicts. In the folder `out`: `verdicts.jsonl` in the order of the run's table, written as it
comes and gone on from when the command is repeated; at the end `results.json` and `samples.parquet`, the run's table with the new
rewards, step rewards and token rewards, which `unmask export` and `load_rollouts` read.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from ...rewards.errors import InputError
from ...rewards.pool import VerifierPool
from ...rewards.records import Problem, StepReward
from ...rewards.serde import decode, dumps, encode, read_jsonl
from ...rewards.verifier import Verifier
from ..config import RunConfig
from ..dataset.read import read_rows
from ..dataset.rows import sample_of
from ..dataset.schema import SAMPLES
from ..dataset.write import write_file
from ..judge import ScoreResult
from ..models.checkpoint import open_checkpoint
from ..models.model import Model, load_model
from ..plan import load_task
from ..progress import ScoreProgress
from ..records import Sample
from ..results import VerifierInfo
from ..runs import Run, open_run
from ..store import Lock, check_no_strangers, drop_torn_line, make_folder, write_atomically
from ..tally import TaskTally
from .apply import Process
from .base import Context, ProcessConfig


@dataclass(frozen=True, slots=True)
class Rewarded:
    """An output line of `verdicts.jsonl`: the combined verdict, and the reward of each decoded token."""

    id: str
    reward: float | None
    status: str
    extracted: str | None
    expected: str | None
    seconds: float
    detail: str
    parts: dict[str, float]
    step_rewards: tuple[StepReward, ...] | None
    token_rewards: tuple[float, ...] | None


def score_process(
    source: Path,
    out: Path,
    config: ProcessConfig,
    model: str | None = None,
    device: str | None = None,
    workers: int | None = None,
) -> ScoreResult:
    """Reward the steps of a finished run. `model` is where the policy lies now, if not where the run says.

    Raises InputError for what is wrong with the run or the settings.
    """
    run = open_run(source)
    if not run.finished:
        raise InputError(f"{source}: the run is not finished, and the same `unmask eval` command finishes it")
    process = Process(config)
    make_folder(out)
    lock = Lock(out)
    try:
        with _Policy(run, model, device, workers) as policy:
            return _Scoring(run, out, process, policy.context()).go()
    finally:
        lock.release()


class _Policy:
    """The run's model and verifiers, each loaded when it is first asked for."""

    def __init__(self, run: Run, model: str | None, device: str | None, workers: int | None) -> None:
        self._config = decode(RunConfig, run.config, str(run.path / "config.yaml"))
        self._name, self._device, self._workers = model or self._config.model, device or self._config.device, workers
        self._dtype = run.results[0].model.dtype if run.results else self._config.dtype
        self._fingerprint = run.results[0].model.fingerprint if run.results else ""
        self._stack = ExitStack()
        self.model = cache(self._load)
        self.pool = cache(self._outcomes)
        self._started: dict[tuple[str, str], VerifierPool] = {}

    def context(self) -> Context:
        checkpoint = open_checkpoint(self._name, **self._config.model_options())
        seed, batch = self._config.seed, self._config.max_batch
        return Context(self.model, checkpoint.tokenizer, self.pool, self._start, seed, self._workers, batch)

    def _load(self) -> Model:
        model = load_model(self._name, dtype=self._dtype, device=self._device, **self._config.model_options())
        if model.info.fingerprint != self._fingerprint:
            raise InputError(
                f"--model {self._name}: its weights are not those of the run ({self._fingerprint}); give the right ones"
            )
        return model

    def _start(self, verifier: Verifier) -> VerifierPool:
        key = (verifier.name, verifier.version)
        if key not in self._started:
            self._started[key] = self._stack.enter_context(VerifierPool(verifier, self._workers))
        return self._started[key]

    def _outcomes(self, task: str) -> VerifierPool:
        config = self._config
        for name in config.task:
            benchmark, verifier = load_task(
                name, config.data, config.task_options, config.rule, config.verifier, config.verifier_options
            )
            if benchmark.name == task:
                return self._start(verifier)
        raise InputError(f"task {task!r} is not one of the run's")

    def __enter__(self) -> "_Policy":
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)


class _Scoring:
    def __init__(self, run: Run, out: Path, process: Process, context: Context) -> None:
        self._run, self._out, self._process, self._context = run, out, process, context
        self._table, self._lines = run.path / "samples.parquet", out / "verdicts.jsonl"
        self._tally = TaskTally(None, ())
        self._statuses: dict[str, int] = {}
        self._completions = 0

    def go(self) -> ScoreResult:
        self._claim()
        problems = {problem.id: problem for problem in self._run.problems()}
        done = self._recount()
        progress = ScoreProgress(done)
        with self._lines.open("a", encoding="utf-8") as file:
            for key, sample in self._rewarded(problems, done):
                verdict = sample.verdict
                fields = {name: getattr(verdict, name) for name in _FROM_VERDICT}
                tokens = self._process.token_rewards(sample, self._context)
                line = Rewarded(key, **fields, token_rewards=None if tokens is None else tuple(round(t, 9) for t in tokens))
                file.write(f"{dumps(line)}\n")
                file.flush()
                self._count(line, sample.problem_id, sample.cluster)
                progress.judged(verdict)
        progress.finish()
        write_file(self._out / "samples.parquet", SAMPLES, self._rows())
        result = self._result()
        write_atomically(self._out / "results.json", json.dumps(encode(result), indent=1, ensure_ascii=False) + "\n")
        return result

    def _claim(self) -> None:
        """Take an empty folder, or one of the same scoring."""
        path = self._out / "scoring.json"
        identity = {
            "source": str(self._run.path.resolve()),
            "size": self._table.stat().st_size,
            "process": [self._process.name, self._process.version, asdict(self._process.config)],
        }
        identity = json.loads(json.dumps(identity))
        if not path.exists():
            check_no_strangers(self._out, "scoring")
            write_atomically(path, json.dumps(identity, indent=1) + "\n")
            return
        theirs = json.loads(path.read_text("utf-8"))
        for key, value in identity.items():
            if theirs.get(key) != value:
                raise InputError(f"--out: {self._out} is another scoring ({key} was {theirs.get(key)!r}); choose another folder")

    def _recount(self) -> int:
        """Count what is there already."""
        drop_torn_line(self._lines)
        if not self._lines.exists():
            return 0
        done = 0
        for line, row in zip(read_jsonl(self._lines, Rewarded), read_rows(self._table), strict=False):
            self._count(line, row["problem_id"], row["cluster"])
            done += 1
        return done

    def _rewarded(self, problems: dict[str, Problem], done: int) -> Iterator[tuple[str, Sample]]:
        keys = (row["id"] for row in islice(read_rows(self._table), done, None))
        rows = enumerate(islice(read_rows(self._table), done, None), done + 1)
        samples = (sample_of(row, f"{self._table}, row {number}") for number, row in rows)
        return zip(keys, self._process.stream(samples, problems, self._context), strict=True)

    def _rows(self) -> Iterator[dict[str, Any]]:
        for row, line in zip(read_rows(self._table), read_jsonl(self._lines, Rewarded), strict=True):
            fresh = encode(line)
            parts = [{"name": name, "value": value} for name, value in line.parts.items()]
            names = ("reward", "status", "detail", "step_rewards", "token_rewards")
            yield row | {name: fresh[name] for name in names} | {"parts": parts}

    def _count(self, line: Rewarded, problem: str, cluster: str) -> None:
        self._completions += 1
        self._statuses[line.status] = self._statuses.get(line.status, 0) + 1
        self._tally.add(problem, cluster, line.reward, line.parts)

    def _result(self) -> ScoreResult:
        return ScoreResult(
            source=str(self._run.path),
            task=",".join(result.task for result in self._run.results) or None,
            verifier=VerifierInfo(f"outcome {self._process.config.combine} {self._process.name}", self._process.version),
            score=self._tally.score(),
            problems=len(self._tally),
            completions=self._completions,
            statuses=dict(sorted(self._statuses.items(), key=lambda item: -item[1])),
            breakdown={},
            metrics={},
        )


_FROM_VERDICT = ("reward", "status", "extracted", "expected", "seconds", "detail", "parts", "step_rewards")
