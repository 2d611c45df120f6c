"""`--task lm_eval:NAME`: a generate_until task of lm-evaluation-harness on our engine (extra `lm-eval`).

Questions, few-shot examples (lm-eval's seed), stop strings, length limit, filters and metrics are the task's own. Questions are
asked through the checkpoint's chat template, as with lm-eval's `--apply_chat_template`. Refused by name: tasks that rank given
answers by likelihood, tasks that run model-written code in the scorer's process, images and sound, several answers a question,
groups. A task's helper functions are code of lm-eval (or of `include_path`) and trusted; its temperature is not taken over.
"""

import contextlib
import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from ..rewards.errors import InputError, nearest
from ..rewards.records import Message, Problem
from ..rewards.serde import encode
from .lm_eval_verifier import LmEvalVerifier, open_task

PREFIX = "lm_eval:"
FEWSHOT_SEED = 1234
"""lm-eval's default, without which few-shot examples would be others."""


@dataclass(frozen=True)
class LmEvalTask:
    """A task of lm-eval as a benchmark; made by `lm_eval_task`."""

    name: str
    verifier: LmEvalVerifier
    description: str
    problems: tuple[Problem, ...]
    stop: tuple[str, ...]
    max_new_tokens: int
    metric: str
    metrics: tuple[str, ...]
    notes: tuple[str, ...]
    size: int | None = None
    samples: int = 1
    verifier_options: ClassVar[Mapping[str, Any]] = {}
    prompt_template: str = ""
    prompt_source: str = "the lm-eval task's own"

    @cached_property
    def revision(self) -> str:
        """A hash of rows and questions: data of the hub, filters of rows and few-shot examples alike change it."""
        text = json.dumps([encode(problem) for problem in self.problems], sort_keys=True, ensure_ascii=False)
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"

    def load(self) -> tuple[Problem, ...]:
        """Return one problem per row; the reference holds the row and the target."""
        return self.problems

    def gold(self, problem: Problem) -> str | None:
        """Return the target, unless the task wants answers in another form than its targets (gsm8k_cot)."""
        target = str(problem.reference["target"])
        return target if self.verifier.finds_an_answer(problem, target) else None


def lm_eval_task(
    spec: str,
    /,
    include_path: str | None = None,
    num_fewshot: int | None = None,
    multiturn: bool = True,
    system: str | None = None,
    metric: str | None = None,
    until: Sequence[str] | None = None,
    max_new_tokens: int | None = None,
) -> LmEvalTask:
    """Open the task `lm_eval:NAME`, looked for in the folder `include_path` first; NAME may be a YAML file.

    `multiturn` asks few-shot examples as turns, else in one; `metric` ("exact_match" or "exact_match,strict-match") is the
    score; `until` and `max_new_tokens` replace the task's own. Raises InputError for what is missing or not supported.
    """
    entry = _find(spec, include_path)
    path = str(entry.yaml_path.resolve())
    _refuse(spec, entry.cfg or {})
    task = open_task(path)
    rows = _rows(spec, task, num_fewshot, multiturn, system)
    settings = rows[0].args[1]
    stop = tuple(filter(None, _listed(settings.get("until") if until is None else until)))
    chosen = _choose_metric(spec, task, metric)
    return LmEvalTask(
        name=spec,
        verifier=LmEvalVerifier(path, chosen, stop, _version(entry)),
        description=f"lm-evaluation-harness task {entry.name}",
        problems=tuple(_problem(spec, task, row) for row in rows),
        stop=stop,
        max_new_tokens=max_new_tokens or int(settings.get("max_gen_toks", 256)),
        metric=chosen,
        metrics=tuple(_names(task, [metric for metric in task.aggregation() if _is_mean(task, metric)])),
        notes=_notes(task),
    )


def _find(spec: str, include_path: str | None) -> Any:
    """Return lm-eval's index entry of a task."""
    try:
        from lm_eval.tasks import TaskManager
        from lm_eval.tasks._index import TaskIndex
    except ImportError as error:
        raise InputError(
            f"task {spec!r}: lm-evaluation-harness is not installed ({error}); pip install 'unmask[lm-eval]'"
        ) from None
    name = spec.removeprefix(PREFIX)
    if name.endswith((".yaml", ".yml")):
        entry = TaskIndex.entry_from_path(Path(name))
    else:
        if include_path is not None and not Path(include_path).is_dir():
            raise InputError(f"task {spec!r}: include_path: there is no folder {include_path}")
        # lm-eval's own folder of thousands of files, which takes seconds to read, only for a name that is not in the user's.
        own = TaskManager(include_defaults=False, include_path=include_path).task_index if include_path else {}
        entry = own.get(name) or (index := TaskManager().task_index).get(name)
        if entry is None:
            raise InputError(f"task {spec!r}: lm-eval has no task {name!r}{nearest(name, [*own, *index])}")
    if entry is None:
        raise InputError(f"task {spec!r}: there is no file {name}")
    if entry.yaml_path is None or not isinstance((entry.cfg or {}).get("task", name), str):
        members = sorted(entry.tags) or (entry.cfg or {}).get("task", [])
        raise InputError(f"task {spec!r} is a group of tasks; name one of them: {', '.join(map(str, members))}"[:300])
    return entry


def _refuse(spec: str, config: Mapping[str, Any]) -> None:
    """Refuse by its settings what cannot be run, before its data is fetched and its helper functions are imported."""
    kind = config.get("output_type", "generate_until")
    if kind != "generate_until":
        raise InputError(f"task {spec!r} is of the kind {kind}: it ranks given answers; only generate_until tasks run here")
    if config.get("unsafe_code"):
        raise InputError(
            f"task {spec!r} runs model-written code in the scorer's own process (unsafe_code); use humaneval or mbpp, "
            "which run it in the sandbox"
        )
    if config.get("doc_to_image") or config.get("doc_to_audio"):
        raise InputError(f"task {spec!r} shows images or sound, which no model here takes")
    if int(config.get("repeats") or 1) > 1:
        raise InputError(f"task {spec!r} votes among {config['repeats']} answers a question; only single answers are judged here")


def _rows(spec: str, task: Any, shots: int | None, multiturn: bool, system: str | None) -> tuple[Any, ...]:
    """Return lm-eval's requests, one per row, their contexts as lists of messages."""
    _refuse(spec, {"output_type": task.OUTPUT_TYPE, "unsafe_code": getattr(task, "UNSAFE_CODE", False)})
    own = task.get_config("num_fewshot")
    if shots is not None and own == 0 and shots != 0:
        raise InputError(f"task {spec!r} is zero-shot by its own settings; leave out num_fewshot")
    task.set_config("num_fewshot", (own or 0) if shots is None else shots)
    task.set_fewshot_seed(FEWSHOT_SEED)
    with contextlib.redirect_stderr(io.StringIO()):  # a progress bar
        task.build_all_requests(
            system_instruction=system, apply_chat_template=True, fewshot_as_multiturn=multiturn, chat_template=_as_they_are
        )
    rows = tuple(task.instances)
    kinds = {row.request_type for row in rows} - {"generate_until"}
    if kinds or len({row.doc_id for row in rows}) != len(rows):
        raise InputError(f"task {spec!r} asks more than one thing of a row ({', '.join(kinds) or 'several answers'})")
    return rows


def _as_they_are(messages: Any, add_generation_prompt: bool = True) -> Any:
    """Stand in for lm-eval's chat template: our engine renders the turns itself."""
    return messages


def _problem(spec: str, task: Any, row: Any) -> Problem:
    try:
        json.dumps(row.doc)
    except TypeError as error:
        raise InputError(f"task {spec!r}, row {row.doc_id}: is not plain data ({error}), so it cannot be recorded") from None
    reference = {"doc": row.doc, "target": _target(task, row.doc)}
    return Problem(f"{spec}/{row.doc_id}", spec, _messages(row.args[0]), reference)


def _messages(context: Any) -> tuple[Message, ...]:
    if isinstance(context, str):
        return (Message("user", context),)
    return tuple(Message(turn["role"], turn["content"]) for turn in context)


def _target(task: Any, doc: dict[str, Any]) -> str:
    target = task.doc_to_target(doc)
    if isinstance(target, int) and task.config.doc_to_choice is not None:
        target = task.doc_to_choice(doc)[target]
    return str(target[0] if isinstance(target, list) and target else target)


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def _choose_metric(spec: str, task: Any, wanted: str | None) -> str:
    """Return "metric,filter": the one asked for, else the first that a single answer has and that is better when higher."""
    usable = [metric for metric in task.aggregation() if _is_mean(task, metric) and task.higher_is_better().get(metric, True)]
    known = _names(task, usable)
    if not known:
        names = ", ".join(task.aggregation())
        raise InputError(f"task {spec!r} has no metric that scores a single answer, the higher the better (it has {names})")
    if wanted is None:
        return known[0]
    full = wanted if "," in wanted else f"{wanted},{task._filters[0].name}"
    if full not in known:
        raise InputError(f"task {spec!r}: no metric {wanted!r}{nearest(full, known)}; known: {', '.join(known)}")
    return full


def _names(task: Any, metrics: Sequence[str]) -> list[str]:
    """Return lm-eval's names of metrics: each after each of the task's filters."""
    return [f"{metric},{ensemble.name}" for metric in metrics for ensemble in task._filters]


def _is_mean(task: Any, metric: str) -> bool:
    return getattr(task.aggregation()[metric], "__name__", "") in ("mean", "nanmean")


def _notes(task: Any) -> tuple[str, ...]:
    left_out = [metric for metric in task.aggregation() if not _is_mean(task, metric)]
    return (f"Not reported, being computed over all answers together: {', '.join(left_out)}.",) if left_out else ()


def _version(entry: Any) -> str:
    """lm-eval's version and a hash of what defines the task: its settings and the Python files beside them."""
    from importlib.metadata import version

    folder = Path(entry.yaml_path).resolve().parent
    settings = json.dumps(entry.cfg, sort_keys=True, default=str).replace(str(folder), "")
    digest = hashlib.sha256(settings.encode())
    for content in _helpers(folder):
        digest.update(content)
    return f"{version('lm_eval')}-{digest.hexdigest()[:12]}"


def _helpers(folder: Path) -> Iterator[bytes]:
    return (file.read_bytes() for file in sorted(folder.glob("*.py")))
