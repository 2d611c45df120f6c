"""Finding a benchmark by the name a person typed, and setting its options.

A task is `name`, `name@variant` (a split or a release), a data file (`my.jsonl`), `lm_eval:name` (a task of
lm-evaluation-harness), `package.module:attribute` or `file.py:attribute`. The names of the shipped tasks stand in a plain table;
others come from the entry point group `unmask.benchmarks`. Nothing is imported before it is asked for.
"""

import dataclasses
import inspect
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, cast

from ..rewards.errors import InputError, nearest
from ..rewards.plugins import known_names, load_object
from . import code_rows, lm_eval_tasks
from .base import Benchmark
from .own import OwnData
from .rows import is_data_file, read_rows, stem

GROUP = "unmask.benchmarks"
BENCHMARKS: Mapping[str, str] = MappingProxyType(
    {
        "aime2024": "unmask.benchmarks.aime:AIME2024",
        "aime2025": "unmask.benchmarks.aime:AIME2025",
        "aime2026": "unmask.benchmarks.aime:AIME2026",
        "arith": "unmask.benchmarks.arith:ARITH",
        "gsm8k": "unmask.benchmarks.gsm8k:GSM8K",
        "humaneval": "unmask.benchmarks.humaneval:HUMANEVAL",
        "leetcode": "unmask.benchmarks.leetcode:LEETCODE",
        "leetcode_contest": "unmask.benchmarks.leetcode:LEETCODE_CONTEST",
        "livebench": "unmask.benchmarks.livebench.task:LIVEBENCH",
        "livecodebench": "unmask.benchmarks.livecodebench:LIVECODEBENCH",
        "math": "unmask.benchmarks.math:MATH",
        "math_train": "unmask.benchmarks.math:MATH_TRAIN",
        "math500": "unmask.benchmarks.math500:MATH500",
        "mbpp": "unmask.benchmarks.mbpp:MBPP",
        "mbpp_sanitized": "unmask.benchmarks.mbpp:MBPP_SANITIZED",
    }
)

_REQUIRED = ("name", "verifier", "load")


class Listing(NamedTuple):
    """One line of `unmask list tasks`."""

    name: str
    size: int | None
    description: str


def load_benchmark(spec: str, data: Path | str | None = None, **options: Any) -> Benchmark:
    """Return the benchmark that `spec` names, reading from `data` if given, with `options` set.

    Raises InputError for an unknown task (naming the nearest), an unknown option, or an object that is no benchmark.
    """
    if is_data_file(spec):
        return _own(Path(spec), data, options)
    if spec.startswith(lm_eval_tasks.PREFIX):
        return _lm_eval(spec, data, options)
    name, variant = _split(spec)
    target = load_object(name, GROUP, BENCHMARKS)
    if variant:
        options[_variant_option(target, spec)] = variant
    if data is not None:
        options["data"] = Path(data)
    return _checked(_configure(target, options, spec), spec)


def list_benchmarks() -> tuple[Listing, ...]:
    """Return the tasks known by a short name. A plug-in that does not load is listed with the reason."""
    return tuple(_listing(name) for name in known_names(GROUP, BENCHMARKS))


def _listing(name: str) -> Listing:
    try:
        benchmark = load_benchmark(name)
    except (InputError, ImportError) as error:
        return Listing(name, None, f"does not load: {error}")
    return Listing(name, benchmark.size, benchmark.description)


def _own(path: Path, data: Path | str | None, options: dict[str, Any]) -> Benchmark:
    if data is not None:
        raise InputError(f"task {str(path)!r} is a data file already: leave out --data {data}")
    if not path.is_file():
        raise InputError(f"task {str(path)!r}: no such file")
    first = next(read_rows(path), None)
    if first is not None and code_rows.is_code_row(first):
        _check_options(options, ("name", "prompt_template", "max_new_tokens"), str(path))
        return cast(Benchmark, code_rows.benchmark(path, options.pop("name", stem(path)), **options))
    _check_options(options, OwnData.options, str(path))
    return cast(Benchmark, OwnData(path, **options))


def _lm_eval(spec: str, data: Path | str | None, options: dict[str, Any]) -> Benchmark:
    if data is not None:
        raise InputError(f"task {spec!r} brings its own data: leave out --data {data}")
    _check_call(lm_eval_tasks.lm_eval_task, options, spec)
    return cast(Benchmark, lm_eval_tasks.lm_eval_task(spec, **options))


def _split(spec: str) -> tuple[str, str]:
    """Cut `name@variant`; an @ in a path (which has a colon or a suffix) belongs to the path."""
    name, _, variant = spec.partition("@")
    return (name, variant) if name in known_names(GROUP, BENCHMARKS) else (spec, "")


def _variant_option(target: object, spec: str) -> str:
    option = getattr(target, "variant_option", None)
    if not isinstance(option, str):
        raise InputError(f"task {spec!r}: {spec.partition('@')[0]!r} has no variants")
    return option


def _configure(target: object, options: dict[str, Any], spec: str) -> object:
    """Set `options`: by calling a class or function, or by replacing fields of a ready dataclass instance."""
    if callable(target):
        _check_call(target, options, spec)
        return target(**options)
    if not options:
        return target
    if not dataclasses.is_dataclass(target) or isinstance(target, type):
        raise InputError(f"task {spec!r} takes no options ({', '.join(options)}); write the benchmark as a dataclass or a class")
    names = [field.name for field in dataclasses.fields(target) if field.init]
    _check_options(options, getattr(target, "options", names), spec)
    return dataclasses.replace(target, **options)


def _check_call(target: Any, options: dict[str, Any], spec: str) -> None:
    parameters = inspect.signature(target).parameters.values()
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):
        _check_options(options, [p.name for p in named], spec)
    missing = [p.name for p in named if p.default is p.empty and p.name not in options]
    if missing:
        raise InputError(f"task {spec!r} needs the option {missing[0]!r}: set task.{missing[0]}=...")


def _check_options(options: Iterable[str], accepted: Iterable[str], spec: str) -> None:
    accepted = list(accepted)
    for option in options:
        if option not in accepted:
            known = ", ".join(accepted) or "none"
            raise InputError(f"task {spec!r} has no option {option!r}{nearest(option, accepted)}; options: {known}")


def _checked(found: object, spec: str) -> Benchmark:
    # Looked up without calling properties: computing a revision may read the whole data.
    lacking = [name for name in (*Benchmark.__annotations__, "load") if not _has(found, name)]
    if any(name in _REQUIRED for name in lacking):
        raise InputError(f"{spec!r} is no benchmark: it lacks {', '.join(name for name in _REQUIRED if name in lacking)}")
    if lacking:
        raise InputError(f"{spec!r} lacks {', '.join(lacking)}; inherit from unmask.Benchmark for defaults")
    return cast(Benchmark, found)


def _has(found: object, name: str) -> bool:
    try:
        inspect.getattr_static(found, name)
    except AttributeError:
        return False
    return True
