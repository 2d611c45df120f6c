"""Makes a dataset from rows: chooses groups, applies a view, writes files and card; and the push to the hub.

A dataset is a folder with `data/train-*.parquet` and a README, which `datasets.load_dataset` takes as it is, or a single
`.parquet` or `.jsonl` file.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from ...rewards.errors import InputError
from ..store import make_folder, write_atomically
from .card import Statistics, is_card, write_card
from .read import parquet_files, read_rows
from .views import Row, apply, find
from .write import groups, parse_keep, replacing, write_file, write_shards


@dataclass(frozen=True, slots=True)
class Selection:
    """What of the rows a dataset is to hold: a view, groups by pass rate ("LOW:HIGH"), how many samples a problem at most."""

    view: str = "rollouts"
    keep: str | None = None
    best: int = 1

    def __post_init__(self) -> None:
        find(self.view)
        if self.keep is not None:
            parse_keep(self.keep)
        if self.best < 1:
            raise InputError(f"--best is {self.best}; it must be at least 1")


def export(source: Path, out: Path, selection: Selection) -> int:
    """Write a dataset from the rollouts in `source` (see `load_rollouts`); returns its number of rows."""
    if out.resolve() in (source.resolve(), *(file.resolve() for file in parquet_files(source))):
        raise InputError(f"--out: {out} is what is read; choose another place")
    if selection.view == "rl":
        return build(_with_references(source), out, selection)
    return build(read_rows(source), out, selection)


def build(rows: Iterable[Row], out: Path, selection: Selection) -> int:
    """Write a dataset from rows in our schema, the samples of a problem together; returns its number of rows.

    Raises InputError, with nothing written, when no row qualifies.
    """
    statistics, view = Statistics(), find(selection.view)
    keep = parse_keep(selection.keep) if selection.keep else None
    chosen = statistics.counted(group for group in groups(rows) if keep is None or keep.holds(group))
    shaped = apply(selection.view, _not_empty(chosen, selection), selection.best)
    if out.suffix in (".parquet", ".jsonl"):
        make_folder(out.parent)
        return write_file(out, view.schema, shaped) if out.suffix == ".parquet" else _write_lines(out, view.schema, shaped)
    make_folder(out)
    _check_ours(out)
    count = write_shards(out / "data", view.schema, shaped)
    title = f"{', '.join(statistics.tasks)}: rollouts of {', '.join({s['model'] for s in statistics.settings.values()})}"
    write_atomically(out / "README.md", write_card(title, selection.view, view, count, statistics, selection.keep))
    return count


def _check_ours(out: Path) -> None:
    """Raise InputError if the folder has a `data` or a README that is none of ours, and would be replaced."""
    data, card = out / "data", out / "README.md"
    others = [path.name for path in data.iterdir() if not path.match("train-*.parquet")] if data.is_dir() else []
    if others:
        raise InputError(f"--out: {data} holds {others[0]}, which is no part of a dataset; choose another folder")
    if card.exists() and not is_card(card.read_text("utf-8", errors="replace")):
        raise InputError(f"--out: {card} is no card of a dataset of ours; choose another folder")


def _not_empty(rows: Iterable[Row], selection: Selection) -> Iterator[Row]:
    found = False
    for row in rows:
        found = True
        yield row
    if not found:
        raise InputError(
            f"--keep {selection.keep}: no problem's pass rate lies there" if selection.keep else "there are no rollouts"
        )


def _write_lines(path: Path, schema: pa.Schema, rows: Iterable[Row]) -> int:
    count = 0
    with replacing(path) as fresh, fresh.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps({name: row.get(name) for name in schema.names}, ensure_ascii=False) + "\n")
            count += 1
    return count


def _with_references(source: Path) -> Iterator[Row]:
    """The rows of `source`; references too long to stand in them come from the run's table of problems, in the same order."""
    path = (source if source.is_dir() else source.parent) / "problems.parquet"
    problems = read_rows(path) if path.is_file() else iter(())
    held: Row = {"id": None}
    for row in read_rows(source):
        if row["solution"] is None:
            while held["id"] != row["problem_id"] or held["task"] != row["task"]:
                held = next(problems, {})
                if not held:
                    raise InputError(f"{path}: does not hold the reference of problem {row['problem_id']!r}, nor does the row")
            reference = json.loads(held["reference"])
            row["solution"] = reference if isinstance(reference, str) else held["reference"]
            row["reward_model"] = row["reward_model"] | {"ground_truth": row["solution"]}
        yield row


def push(folder: Path, repository: str, *, private: bool = True) -> str:
    """Push a dataset folder to the hub; returns its address. Raises InputError without a token, OSError without a network."""
    import datasets
    from huggingface_hub import DatasetCard, errors, get_token

    if get_token() is None:
        raise InputError(f"--push {repository}: no token of the Hugging Face Hub; run `hf auth login` or set HF_TOKEN")
    rows = datasets.load_dataset("parquet", data_files=[str(file) for file in parquet_files(folder)], split="train")
    card = folder / "README.md"
    try:
        rows.push_to_hub(repository, private=private)
        if card.is_file():
            DatasetCard(card.read_text("utf-8")).push_to_hub(repository, repo_type="dataset")
    except (OSError, errors.HTTPError) as error:  # type: ignore[attr-defined]  # what httpx raises is no OSError
        raise OSError(f"the push to {repository} failed: {str(error).strip().splitlines()[0]}") from None
    return f"https://huggingface.co/datasets/{repository}"
