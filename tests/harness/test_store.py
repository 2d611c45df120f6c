"""Logs lose at most the line in flight, and say where a line is wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from unmask.harness.store import Judged, Lock, Log, make_folder, write_atomically
from unmask.rewards.errors import InputError
from unmask.rewards.records import Verdict


def verdict(number: int) -> Judged:
    return Judged(f"{number:032x}", Verdict(1.0, "correct", extracted=str(number)))


def filled(folder: Path, count: int) -> None:
    log = Log(folder, Judged)
    for number in range(count):
        log.append(verdict(number))
    log.close()


def test_what_was_appended_is_read_back(tmp_path: Path) -> None:
    filled(tmp_path, 3)
    log = Log(tmp_path, Judged)
    assert list(log.keys()) == [verdict(number).key for number in range(3)]
    assert log.get(verdict(1).key) == verdict(1)
    with pytest.raises(KeyError):
        log.get("none")


@pytest.mark.parametrize("cut", [1, 20, 90])
def test_a_torn_last_line_is_dropped_and_written_over(tmp_path: Path, cut: int) -> None:
    filled(tmp_path, 3)
    part = tmp_path / "part-0.jsonl"
    part.write_bytes(part.read_bytes()[:-cut])
    log = Log(tmp_path, Judged)
    assert len(log) == 2
    log.append(verdict(2))
    log.close()
    lines = part.read_text().splitlines()
    assert [json.loads(line)["key"] for line in lines] == [verdict(number).key for number in range(3)]


def test_a_torn_line_of_another_process_is_left_alone(tmp_path: Path) -> None:
    filled(tmp_path, 2)
    part = tmp_path / "part-0.jsonl"
    torn = part.read_bytes()[:-5]
    part.write_bytes(torn)
    log = Log(tmp_path, Judged, rank=1)
    assert len(log) == 1
    assert part.read_bytes() == torn
    log.append(verdict(1))
    log.close()
    assert len(Log(tmp_path, Judged)) == 2


def test_a_damaged_line_names_file_line_and_field(tmp_path: Path) -> None:
    filled(tmp_path, 3)
    part = tmp_path / "part-0.jsonl"
    lines = part.read_text().splitlines()
    lines[1] = lines[1].replace('"status":"correct"', '"status":"corect"')
    part.write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=r"part-0\.jsonl, line 2: .*'status'.*did you mean 'correct'"):
        Log(tmp_path, Judged).get(verdict(1).key)


def test_a_line_that_is_no_json_names_file_and_line(tmp_path: Path) -> None:
    filled(tmp_path, 2)
    part = tmp_path / "part-0.jsonl"
    part.write_text("garbage\n" + part.read_text())
    with pytest.raises(InputError, match=r"part-0\.jsonl, line 1: not valid JSON"):
        Log(tmp_path, Judged)


FULL_DISK = """
import resource, sys
from pathlib import Path
from unmask.harness.store import Judged, Log
from unmask.rewards.records import Verdict
log = Log(Path(sys.argv[1]), Judged)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
written = 0
try:
    while True:
        log.append(Judged(f"{written:032x}", Verdict(1.0, "correct")))
        written += 1
except OSError:
    print(written)
"""


def test_a_write_that_fails_half_way_leaves_whole_lines(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=True)
    written = int(done.stdout)
    assert written > 0
    raw = (tmp_path / "part-0.jsonl").read_bytes()
    assert raw.endswith(b"\n")
    assert raw.count(b"\n") == written == len(Log(tmp_path, Judged))


def test_two_processes_cannot_write_into_one_directory(tmp_path: Path) -> None:
    lock = Lock(tmp_path)
    with pytest.raises(InputError, match="another process"):
        Lock(tmp_path)
    lock.release()
    Lock(tmp_path).release()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="--out"):
        make_folder(tmp_path / "file" / "run")


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_atomically(path, "one")
    write_atomically(path, "two")
    assert path.read_text() == "two"
    assert os.listdir(tmp_path) == ["x.json"]
