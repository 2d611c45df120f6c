"""The run directory: append-only logs while running, tables at the end.

`Log` is one kind of record in `part-<rank>.jsonl` files, one line each, found again by key. A line is written with a single
call and is either whole or the torn last line of a file, which is dropped: a process that dies at any moment, or a disk that is
full, loses the item in flight and nothing else. The index holds a place per key, never the records, so memory stays small.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, ClassVar, Generic, TypeVar

from ..rewards.errors import InputError
from ..rewards.records import Verdict
from ..rewards.serde import decode, dumps
from .records import Rollout


@dataclass(frozen=True, slots=True)
class Generated:
    """A line of `records/`: a completion and whose it is."""

    schema: ClassVar[int] = 1

    key: str
    task: str
    cluster: str
    rollout: Rollout


@dataclass(frozen=True, slots=True)
class Judged:
    """A line of `verdicts/<verifier>/`: what a verifier made of the completion with this key."""

    schema: ClassVar[int] = 1

    key: str
    verdict: Verdict


Line = TypeVar("Line", bound=Generated | Judged)


class Log(Generic[Line]):
    """The part files of one folder. Reads all of them, appends to its own; the last line of a key counts.

    Not for two threads at once.
    """

    def __init__(self, folder: Path, kind: type[Line], rank: int = 0) -> None:
        self._kind = kind
        self._own = folder / f"part-{rank}.jsonl"
        self._places: dict[str, tuple[Path, int, int]] = {}
        self._readers: dict[Path, BinaryIO] = {}
        make_folder(folder)
        drop_torn_line(self._own)
        for part in sorted(folder.glob("part-*.jsonl")):
            self._scan(part)
        self._file = os.open(self._own, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._end = os.fstat(self._file).st_size

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    def append(self, line: Line) -> None:
        """Write one record. Raises OSError (a full disk, say) and leaves the file without the torn line."""
        data = f"{dumps(line)}\n".encode()
        written = 0
        try:
            while written < len(data):
                written += os.write(self._file, data[written:])
        except OSError:
            os.ftruncate(self._file, self._end)
            raise
        self._places[line.key] = (self._own, self._end, 0)
        self._end += len(data)

    def get(self, key: str) -> Line:
        """Read and validate the record with this key. Raises KeyError, or InputError naming file, line and field."""
        part, offset, _ = self._places[key]
        reader = self._readers.get(part) or self._readers.setdefault(part, part.open("rb"))
        reader.seek(offset)
        return self._parse(reader.readline(), part, offset)

    def keys(self) -> Iterator[str]:
        return iter(self._places)

    def close(self) -> None:
        os.close(self._file)
        for reader in self._readers.values():
            reader.close()

    def _scan(self, part: Path) -> None:
        offset = 0
        with part.open("rb") as file:
            for number, raw in enumerate(file, 1):
                if raw.endswith(b"\n"):
                    self._places[self._key(raw, part, number)] = (part, offset, number)
                offset += len(raw)

    def _key(self, raw: bytes, part: Path, number: int) -> str:
        """The key of a line; of one that we wrote ourselves it is read without parsing the rest."""
        start = b'{"schema":1,"key":"'
        if raw.startswith(start) and raw.endswith(b"}\n"):
            return raw[len(start) : raw.index(b'"', len(start))].decode()
        return _parse_line(self._kind, raw, f"{part}, line {number}").key

    def _parse(self, raw: bytes, part: Path, offset: int) -> Line:
        try:
            return _parse_line(self._kind, raw, str(part))
        except InputError:
            number = part.read_bytes()[:offset].count(b"\n") + 1
            return _parse_line(self._kind, raw, f"{part}, line {number}")


def _parse_line(kind: type[Line], raw: bytes, where: str) -> Line:
    try:
        data = json.loads(raw)
    except ValueError as error:
        raise InputError(f"{where}: not valid JSON ({error}); remove that line and run again") from None
    return decode(kind, data, where)


def drop_torn_line(path: Path) -> None:
    """Cut off what follows the last newline: the write that a crash interrupted."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        end = file.seek(0, os.SEEK_END)
        position = end
        while position > 0:
            step = min(position, 1 << 16)
            file.seek(position - step)
            newline = file.read(step).rfind(b"\n")
            if newline >= 0:
                position = position - step + newline + 1
                break
            position -= step
        if position < end:
            file.truncate(position)


def make_folder(folder: Path) -> None:
    """Create a folder with its parents. Raises InputError when that is not possible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out: {folder} cannot be written ({error.strerror}); choose another folder") from None
    if not os.access(folder, os.W_OK):
        raise InputError(f"--out: {folder} cannot be written (permission denied); choose another folder")


def check_no_strangers(folder: Path, kind: str) -> None:
    """Raise InputError if a folder that is to become ours holds files of somebody else's. Hidden ones do not count."""
    strangers = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    if strangers:
        raise InputError(f"--out: {folder} holds {strangers[0]} and is no {kind}; choose another folder")


class Lock:
    """Keeps two processes from writing into one run directory. Released when the process ends, however it ends."""

    def __init__(self, folder: Path) -> None:
        try:
            self._file = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise InputError(f"--out: {folder} cannot be written ({error.strerror}); choose another folder") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            raise InputError(f"--out: another process is writing into {folder}; wait for it, or choose another folder") from None

    def release(self) -> None:
        os.close(self._file)


def write_atomically(path: Path, text: str) -> None:
    """Replace a file as a whole, so that a reader or a crash never sees half of it."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text, "utf-8")
    temporary.replace(path)
