"""Faults as they happen: a full disk, a clock that jumps, an engine that stops, data that changed. See docs/reliability.md."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from unmask.harness.cli import main

EVAL = ["eval", "--model", "demo", "--task", "arith", "--seed", "1", "--device", "cpu", "--set", "workers=1"]


def lines(folder: Path) -> list[dict[str, Any]]:
    """All lines of all part files, each of which has to be whole."""
    return [json.loads(line) for part in sorted(folder.glob("**/part-*.jsonl")) for line in part.read_bytes().splitlines()]


def rollouts(out: Path) -> list[tuple[str, dict[str, Any]]]:
    return [(line["key"], {**line["rollout"], "seconds": 0}) for line in lines(out / "records")]


def test_every_test_that_the_table_of_faults_names_exists() -> None:
    import unmask

    root = Path(unmask.__file__).parent
    named = re.findall(r"`(\w+/\w+\.py)::(\w+)`", (root / "docs" / "reliability.md").read_text())
    assert len(named) > 10
    for file, test in named:
        assert f"def {test}(" in (root / "tests" / file).read_text(), f"{file}::{test}"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    assert main([*EVAL, "--limit", "60", "--out", str(out)]) == 0
    return out


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 160 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small disk needs root")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_ends_the_run_in_one_line_and_with_room_it_goes_on(
    small_disk: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = small_disk / "run"
    assert main([*EVAL, "--limit", "60", "--out", str(out)]) == 1
    errors = capsys.readouterr().err.strip()
    assert "No space left on device" in errors
    assert "\n" not in errors
    assert 0 < len(lines(out / "records")) < 60
    assert not (out / "results.json").exists()
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    assert main([*EVAL, "--limit", "60", "--out", str(out)]) == 0
    assert sorted(rollouts(out)) == sorted(rollouts(whole))
    assert len(lines(out / "verdicts")) == 60


JUMPS = """
import random, time
_time, _rng = time.time, random.Random(0)
def _jump():
    return _time() + _rng.uniform(-1e6, 1e6)
time.time, time.time_ns = _jump, lambda: int(_jump() * 1e9)
"""

UNDER_A_JUMPING_CLOCK = """
import sys, time
assert abs(time.time() - time.time()) > 1, "the clock does not jump"
from unmask.rewards import Completion, PoolLimits, Problem, VerifierPool, load_verifier
from unmask.harness.cli import main
started = time.monotonic()
with VerifierPool(load_verifier(sys.argv[1]), workers=1, limits=PoolLimits(wall=1.0)) as pool:
    problem = Problem("p", "test", (), "")
    slow, quick = pool.submit(problem, Completion("hang")), pool.submit(problem, Completion("sleep"))
    assert "longer than 1 s" in slow.result().detail
    assert quick.result().reward == 1.0 and 0.2 < quick.result().seconds < 1.0
assert 2.0 < time.monotonic() - started < 20, "two attempts of a second each"
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.slow
def test_a_clock_that_jumps_changes_no_timeout_and_no_result(tmp_path: Path, whole: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(JUMPS)  # in every Python process: workers and their parent too
    verifier = tmp_path / "mine.py"
    verifier.write_text(
        "import time\n"
        "def reward(problem, completion):\n"
        "    time.sleep(60 if completion.text == 'hang' else 0.3)\n"
        "    return 1.0\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", UNDER_A_JUMPING_CLOCK, f"{verifier}:reward", *EVAL, "--limit", "60", "--out", tmp_path / "run"],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(rollouts(tmp_path / "run")) == sorted(rollouts(whole))
    (task,) = json.loads((tmp_path / "run" / "results.json").read_text())["tasks"]
    assert 0 < task["tokens_per_second"] < 1e5


def test_data_that_changed_since_is_another_run_and_both_revisions_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "mine.jsonl"
    data.write_text('{"question": "What is 2 + 3?", "answer": "5"}\n')
    command = ["eval", "--model", "demo", "--task", str(data), "--device", "cpu", "--out", str(tmp_path / "run")]
    assert main(command) == 0
    revision = json.loads((tmp_path / "run" / "results.json").read_text())["tasks"][0]["data_revision"]
    data.write_text('{"question": "What is 2 + 4?", "answer": "6"}\n')
    before = lines(tmp_path / "run")
    assert main(command) == 2
    errors = capsys.readouterr().err.strip()
    assert f"was {revision!r}, is now '" in errors
    assert "\n" not in errors
    assert lines(tmp_path / "run") == before


def test_completions_that_changed_since_are_another_scoring(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "answers.jsonl"
    source.write_text('{"id": "a", "completion": "\\\\boxed{7}", "reference": "7"}\n')
    command = ["score", str(source), "--verifier", "math", "--out", str(tmp_path / "out")]
    assert main(command) == 0
    source.write_text(source.read_text().replace("boxed{7}", "boxed{8}"))
    assert main(command) == 2
    assert "is another scoring (content was '" in capsys.readouterr().err


def test_completions_that_could_not_be_scored_are_scored_when_the_command_is_repeated(tmp_path: Path) -> None:
    verifier, source, out = tmp_path / "mine.py", tmp_path / "answers.jsonl", tmp_path / "out"
    verifier.write_text(
        "from pathlib import Path\n"
        "def reward(problem, completion):\n"
        "    with Path(__file__).with_name('calls').open('a') as calls:\n"
        "        calls.write(problem.id)\n"
        "    if problem.id in 'bd' and not Path(__file__).with_name('mended').exists():\n"
        "        raise OSError('the engine is down')\n"
        "    return 1.0\n"
    )
    source.write_text("".join(f'{{"id": "{name}", "completion": "x", "reference": "1"}}\n' for name in "abcde"))
    command = ["score", str(source), "--verifier", f"{verifier}:reward", "--out", str(out)]
    assert main(command) == 0
    before = [json.loads(line) for line in (out / "verdicts.jsonl").read_text().splitlines()]
    assert [line["reward"] for line in before] == [1.0, None, 1.0, None, 1.0]
    (tmp_path / "mended").touch()
    (tmp_path / "calls").write_text("")
    assert main(command) == 0
    after = [json.loads(line) for line in (out / "verdicts.jsonl").read_text().splitlines()]
    assert [(line["id"], line["reward"]) for line in after] == [(name, 1.0) for name in "abcde"]
    assert sorted((tmp_path / "calls").read_text()) == ["b", "d"]
    assert json.loads((out / "results.json").read_text())["statuses"] == {"correct": 5}


class Engine:
    """A Docker engine of its own, beside the machine's: it can be stopped without harm to anybody."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.host = f"unix://{folder}/socket"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        folders = ["--data-root", f"{self._folder}/data", "--exec-root", f"{self._folder}/exec", "-p", f"{self._folder}/pid"]
        settings = ["--bridge=none", "--iptables=false", "--ip6tables=false", "--shutdown-timeout=1"]
        self._process = subprocess.Popen(["dockerd", *settings, *folders, "-H", self.host], stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while subprocess.run(["docker", "-H", self.host, "info"], capture_output=True, check=False).returncode != 0:
            if self._process.poll() is not None or time.monotonic() > deadline:
                pytest.skip("no second docker engine can be started here")
            time.sleep(0.2)

    def load(self, image: str) -> None:
        saved = subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE)
        subprocess.run(["docker", "-H", self.host, "load"], stdin=saved.stdout, capture_output=True, check=True)
        assert saved.wait() == 0

    def stop(self) -> None:
        """Stop it with its containers, which it would give ten seconds each to end by themselves."""
        if self._process is not None:
            docker = ["docker", "-H", self.host]
            running = subprocess.run([*docker, "ps", "-q"], capture_output=True, text=True, check=False).stdout.split()
            subprocess.run([*docker, "kill", *running], capture_output=True, check=False)
            self._process.terminate()
            self._process.wait()


@pytest.fixture
def engine() -> Iterator[Engine]:
    from unmask.sandbox.backends.docker import DEFAULT_IMAGE

    if os.geteuid() != 0 or shutil.which("dockerd") is None:
        pytest.skip("a docker engine of one's own needs root and dockerd")
    if subprocess.run(["docker", "image", "inspect", DEFAULT_IMAGE], capture_output=True, check=False).returncode != 0:
        pytest.skip("no docker image: `unmask sandbox build`")
    with tempfile.TemporaryDirectory(
        prefix="ue", ignore_cleanup_errors=True
    ) as folder:  # a short path: those of sockets are limited
        made = Engine(Path(folder))
        try:
            made.start()
            made.load(DEFAULT_IMAGE)
            yield made
        finally:
            made.stop()
            subprocess.run(["umount", "-l", f"{folder}/data"], capture_output=True, check=False)


RUNS_CODE = """
import time
from pathlib import Path
from unmask.rewards.code import shared_sandbox

CALLS, STOPPED = (Path(__file__).with_name(name) for name in ("calls", "stopped"))

def reward(problem, completion):
    with CALLS.open("a") as calls:
        calls.write("x")
    while CALLS.stat().st_size > 3 and not STOPPED.exists():
        time.sleep(0.05)
    return float(shared_sandbox("docker", None, 1).run("print(1)").stdout == b"1\\n")
"""


@pytest.mark.slow
def test_what_could_not_be_judged_while_the_docker_engine_was_down_is_judged_when_it_is_back(
    engine: Engine, tmp_path: Path
) -> None:
    verifier, out = tmp_path / "mine.py", tmp_path / "run"
    verifier.write_text(RUNS_CODE)
    command = [sys.executable, "-m", "unmask.harness.cli", *EVAL, "--limit", "12", "--verifier", f"{verifier}:reward"]
    env = {**os.environ, "DOCKER_HOST": engine.host}
    process = subprocess.Popen(
        [*command, "--out", str(out)], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    deadline = time.monotonic() + 120
    while len(lines(out / "verdicts")) < 3:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    engine.stop()
    (tmp_path / "stopped").touch()
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 1, printed
    assert "samples could not be judged" in printed
    before = {line["key"]: line["verdict"] for line in lines(out / "verdicts")}
    assert len(before) == 12
    statuses = Counter(verdict["status"] for verdict in before.values())
    assert statuses == {"correct": 3, "verifier_error": 9}, "an engine that is down is nobody's wrong answer"
    engine.start()
    generated = (out / "records" / "part-0.jsonl").read_bytes()
    again = subprocess.run([*command, "--out", str(out)], env=env, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stdout + again.stderr
    assert (out / "records" / "part-0.jsonl").read_bytes() == generated
    after = Counter(line["key"] for line in lines(out / "verdicts"))
    assert {key for key, count in after.items() if count == 2} == {
        key for key, verdict in before.items() if verdict["status"] == "verifier_error"
    }, "only those are judged again"
