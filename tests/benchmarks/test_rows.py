"""Reading data files: every complaint is one line that names the file, the place in it, and the field."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from unmask.benchmarks.rows import Row, content_sha256, read_rows
from unmask.rewards.errors import InputError

ROWS = [{"question": "1+1?", "answer": "2"}, {"question": "2+2?", "answer": "4"}]


def _files(folder: Path) -> list[Path]:
    lines = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
    (folder / "a.jsonl").write_bytes(lines)
    (folder / "a.jsonl.gz").write_bytes(gzip.compress(lines))
    (folder / "a.json").write_text(json.dumps(ROWS))
    (folder / "a.json.gz").write_bytes(gzip.compress(json.dumps(ROWS).encode()))
    pq.write_table(pa.Table.from_pylist(ROWS), folder / "a.parquet")
    return sorted(folder.iterdir())


def test_all_formats_hold_the_same_rows(tmp_path: Path) -> None:
    files = _files(tmp_path)
    assert len(files) == 5
    for file in files:
        assert [row.values for row in read_rows(file)] == ROWS


def test_a_place_counts_lines_as_an_editor_does(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"a": 1}\n\n{"a": 2}\n')
    assert [row.where for row in read_rows(file)] == [f"{file}, line 1", f"{file}, line 3"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"a": 1}\n{"a": \n', "line 2: not valid JSON"),
        ("a.jsonl", b'{"a": 1}\n[1]\n', "line 2: expected an object"),
        ("a.jsonl", b'{"a": "\xff"}\n', "line 1: not UTF-8"),
        ("a.json", b'{"a": 1}', "expected a JSON list"),
        ("a.json", b'[{"a": 1}, 3]', "item 2: expected an object"),
        ("a.parquet", b"PAR1 but not really", "not a readable parquet file"),
        ("a.csv", b"a,b\n", "cannot tell the format"),
    ],
)
def test_a_malformed_file_names_its_place(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        list(read_rows(file))
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_truncated_gzip_is_an_error_and_not_a_shorter_file(tmp_path: Path) -> None:
    whole = gzip.compress(b'{"a": 1}\n' * 10_000)
    file = tmp_path / "a.jsonl.gz"
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="truncated or damaged gzip"):
        list(read_rows(file))
    with pytest.raises(InputError, match="truncated or damaged gzip"):
        content_sha256(file)


def test_a_file_that_is_not_gzip_at_all_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl.gz"
    file.write_bytes(b'{"a": 1}\n')
    with pytest.raises(InputError, match="damaged gzip"):
        list(read_rows(file))


def test_packing_does_not_change_the_content_hash(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"x" * 1000)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b"x" * 1000))
    assert content_sha256(tmp_path / "a.jsonl") == content_sha256(tmp_path / "a.jsonl.gz")


def test_a_missing_field_lists_what_is_there() -> None:
    with pytest.raises(InputError, match=r"f, line 3: field 'answer' or 'gold': missing \(found question\)"):
        Row("f, line 3", {"question": "?"}).text("answer", "gold")


@pytest.mark.parametrize("value", ["", "  ", ["2"], True])
def test_a_field_that_is_no_text_is_an_error(value: object) -> None:
    with pytest.raises(InputError, match="f, line 3: field 'answer'"):
        Row("f, line 3", {"answer": value}).text("answer")


def test_integers_are_accepted_as_text() -> None:
    assert Row("f", {"answer": 73}).text("answer") == "73"
