"""The dataset card: a README with the settings and statistics of a dataset, computed from its rows alone."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from .views import View


@dataclass
class TaskCount:
    """What is counted of one task."""

    problems: int = 0
    samples: int = 0
    judged: int = 0
    reward: float = 0.0
    tokens: int = 0
    passes: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    finishes: Counter[str] = field(default_factory=Counter)
    pass_rates: Counter[str] = field(default_factory=Counter)


class Statistics:
    """Counts over the rows that went into a dataset. Memory does not grow with them."""

    def __init__(self) -> None:
        self.tasks: dict[str, TaskCount] = defaultdict(TaskCount)
        self.settings: dict[str, dict[str, Any]] = {}

    def counted(self, groups: Iterable[list[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
        """Pass the rows of groups through, counting them."""
        for group in groups:
            self._add(group)
            yield from group

    def _add(self, group: list[dict[str, Any]]) -> None:
        task = self.tasks[group[0]["task"]]
        task.problems += 1
        for row in group:
            task.samples += 1
            task.tokens += row["length"]
            task.passes += row["nfe"]
            task.statuses[row["status"]] += 1
            task.finishes[row["finish"]] += 1
            if row["reward"] is not None:
                task.judged += 1
                task.reward += row["reward"]
        task.pass_rates[_band(group)] += 1
        self.settings.setdefault(group[0]["task"], _settings(group[0]))


def _band(group: list[dict[str, Any]]) -> str:
    passed = [row["status"] == "correct" for row in group if row["reward"] is not None]
    if not passed:
        return "not judged"
    rate = sum(passed) / len(passed)
    if rate in (0, 1):
        return "no sample" if rate == 0 else "every sample"
    return f"{int(rate * 4) * 25} to {int(rate * 4) * 25 + 25}%"


def _settings(row: dict[str, Any]) -> dict[str, Any]:
    model, extra = row["model"], row["extra_info"]
    return {
        "model": model["id"],
        "revision": model["revision"],
        "weights": model["fingerprint"],
        "dtype": model["dtype"],
        "split": row["split"],
        "data": extra["data_revision"],
        "verifier": " ".join(filter(None, (extra["verifier"] or row["ability"], extra["verifier_version"]))),
        "verifier options": extra["verifier_options"] if extra["verifier_options"] != "{}" else "",
        **{f"decode.{name}": value for name, value in row["decode"].items()},
    }


def write_card(title: str, view_name: str, view: View, rows: int, statistics: Statistics, keep: str | None) -> str:
    """The text of a README for a dataset of `rows` rows in a view, made from the counted samples."""
    parts = [
        _front_matter(rows),
        f"# {title}\n\nView `{view_name}`: {view.description}. {rows:,} rows, written by unmask.",
        _loading(),
        "## Statistics\n\n"
        + "Of the samples that the rows were made from"
        + (f" (groups with a pass rate of {keep} only)" if keep else "")
        + ":\n\n"
        + _statistics(statistics),
        "## Settings\n\n" + "\n\n".join(f"### {task}\n\n{_table(facts)}" for task, facts in statistics.settings.items()),
        "## Columns\n\n" + "\n".join(f"- `{column.name}`: {column.type}" for column in view.schema),
    ]
    return "\n\n".join(parts) + "\n"


def is_card(text: str) -> bool:
    """Whether a README is one that `write_card` wrote."""
    return text.startswith("---\nconfigs:") and "\n- unmask\n" in text


def _front_matter(rows: int) -> str:
    sizes = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10_000_000, "1M<n<10M"))
    size = next((name for limit, name in sizes if rows < limit), "n>10M")
    return (
        f"---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/train-*.parquet\n"
        f"size_categories:\n- {size}\ntags:\n- unmask\n- diffusion-language-model\n---"
    )


def _loading() -> str:
    return '```python\nfrom datasets import load_dataset\n\nrows = load_dataset("PATH OR HUB ID", split="train")\n```'


_COUNTED = (
    *("problems", "samples", "mean reward", "tokens a sample", "tokens a forward pass"),
    *("statuses", "finishes", "problems by pass rate"),
)


def _statistics(statistics: Statistics) -> str:
    lines = [f"| task | {' | '.join(_COUNTED)} |", "|---" * (len(_COUNTED) + 1) + "|"]
    for name, task in statistics.tasks.items():
        cells = (
            f"{task.problems:,}",
            f"{task.samples:,}",
            f"{task.reward / task.judged:.3f}" if task.judged else "-",
            f"{task.tokens / task.samples:.1f}",
            f"{task.tokens / task.passes:.2f}" if task.passes else "-",
            *(_counts(counter) for counter in (task.statuses, task.finishes, task.pass_rates)),
        )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counter.most_common())


def _table(facts: dict[str, Any]) -> str:
    shown = {name: value for name, value in facts.items() if value not in (None, "", [])}
    return "\n".join(["| setting | value |", "|---|---|", *(f"| {name} | {_plain(value)} |" for name, value in shown.items())])


def _plain(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.replace("|", "\\|").replace("\n", " ")
