"""`unmask show`: which samples, in which words, and the replay, piped and on a terminal."""

import os
import pty
import re
import select
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from unmask.harness.cli import main
from unmask.harness.records import Event
from unmask.harness.show import printable
from unmask.harness.trajectory import trajectory

from .made_runs import DECODE, MODEL, RIGHT, WRONG, make_run, roll_out, tokenizer, unfinish


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run", [[RIGHT, WRONG], [WRONG, replace(WRONG, text="\x1b]0;owned\x07\x1b[31m漢字")]])


def shown(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    assert main(["show", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_a_sample_is_shown_with_prompt_response_and_verdict(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = shown(capsys, run, "--status", "wrong", "--limit", 1)
    for part in ("toy/0 · sample 2", "wrong", "What is six times seven?", "6*7=41", "41 is not 42", "expected", "42"):
        assert part in out
    assert "6*7=42" not in out


def test_samples_are_chosen_by_problem_and_status(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, run).count("· sample") == 4
    assert re.findall(r"toy/\d · sample \d", shown(capsys, run, "--problem", "toy/1")) == ["toy/1 · sample 1", "toy/1 · sample 2"]
    assert shown(capsys, run, "--status", "correct,crashed").count("· sample") == 1


def test_a_replay_is_printed_step_by_step(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, run, "--limit", 1, "--replay").splitlines()
    steps = [line for line in lines if re.match(r" *\d+  ", line)]
    assert set(steps[0].split()[1]) <= {"░", "↵"}
    assert "6*" not in steps[1]
    assert steps[2].split()[1].startswith("6*7=░")
    assert "6*7=42↵The answer is \\boxed{42}<|im_end|>" in steps[-1]


def test_hostile_output_cannot_steer_the_terminal(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = shown(capsys, run, "--replay")
    assert "\x1b" not in out
    assert "\x07" not in out
    assert "␛]0;owned␇␛[31m漢字" in out
    assert printable("a\tb\nc\r\x9b\x7f") == "a\tb\nc␍\ufffd␡"


def test_a_run_that_goes_on_can_be_looked_at(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, unfinish(run, judged=3)).count("· sample") == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--status", "wrng"], "did you mean 'wrong'?"),
        (["--problem", "toy/9"], "--problem toy/9: not in this run"),
        (["--task", "tyo"], "did you mean 'toy'?"),
        (["--limit", "0"], "at least 1"),
        (["--status", "timeout"], "no sample is what was asked for"),
    ],
)
def test_what_is_not_there_is_said(run: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    assert main(["show", str(run), *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_trajectory_follows_edits_and_masks() -> None:
    rollout = roll_out("ab", DECODE, MODEL)
    pieces = [tokenizer().id_to_token(i) for i in rollout.token_ids]
    events = (Event(1, 0, 9, 9, "remask"), Event(0, 1, 9, 9, "edit"))
    path = trajectory(replace(rollout, events=events), pieces, [("x", "x"), ("y", "b")])
    readings = [[state.text if (state := cell.at(done)) else None for cell in path.cells[:2]] for done in range(path.steps + 1)]
    assert path.steps == 2
    assert readings == [[None, None], [None, "b"], ["a", "b"]]


def test_keys_page_through_samples_on_a_terminal(run: Path) -> None:
    child, terminal = pty.fork()
    if child == 0:
        os.environ["TERM"] = "xterm-256color"
        os.execv(sys.executable, [sys.executable, "-m", "unmask.harness.cli", "show", str(run), "--seconds", "0.2"])
    seen = ""
    for key, wanted in (("r", "toy/0 · sample 1"), ("\n", "step 2 of"), ("b", "toy/0 · sample 2"), ("q", "toy/0 · sample 1")):
        seen = _read_until(terminal, wanted, "q quit")
        os.write(terminal, key.encode())
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert "\x1b[" in seen


def _read_until(terminal: int, *wanted: str) -> str:
    """Read what the terminal shows until it holds all of `wanted`."""
    seen, end = "", time.monotonic() + 30
    while not all(text in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen) for text in wanted):
        assert time.monotonic() < end, seen
        if select.select([terminal], [], [], 0.2)[0]:
            seen += os.read(terminal, 1 << 16).decode("utf-8", "replace")
    return seen
