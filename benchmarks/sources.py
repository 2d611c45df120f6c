"""Where the rows of a benchmark come from, and which exact data that is.

In this order: the path given with `--data`; the snapshot inside the package; the data folder (`$UNMASK_DATA`, by default
`~/.cache/unmask/data`); the hub at a pinned commit, through `datasets`. A file is identified by the hash of its content, a hub
dataset by its commit. Nothing found is one InputError that says what to download and where to put it.
"""

import os
import socket
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from ..rewards.errors import InputError
from .rows import SUFFIXES, Row, content_sha256, read_rows

_EMBEDDED = Path(__file__).parent / "data"


@dataclass(frozen=True, slots=True)
class Hub:
    """One split of a hub dataset at a pinned commit; several `configs` are read one after the other.

    Without a commit, the newest is looked up when the data is first used, and is what the run reports.
    """

    path: str
    revision: str
    split: str
    configs: tuple[str | None, ...] = (None,)


@dataclass(frozen=True, slots=True)
class Source:
    """All the places where one split can be found. `stem` is its place in the data folder, without the suffix."""

    stem: str
    hub: Hub | None = None
    embedded: str = ""
    sha256: str = ""
    """Content hash of the embedded snapshot, checked whenever it is read."""
    origin: str = ""
    """Where a person finds the file, when no hub dataset can be named."""


@dataclass(frozen=True, slots=True)
class LocalFile:
    """Rows of a file; with `sha256`, only if the content has that hash."""

    path: Path
    sha256: str = ""

    @property
    def revision(self) -> str:
        return f"sha256:{self.sha256 or content_sha256(self.path)}"

    def rows(self) -> Iterator[Row]:
        if self.sha256 and (found := content_sha256(self.path)) != self.sha256:
            raise InputError(f"{self.path}: wrong checksum (sha256 {found[:12]}, expected {self.sha256[:12]}); reinstall unmask")
        return read_rows(self.path)


@dataclass(frozen=True, slots=True)
class HubRows:
    """Rows of a hub dataset, downloaded (or taken from the cache of `datasets`) when they are read."""

    hub: Hub
    stem: str

    @property
    def revision(self) -> str:
        return f"{self.hub.path}@{self._commit}"

    @property
    def _commit(self) -> str:
        return self.hub.revision or _newest(self.hub.path, self.stem)

    def rows(self) -> Iterator[Row]:
        for config in self.hub.configs:
            for number, values in enumerate(self._download(config), 1):
                yield Row(f"{self.revision}{f' {config}' if config else ''} {self.hub.split}, row {number}", dict(values))

    def _download(self, config: str | None) -> Iterator[dict[str, object]]:
        if unreachable():
            raise InputError(_missing(self.stem, _what(self.hub), "the hub cannot be reached"))
        import datasets

        try:
            loaded = datasets.load_dataset(self.hub.path, config, split=self.hub.split, revision=self._commit)
        except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
            raise InputError(_missing(self.stem, _what(self.hub), str(error).splitlines()[0])) from None
        yield from loaded


def data_folder() -> Path:
    """Return the folder where data sets that are not shipped are looked for."""
    return Path(os.environ.get("UNMASK_DATA") or Path.home() / ".cache" / "unmask" / "data")


def locate(source: Source, data: Path | None = None) -> LocalFile | HubRows:
    """Find the rows of `source`. `data` is a file, or a folder laid out like the data folder. Raises InputError."""
    if data is not None:
        return LocalFile(_given(source, data))
    if source.embedded:
        return LocalFile(_EMBEDDED / source.embedded, source.sha256)
    if (path := find(data_folder(), source.stem)) is not None:
        return LocalFile(path)
    if source.hub is not None:
        return HubRows(source.hub, source.stem)
    raise InputError(_missing(source.stem, f"obtain {source.origin or 'the file'}", "unmask cannot download it"))


def find(folder: Path, stem: str) -> Path | None:
    """Return the file of `stem` in `folder`, with any suffix that can be read."""
    paths = (folder / f"{stem}{suffix}" for suffix in SUFFIXES)
    return next((path for path in paths if path.is_file()), None)


def _given(source: Source, data: Path) -> Path:
    if data.is_file():
        return data
    if not data.exists():
        raise InputError(f"--data {data}: no such file or folder")
    if (path := find(data, source.stem)) is None:
        raise InputError(f"--data {data}: holds no {source.stem}.jsonl (nor {', '.join(SUFFIXES[1:])})")
    return path


@cache
def _newest(path: str, stem: str) -> str:
    if unreachable():
        raise InputError(_missing(stem, f"download {path}", "the hub cannot be reached"))
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return str(huggingface_hub.HfApi().dataset_info(path).sha)
    except (OSError, HfHubHTTPError) as error:
        raise InputError(_missing(stem, f"download {path}", str(error).splitlines()[0])) from None


def _what(hub: Hub) -> str:
    return f"download {hub.path} ({hub.split}{f', revision {hub.revision[:12]}' if hub.revision else ''})"


def _missing(stem: str, what: str, why: str) -> str:
    return f"no data for {stem} here and {why}: {what} and give it with --data PATH, or put it at {data_folder() / stem}.jsonl"


def unreachable() -> bool:
    """Tell at once whether the hub is out of reach, because `datasets` retries for half a minute before it says so.

    With HF_HUB_OFFLINE, `datasets` answers from its cache without asking; behind a proxy, a direct connection says nothing.
    """
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on") or urllib.request.getproxies():
        return False
    url = urlsplit(os.environ.get("HF_ENDPOINT") or "https://huggingface.co")
    try:
        socket.create_connection((url.hostname or "", url.port or 443), timeout=5).close()
    except OSError:
        return True
    return False
