"""The run directory: append-only logs while running, tables at the end.

`Log` is one kind of record in `part-<rank>.jsonl` files, one line each, found again by key. A line is written with a single
call and is either whole or the torn last line of a file, which is dropped: a process that dies at any moment, or a disk that is
full, loses the item in flight and nothing else. The index holds a place per key, never the records, so memory stays small.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, ClassVar, Generic, TypeVar

import orjson

from ..rewards.errors import InputError
from ..rewards.records import Verdict
from ..rewards.serde import decode, dump_line
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

    What other processes append is seen after `refresh`. Not for two threads at once.
    """

    def __init__(self, folder: Path, kind: type[Line], rank: int = 0) -> None:
        self._kind, self._folder = kind, folder
        self._own = folder / f"part-{rank}.jsonl"
        self._parts: list[Path] = []
        self._places: dict[str, int] = {}
        self._scanned: dict[Path, int] = {}
        self._readers: dict[Path, BinaryIO] = {}
        make_folder(folder)
        drop_torn_line(self._own)
        self._opened: dict[Path, int] | None = None
        self.refresh()
        self._opened = dict(self._scanned)
        self._file = os.open(self._own, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._end = self._scanned[self._own] = os.fstat(self._file).st_size

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    def append(self, line: Line) -> None:
        """Write one record. Raises OSError (a full disk, say) and leaves the file without the torn line."""
        data = dump_line(line)
        written = 0
        try:
            while written < len(data):
                written += os.write(self._file, data[written:])
        except OSError:
            os.ftruncate(self._file, self._end)
            raise
        self._places[line.key] = self._place(self._own, self._end)
        self._end = self._scanned[self._own] = self._end + len(data)

    def refresh(self) -> None:
        """Read what other processes have written since the last time."""
        for part in sorted(self._folder.glob("part-*.jsonl")):
            if part.stat().st_size > self._scanned.get(part, 0):
                self._scan(part)

    def sync(self) -> None:
        """Have what was appended on the disk, where other machines see it."""
        os.fsync(self._file)

    def get(self, key: str) -> Line:
        """Read and validate the record with this key. Raises KeyError, or InputError naming file, line and field."""
        part, offset = self._where(key)
        reader = self._readers.get(part) or self._readers.setdefault(part, part.open("rb"))
        reader.seek(offset)
        return self._parse(reader.readline(), part, offset)

    def is_new(self, key: str) -> bool:
        """Whether the record with this key was written after this log was opened, by whomever. Raises KeyError."""
        part, offset = self._where(key)
        return offset >= (self._opened or {}).get(part, 0)

    def keys(self) -> Iterator[str]:
        return iter(self._places)

    def __enter__(self) -> "Log[Line]":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        os.close(self._file)
        for reader in self._readers.values():
            reader.close()

    def _place(self, part: Path, offset: int) -> int:
        """A place as one number, which takes a third of the memory of a pair."""
        if part not in self._parts:
            self._parts.append(part)
        return self._parts.index(part) << _OFFSET_BITS | offset

    def _where(self, key: str) -> tuple[Path, int]:
        place = self._places[key]
        return self._parts[place >> _OFFSET_BITS], place & (1 << _OFFSET_BITS) - 1

    def _scan(self, part: Path) -> None:
        offset = start = self._scanned.get(part, 0)
        number_of_part = self._place(part, 0)
        with part.open("rb") as file:
            file.seek(start)
            for number, raw in enumerate(file, 1):
                if not raw.endswith(b"\n"):
                    break
                key = self._key(raw, part, number if start == 0 else None)
                if not (self._opened is None and key in self._places and raw.startswith(_UNJUDGED, len(_START) + len(key))):
                    self._places[key] = number_of_part | offset
                offset += len(raw)
        self._scanned[part] = offset

    def _key(self, raw: bytes, part: Path, number: int | None) -> str:
        """The key of a line; of one that we wrote ourselves it is read without parsing the rest."""
        if raw.startswith(_START) and raw.endswith(b"}\n"):
            return raw[len(_START) : raw.index(b'"', len(_START))].decode()
        return _parse_line(self._kind, raw, str(part) if number is None else f"{part}, line {number}").key

    def _parse(self, raw: bytes, part: Path, offset: int) -> Line:
        try:
            return _parse_line(self._kind, raw, str(part))
        except InputError:
            number = part.read_bytes()[:offset].count(b"\n") + 1
            return _parse_line(self._kind, raw, f"{part}, line {number}")


_OFFSET_BITS = 44
_START = b'{"schema":1,"key":"'
_UNJUDGED = b'","verdict":{"schema":1,"reward":null'
"""How the line of a verifier's error goes on after its key. It never outweighs a verdict, whichever file either is in."""


def _parse_line(kind: type[Line], raw: bytes, where: str) -> Line:
    try:
        data = orjson.loads(raw)
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
    """Keeps two processes of one rank from writing into one directory. Released when the process ends, however it ends."""

    def __init__(self, folder: Path, rank: int = 0) -> None:
        self._file = _open_lock(folder, f".lock-{rank}")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            who = f"another process of rank {rank}" if rank else "another process"
            raise InputError(f"--out: {who} is writing into {folder}; wait for it, or choose another folder") from None

    def release(self) -> None:
        os.close(self._file)


@contextmanager
def turn(folder: Path) -> Iterator[None]:
    """Wait until no other process is in such a block for this directory. For what is done in moments."""
    file = _open_lock(folder, ".turn")
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def _open_lock(folder: Path, name: str) -> int:
    try:
        return os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise InputError(f"--out: {folder} cannot be written ({error.strerror}); choose another folder") from None


def write_atomically(path: Path, text: str) -> None:
    """Replace a file as a whole, so that a reader or a crash never sees half of it."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text, "utf-8")
    temporary.replace(path)
