"""`unmask list`: tasks, models, verifiers and trainers."""

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any, cast

from ..benchmarks.registry import list_benchmarks
from ..rewards.plugins import VERIFIERS, known_names, load_object
from .decoding.presets import OFFICIAL, PRESETS
from .models.checkpoint import EMBEDDED
from .models.families import FAMILIES
from .models.recognition import REFUSED
from .tables import console, print_rows


def print_lists(what: str | None) -> None:
    """Print one list, or all with their titles."""
    lists = {
        "tasks": _tasks,
        "models": _models,
        "decoders": _decoders,
        "verifiers": _verifiers,
        "process-rewards": _process_rewards,
        "trainers": _trainers,
    }
    for name, show in lists.items():
        if what in (None, name):
            if what is None:
                console().print(f"[bold]{name}[/bold]")
            show()


def _tasks() -> None:
    rows = [(task.name, "" if task.size is None else f"{task.size:,}", task.description) for task in list_benchmarks()]
    print_rows(("task", "problems", "what"), rows)


def _models() -> None:
    rows = [
        (
            family.name,
            family.title,
            ", ".join(family.model_types),
            f"{family.attention}{', shift' * family.shift}",
            str(family.default_block_size or ""),
            family.network_class,
            family.evidence,
        )
        for family in FAMILIES
    ]
    print_rows(("family", "what", "model_type", "attention", "block", "transformers class", "tested"), rows)
    print(f"embedded checkpoints: {', '.join(EMBEDDED)}; others: a directory or a hub id of a family above")
    print("tested: against recordings of the original code (recorded), or the published layout alone (layout)")
    print("another release on one of these bodies: --family NAME or FILE.yaml, --mask-id, --block-size; see docs/models.md")
    print("refused by name:")
    print_rows(("model", "why"), [(entry.name, entry.reason) for entry in REFUSED])


def _decoders() -> None:
    rows = [(name, preset.source, _settings(preset.settings)) for name, preset in PRESETS.items()]
    print_rows(("decoder", "source", "settings"), rows)
    official = [
        (entry.family + (f" ({entry.hint})" if entry.hint else ""), entry.preset, task or "other tasks", _settings(settings))
        for entry in OFFICIAL
        for task, settings in entry.tasks.items()
    ]
    print_rows(("family (name holds)", "official is", "task", "and"), official)
    print("any other setting: --set decode.KEY=VALUE (docs/decoding.md)")


def _settings(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in settings.items())


def _verifiers() -> None:
    rows = [(name, *_described(name, "unmask.verifiers", VERIFIERS)) for name in known_names("unmask.verifiers", VERIFIERS)]
    print_rows(("verifier", "what", "options"), rows)
    print(
        "your own: package.module:attribute or file.py:attribute, a function reward(problem, completion) -> float is enough;\n"
        "a composition: file.yaml"
    )


def _process_rewards() -> None:
    from .process.base import GROUP, PROCESS_REWARDS, WITH_STEPS

    rows = [(name, *_described(name, "unmask.verifiers", VERIFIERS)) for name in WITH_STEPS]
    rows += [(name, *_described(name, GROUP, PROCESS_REWARDS)) for name in known_names(GROUP, PROCESS_REWARDS)]
    print_rows(("process reward", "what", "options"), rows)
    print(
        "your own: a verifier whose verdicts have step rewards, or a class with rewards(items, context) (docs/process-rewards.md)"
    )


def _described(name: str, group: str, builtin: Mapping[str, str]) -> tuple[str, str]:
    """The first sentence of a plug-in's docstring, and its options."""
    found = load_object(name, group, builtin)
    what = " ".join((inspect.getdoc(found) or "").partition("\n\n")[0].split())
    options = ", ".join(field.name for field in dataclasses.fields(found)) if dataclasses.is_dataclass(found) else ""
    return what.partition(". ")[0].rstrip("."), options


def _trainers() -> None:
    # Found by name: the harness does not import trainers.
    builtin = cast(Mapping[str, str], load_object("unmask.trainers.base:TRAINERS", "unmask.trainers"))
    print_rows(("trainer", "where"), [(name, builtin.get(name, "plug-in")) for name in known_names("unmask.trainers", builtin)])
    print("your own: package.module:Class or file.py:Class with step, state_dict, load_state_dict and save (docs/training.md)")
