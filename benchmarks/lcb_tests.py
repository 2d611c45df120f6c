"""The tests of a LiveCodeBench row: decoding them without trusting them, one problem at a time.

A row keeps its tests as JSON text, the private ones often as base64(zlib(pickle(JSON text))). The pickle holds one string, so
the unpickler here refuses every class, function and persistent object: nothing in a data file is ever executed. Not covered:
running programs, comparing outputs.
"""

import base64
import binascii
import io
import pickle
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ..rewards.errors import InputError
from .index import read_row, small_columns
from .rows import Row, parse_json

# Unpacked test lists reach 200 MB on the hub; anything far beyond is no test list.
_MOST_UNPACKED = 2 << 30
TEST_COLUMNS = ("public_test_cases", "private_test_cases")


class Case(NamedTuple):
    """One test: bytes for stdin and the expected stdout, or JSON arguments (one a line) and the expected JSON value."""

    input: str
    output: str
    testtype: Literal["stdin", "functional"]


class _TextUnpickler(pickle.Unpickler):
    """Reads pickles of plain data only."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it holds {module}.{name}, and a test list holds only text")

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it holds a persistent object, and a test list holds only text")


def decode_tests(row: Row) -> tuple[Case, ...]:
    """Return the public and then the private tests of a row. Raises InputError naming file, row and field."""
    tests = [test for name in TEST_COLUMNS for test in _decode_column(row, name)]
    if not tests:
        raise InputError(f"{row.where}: field 'private_test_cases': no tests (a problem without tests cannot be judged)")
    return tuple(tests)


def _decode_column(row: Row, name: str) -> Iterator[Case]:
    where = f"{row.where}: field {name!r}"
    cases = row.values.get(name)
    if isinstance(cases, str):
        cases = _parse(cases, where)
    if not isinstance(cases, list):
        raise InputError(f"{where}: expected a list of tests")
    for number, case in enumerate(cases, 1):
        yield _test(case, f"{where}, test {number}")


def _test(case: Any, where: str) -> Case:
    if not isinstance(case, dict):
        raise InputError(f"{where}: expected an object")
    for key in ("input", "output"):
        if not isinstance(case.get(key), str):
            raise InputError(f"{where}: {key!r} should be text")
    if case.get("testtype") not in ("stdin", "functional"):
        raise InputError(f"{where}: testtype {case.get('testtype')!r} is neither stdin nor functional")
    return Case(case["input"], case["output"], case["testtype"])


def _parse(text: str, where: str) -> Any:
    if not text.lstrip().startswith("["):
        text = _unpack(text, where)
    return parse_json(text, where)


def _unpack(text: str, where: str) -> str:
    """Undo base64(zlib(pickle(str))) without executing anything."""
    try:
        unpacker = zlib.decompressobj()
        packed = unpacker.decompress(base64.b64decode(text, validate=True), _MOST_UNPACKED)
        if not unpacker.eof:
            raise InputError(f"{where}: truncated, or larger than {_MOST_UNPACKED >> 30} GiB")
        found = _TextUnpickler(io.BytesIO(packed)).load()
    except (binascii.Error, zlib.error) as error:
        raise InputError(f"{where}: neither JSON nor base64(zlib(pickle)) ({error})") from None
    except pickle.UnpicklingError as error:
        raise InputError(f"{where}: refused to unpickle: {error}") from None
    except (EOFError, ValueError, IndexError, KeyError, AttributeError, TypeError, OverflowError, MemoryError) as error:
        raise InputError(f"{where}: damaged pickle ({type(error).__name__}: {error})") from None
    if not isinstance(found, str):
        raise InputError(f"{where}: the pickle holds {type(found).__name__}, expected text")
    return found


def read_tests(path: Path, question_id: str) -> tuple[Case, ...]:
    """Return the tests of one problem of a JSON Lines file, reading only its row (and the index). Raises InputError."""
    return decode_tests(read_row(path, "question_id", TEST_COLUMNS, question_id))


def read_metadata(path: Path) -> Iterator[Row]:
    """Yield the rows of `path` without their tests."""
    return small_columns(path, "question_id", TEST_COLUMNS)
