"""Where the rows of LiveCodeBench come from, and which of them make up a release.

Three layouts are understood: the hub's own files (`test.jsonl` to `test6.jsonl`, tests inside the rows; `datasets` no longer
runs the loading script they came with), the regrouped folder (`lcb_problems_v6.jsonl.gz` beside files of tests), and one file of
rows. Only statements and metadata are read here; tests stay where they are until a problem is judged.
"""

import hashlib
import re
from pathlib import Path
from typing import NamedTuple

from ..rewards.errors import InputError
from .index import stored_sha256
from .lcb_tests import read_metadata
from .rows import Row, read_rows
from .sources import data_folder, unreachable

REPOSITORY = "livecodebench/code_generation_lite"
REVISION = "0fe84c3912ea0c4d4a78037083943e8f0c4dd505"
LATEST = 6
_REGROUPED = "lcb_problems_v6.jsonl.gz"


class Entry(NamedTuple):
    """One problem: its row without tests, the release that brought it (None: unknown), and the file that holds its tests.

    `completeness` is "complete", "truncated" (only the small tests), "public_from_statement" or "none".
    """

    row: Row
    release: int | None
    tests: Path | None
    completeness: str


class Dataset(NamedTuple):
    """All rows of a range of releases, the files they are in, and where these came from ("" for local files)."""

    entries: tuple[Entry, ...]
    files: tuple[Path, ...]
    origin: str = ""

    @property
    def revision(self) -> str:
        """The hub's commit, or a hash over all files."""
        hashes = "".join(stored_sha256(file) for file in self.files) if not self.origin else ""
        return self.origin or f"sha256:{hashlib.sha256(hashes.encode()).hexdigest()}"


def parse_releases(tag: str) -> tuple[int, int]:
    """Return the first and the last release of "release_v5" (all up to 5), "v5" (what 5 added), "v4_v6" or "release_latest"."""
    if tag == "release_latest":
        return 1, LATEST
    found = re.fullmatch(r"(?:(release_)v|v(\d)_v|v)(\d)", tag)
    last = int(found[3]) if found else 0
    first = (1 if found[1] else int(found[2] or last)) if found else 0
    if not 1 <= first <= last <= LATEST:
        raise InputError(
            f"livecodebench@{tag}: no such release; use release_v1 to release_v{LATEST}, v1 to v{LATEST}, or a range v4_v6"
        )
    return first, last


def read_dataset(data: Path | None, first: int, last: int) -> Dataset:
    """Return the rows of releases `first` to `last`. Raises InputError when they are not here and cannot be downloaded."""
    place = data if data is not None else _in_data_folder()
    if place is None:
        return _from_hub_files([_download(number) for number in range(first, last + 1)], first, f"{REPOSITORY}@{REVISION}")
    if place.is_file():
        return Dataset(tuple(Entry(row, None, place, "complete") for row in read_metadata(place)), (place,))
    folder = place if _layout(place) else place / "lcb"
    if _layout(folder) == "regrouped":
        return _regrouped(folder, first, last)
    if _layout(folder) == "hub":
        return _from_hub_files([_hub_file(folder, number) for number in range(first, last + 1)], first, "")
    raise InputError(f"--data {place}: neither a file nor a folder with {_REGROUPED} or test.jsonl to test{LATEST}.jsonl")


def _in_data_folder() -> Path | None:
    return next((path for path in (data_folder() / "lcb", data_folder()) if _layout(path)), None)


def _layout(folder: Path) -> str:
    if (folder / _REGROUPED).is_file():
        return "regrouped"
    return "hub" if (folder / "test.jsonl").is_file() else ""


def _regrouped(folder: Path, first: int, last: int) -> Dataset:
    problems = folder / _REGROUPED
    placed = (_place(folder, row) for row in read_rows(problems))
    entries = tuple(entry for entry in placed if first <= (entry.release or 0) <= last)
    files = (problems, *sorted({entry.tests for entry in entries if entry.tests}))
    return Dataset(entries, files)


def _place(folder: Path, row: Row) -> Entry:
    release, completeness = row.text("first_release"), row.text("tests")
    number = parse_releases(release)[1]
    names = {"complete": f"lcb_tests_complete_v{number}.jsonl.gz", "none": None}
    name = names.get(completeness, "lcb_tests_partial.jsonl.gz")
    return Entry(row, number, folder / name if name else None, completeness)


def _from_hub_files(files: list[Path], first: int, origin: str) -> Dataset:
    entries = tuple(
        Entry(row, number, file, "complete") for number, file in enumerate(files, first) for row in read_metadata(file)
    )
    return Dataset(entries, tuple(files), origin)


def _hub_file(folder: Path, number: int) -> Path:
    path = folder / _hub_name(number)
    if not path.is_file():
        raise InputError(f"{folder}: holds no {path.name}, which release_v{number} needs; download it from {REPOSITORY}")
    return path


def _hub_name(number: int) -> str:
    return "test.jsonl" if number == 1 else f"test{number}.jsonl"


def _download(number: int) -> Path:
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    name = _hub_name(number)
    kept = huggingface_hub.try_to_load_from_cache(REPOSITORY, name, revision=REVISION, repo_type="dataset")
    if isinstance(kept, str):
        return Path(kept)
    if unreachable():
        raise InputError(_missing(name, "the hub cannot be reached"))
    try:
        return Path(huggingface_hub.hf_hub_download(REPOSITORY, name, revision=REVISION, repo_type="dataset"))
    except (OSError, HfHubHTTPError, LocalEntryNotFoundError) as error:
        raise InputError(_missing(name, str(error).splitlines()[0])) from None


def _missing(name: str, why: str) -> str:
    return (
        f"no data for livecodebench here and {why}: download {name} of {REPOSITORY} (revision {REVISION[:12]}) and give its "
        f"folder with --data PATH, or put it at {data_folder() / 'lcb' / name}"
    )
