"""Runs on a Ray cluster of three simulated machines: killed machines, processes and drivers lose nothing.

Ray takes some ten seconds to start, so these tests are slow ones and share a cluster; each machine that is killed is replaced.
"""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from unmask.harness.cli import main

cluster_utils = pytest.importorskip("ray.cluster_utils", reason="Ray is not installed: pip install 'unmask[ray]'")

pytestmark = pytest.mark.slow

ARITH = ["eval", "--model", "demo", "--task", "arith", "--seed", "1", "--device", "cpu", "--limit", "40", "--samples", "2"]


class Machines:
    """Three nodes of one core each; all are processes of this machine."""

    def __init__(self) -> None:
        self.cluster = cluster_utils.Cluster(head_node_args={"num_cpus": 1, "include_dashboard": False}, initialize_head=True)
        self.others = [self.cluster.add_node(num_cpus=1) for _ in range(2)]

    def kill_one(self) -> None:
        """Kill a machine that is not the head, as a power cut does."""
        self.cluster.remove_node(self.others.pop(), allow_graceful=False)

    def replace(self) -> None:
        while len(self.others) < 2:
            self.others.append(self.cluster.add_node(num_cpus=1))

    def start(self, *command: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "unmask.harness.cli", *command, "--executor", "ray"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "RAY_ADDRESS": self.cluster.address},
        )


@pytest.fixture(scope="module")
def machines() -> Iterator[Machines]:
    made = Machines()
    yield made
    made.cluster.shutdown()


def wait_for_lines(file: Path, count: int, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        if file.exists() and file.read_bytes().count(b"\n") >= count:
            return
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    raise AssertionError(f"fewer than {count} lines in {file} after three minutes")


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def by_key(lines: list[dict[str, Any]], field: str) -> dict[str, Any]:
    assert set(Counter(line["key"] for line in lines).values()) == {1}, "none is there twice"
    return {line["key"]: {**line[field], "seconds": 0} for line in lines}


def test_a_run_whose_driver_and_then_a_machine_are_killed_is_that_of_one_process(machines: Machines, tmp_path: Path) -> None:
    alone, out = tmp_path / "alone", tmp_path / "run"
    assert main([*ARITH, "--out", str(alone)]) == 0
    command = [*ARITH, "--actors", "3", "--max-batch", "4", "--out", str(out)]
    records = out / "records" / "part-0.jsonl"
    driver = machines.start(*command)
    wait_for_lines(records, 5, driver)
    driver.kill()
    driver.communicate()
    begun = len(lines(records))
    assert begun < 60
    driver = machines.start(*command)
    wait_for_lines(records, begun + 5, driver)
    machines.kill_one()
    printed, _ = driver.communicate(timeout=240)
    assert driver.returncode == 0, printed
    assert by_key(lines(records), "rollout") == by_key(lines(alone / "records" / "part-0.jsonl"), "rollout")
    ours, theirs = (next((folder / "verdicts").iterdir()) / "part-0.jsonl" for folder in (out, alone))
    assert by_key(lines(ours), "verdict") == by_key(lines(theirs), "verdict")
    assert json.loads((out / "environment.json").read_text())["actors"] == 3
    machines.replace()


VERIFIER = """
import os, signal, time
from pathlib import Path

KILLED = Path(__file__).with_name("killed")

def reward(problem, completion):
    time.sleep(0.02)
    if completion.text == "crash":
        os._exit(1)
    if completion.text == "300" and not KILLED.exists():
        KILLED.touch()
        warm_parent = Path(f"/proc/{os.getppid()}/stat").read_text()
        os.kill(int(warm_parent.rpartition(")")[2].split()[1]), signal.SIGKILL)  # the process of Ray's task
        time.sleep(60)
    return float(completion.text == problem.reference)
"""


def test_verdicts_of_a_task_and_a_machine_that_are_killed_are_made_by_others(machines: Machines, tmp_path: Path) -> None:
    file, source, out = tmp_path / "mine.py", tmp_path / "answers.jsonl", tmp_path / "out"
    file.write_text(VERIFIER)
    texts = ["crash" if number == 100 else str(number) for number in range(600)]
    answers = [{"id": f"a{number}", "completion": text, "reference": str(number)} for number, text in enumerate(texts)]
    source.write_text("".join(f"{json.dumps(answer)}\n" for answer in answers))
    driver = machines.start("score", str(source), "--verifier", f"{file}:reward", "--out", str(out))
    wait_for_lines(out / "verdicts.jsonl", 200, driver)
    machines.kill_one()
    printed, _ = driver.communicate(timeout=120)
    assert driver.returncode == 0, printed
    assert (tmp_path / "killed").exists()
    verdicts = lines(out / "verdicts.jsonl")
    assert [line["id"] for line in verdicts] == [answer["id"] for answer in answers]
    assert Counter(line["status"] for line in verdicts) == {"correct": 599, "verifier_error": 1}
    assert "exited with code 1" in verdicts[100]["detail"]
    machines.replace()


def test_the_samples_of_a_problem_are_judged_together_where_the_verifier_asks_for_it(machines: Machines, tmp_path: Path) -> None:
    file, source, out = tmp_path / "mine.py", tmp_path / "answers.jsonl", tmp_path / "out"
    file.write_text("def reward(problem, completions):\n    return [float(len(completions))] * len(completions)\n")
    answers = [{"id": f"a{n}", "completion": "x", "reference": "", "problem_id": f"p{n % 4}"} for n in range(11)]
    source.write_text("".join(f"{json.dumps(answer)}\n" for answer in answers))
    driver = machines.start("score", str(source), "--verifier", f"{file}:reward", "--out", str(out))
    printed, _ = driver.communicate(timeout=120)
    assert driver.returncode == 0, printed
    assert [line["reward"] for line in lines(out / "verdicts.jsonl")] == [3.0, 3.0, 3.0, 2.0] * 2 + [3.0, 3.0, 3.0]


def test_a_verifier_that_cannot_be_loaded_is_named_in_one_line(machines: Machines, tmp_path: Path) -> None:
    file, source = tmp_path / "mine.py", tmp_path / "answers.jsonl"
    file.write_text("import os\nassert os.environ.get('HERE')\ndef reward(problem, completion):\n    return 1.0\n")
    source.write_text('{"id": "a", "completion": "1", "reference": "1"}\n')
    os.environ["HERE"] = "only on the machine of the driver"
    try:
        driver = machines.start("score", str(source), "--verifier", f"{file}:reward", "--out", str(tmp_path / "out"))
        printed, _ = driver.communicate(timeout=120)
    finally:
        del os.environ["HERE"]
    assert driver.returncode == 2
    assert "cannot be loaded on the cluster: AssertionError" in printed
    assert "Traceback" not in printed
