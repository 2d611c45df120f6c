"""Run directories made up for tests: real records and tables, with texts and verdicts as a test wants them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from unmask.harness.config import RunConfig, write_config
from unmask.harness.dataset.rows import Entry, Origin
from unmask.harness.dataset.write import write_problems, write_samples
from unmask.harness.models.checkpoint import EMBEDDED
from unmask.harness.records import DecodeConfig, Event, ForwardPasses, ModelInfo, Rollout, Sample
from unmask.harness.results import VerifierInfo, summarise
from unmask.harness.runs import open_run
from unmask.harness.store import Generated, Judged, Log
from unmask.rewards.records import Message, Problem, Status, StepReward, Verdict
from unmask.rewards.serde import encode

MODEL = ModelInfo("demo", "embedded", "sdar", "00112233", "float32")
DECODE = DecodeConfig(block_size=4, steps_per_block=4, max_new_tokens=64)
STOP = 2
"""The id of the demo tokenizer's <|im_end|>."""


@dataclass(frozen=True)
class Toy:
    """A benchmark of nothing but a name."""

    name: str = "toy"


@dataclass(frozen=True)
class Made:
    """What one sample is to be."""

    text: str = "6*7=42\nThe answer is \\boxed{42}"
    status: Status = "correct"
    reward: float | None = 1.0
    extracted: str | None = "42"
    detail: str = ""
    parts: dict[str, float] = field(default_factory=dict)
    step_rewards: tuple[StepReward, ...] | None = None
    events: tuple[Event, ...] = ()


RIGHT = Made()
WRONG = Made("6*7=41\nThe answer is \\boxed{41}", "wrong", 0.0, "41", "41 is not 42")
BROKEN = Made(status="verifier_error", reward=None, extracted=None, detail="the verifier fell over")


def problem(number: int, **metadata: Any) -> Problem:
    """Problem `number`, with a cluster of its own."""
    text = f"What is six times seven? (number {number})"
    return Problem(f"toy/{number}", "toy", (Message("user", text),), "42", {"level": 1 + number % 2, **metadata})


def make_run(
    path: Path,
    made: Sequence[Sequence[Made]],
    *,
    problems: Sequence[Problem] | None = None,
    decode: DecodeConfig = DECODE,
    model: ModelInfo = MODEL,
    **config: Any,
) -> Path:
    """Write the directory of a finished run with `made[i]` as the samples of problem i."""
    problems = problems or [problem(i) for i in range(len(made))]
    rows = [
        Entry(f"{number:04}{place:02}", problems[number], sample_of_made(problems[number], place, one, decode, model))
        for number, samples in enumerate(made)
        for place, one in enumerate(samples)
    ]
    path.mkdir(parents=True)
    write_config(RunConfig(model=model.id, task=("toy",), **config), path / "config.yaml")
    origin = Origin("toy", "test", "1", "math", "math", {}, "2")
    write_problems(path / "problems.parquet", ((problem, origin) for problem in problems))
    write_samples(path / "samples.parquet", rows, {"toy": origin})
    facts = {"task": "toy", "metric": "mean", "samples": max(map(len, made)), "tokens_per_second": 100.0, "data_revision": "1"}
    result = summarise(
        (row.sample for row in rows),
        Toy(),  # type: ignore[arg-type]
        problems,
        **facts,
        verifier=VerifierInfo("math", "2"),
        seed=config.get("seed", 0),
    )
    (path / "results.json").write_text(json.dumps({"schema": 1, "tasks": [encode(result)]}))
    return path


def sample_of_made(problem: Problem, place: int, made: Made, decode: DecodeConfig = DECODE, model: ModelInfo = MODEL) -> Sample:
    """The sample that `made` describes."""
    verdict = Verdict(made.reward, made.status, made.extracted, "42", made.parts, made.step_rewards, 0.01, made.detail)
    rollout = replace(roll_out(made.text, decode, model), problem_id=problem.id, sample=place, events=made.events)
    return Sample("toy", problem.id, problem.cluster, rollout, verdict)


def roll_out(text: str, decode: DecodeConfig, model: ModelInfo) -> Rollout:
    """A rollout that ends in `text`: in each block of 4 the last token is fixed first, two a step."""
    ids = [*tokenizer().encode(text, add_special_tokens=False).ids, STOP]
    length = len(ids)
    ids += [STOP] * (-length % 4)
    steps = [2 * (i // 4) + (1 if i % 4 < 2 else 0) for i in range(len(ids))]
    return Rollout(
        problem_id="",
        sample=0,
        seed=0,
        prompt_ids=(1, 5, 6, 7),
        token_ids=tuple(ids),
        length=length,
        step_map=tuple(steps),
        logprobs=tuple(-0.1 * (i % 7) for i in range(len(ids))),
        confidences=tuple(1.0 - 0.1 * (i % 8) for i in range(len(ids))),
        block_size=4,
        block_offset=0,
        forward_passes=ForwardPasses(1, max(steps) + 1, len(ids) // 4),
        cache="exact",
        finish="stop",
        text=text,
        decode=decode,
        model=model,
        seconds=0.5,
    )


def unfinish(path: Path, judged: int) -> Path:
    """Make a finished run one that was stopped: logs in place of tables, verdicts on the first samples, torn last lines."""
    rows = list(open_run(path).samples())
    records, verdicts = Log(path / "records", Generated), Log(path / "verdicts" / "math-1", Judged)
    for number, row in enumerate(rows):
        records.append(Generated(row.key, row.sample.task, row.sample.cluster, row.sample.rollout))
        if number < judged:
            verdicts.append(Judged(row.key, row.sample.verdict))
    for log in (records, verdicts):
        log.close()
    for part in path.glob("*/**/part-0.jsonl"):
        with part.open("a") as file:
            file.write('{"schema":1,"key":"torn')
    for name in ("results.json", "samples.parquet"):
        (path / name).unlink()
    return path


@cache
def tokenizer() -> Any:
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(EMBEDDED["demo"] / "tokenizer.json"))
