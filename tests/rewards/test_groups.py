"""Group verifiers: rewards that depend on all samples of a problem, in the pool, in `score` and in `eval`."""

import json
import textwrap
from pathlib import Path

import pytest
from unmask.harness.cli import main
from unmask.rewards import Completion, InputError, PoolLimits, Problem, VerifierPool, load_verifier
from unmask.rewards.compose import Weighted

RANK = """
def reward(problem, completions):
    order = sorted(range(len(completions)), key=lambda i: len(completions[i].text))
    return [order.index(i) / (len(completions) - 1) if len(completions) > 1 else 0.0 for i in range(len(completions))]

def hang(problem, completions):
    import os
    if any(c.text == "exit" for c in completions):
        os._exit(0)
    while any(c.text == "hang" for c in completions):
        pass
    return [1.0] * len(completions)

def too_few(problem, completions):
    return [1.0]
"""


@pytest.fixture
def mine(tmp_path: Path) -> str:
    (tmp_path / "mine.py").write_text(textwrap.dedent(RANK))
    return str(tmp_path / "mine.py")


def problem(name: str, reference: str = "4") -> Problem:
    return Problem(name, "t", (), reference)


def test_a_function_of_completions_ranks_the_samples_of_a_problem(mine: str) -> None:
    with VerifierPool(load_verifier(f"{mine}:reward"), workers=1) as pool:
        # Samples of two problems come mixed.
        futures = [pool.submit(problem(name), Completion(text), 3) for text in ("aaa", "a", "aa") for name in ("p", "q")]
        rewards = [future.result(60).reward for future in futures]
    assert rewards == [1.0, 1.0, 0.0, 0.0, 0.5, 0.5]


def test_a_hang_or_an_exit_costs_one_group(mine: str) -> None:
    with VerifierPool(load_verifier(f"{mine}:hang"), workers=1, limits=PoolLimits(wall=30.0, cpu=0.2)) as pool:
        groups = [pool.submit_group(problem(word), [Completion(word), Completion("x")]) for word in ("hang", "exit", "fine")]
        found = [[future.result(60) for future in group] for group in groups]
    assert [[verdict.status for verdict in group] for group in found] == [["verifier_error"] * 2] * 2 + [["correct"] * 2]
    assert "0.4 s of CPU" in found[0][0].detail, "the limit is that of one item for each sample"


def test_a_wrong_number_of_rewards_is_no_verdict(mine: str) -> None:
    with VerifierPool(load_verifier(f"{mine}:too_few"), workers=1) as pool:
        first, second = pool.submit_group(problem("p"), [Completion("a"), Completion("b")])
    assert "1 rewards for 2 completions" in first.result().detail
    assert second.result().reward is None


def test_a_group_that_never_becomes_complete_is_not_judged_by_half(mine: str) -> None:
    with VerifierPool(load_verifier(f"{mine}:reward"), workers=1) as pool:
        future = pool.submit(problem("p"), Completion("a"), 2)
        pool.give_up_groups()
        assert future.result(10).status == "verifier_error"
        assert "only 1 samples" in future.result().detail


def test_right_answers_compete_on_length() -> None:
    verifier = load_verifier("brevity", unit="characters", weight=0.5)
    texts = [r"\boxed{4}", r"well, \boxed{4}", r"well, well, \boxed{5}", r"\boxed{5}"]
    with VerifierPool(verifier, workers=1) as pool:
        verdicts = [future.result(60) for future in pool.submit_group(problem("p"), [Completion(text) for text in texts])]
    assert [verdict.reward for verdict in verdicts] == [1.25, pytest.approx(1 + 0.5 * (0.5 - 6 / 12)), -0.25, 0.0]
    assert [verdict.status for verdict in verdicts] == ["correct", "correct", "wrong", "wrong"]
    assert verdicts[0].parts["brevity"] == 0.5
    assert load_verifier("brevity", options={"rule": "minerva"}).version != load_verifier("brevity").version


def test_a_group_verifier_is_no_part_of_a_composition(mine: str) -> None:
    with pytest.raises(InputError, match="judges groups"):
        Weighted({"rank": load_verifier(f"{mine}:reward")})


def lines(out: Path) -> list[float | None]:
    return [json.loads(line)["reward"] for line in (out / "verdicts.jsonl").read_text().splitlines()]


def test_score_judges_groups_whose_samples_lie_apart_and_resumes_in_the_middle_of_one(mine: str, tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    rows = [(name, sample, "a" * length) for sample, length in enumerate((3, 1, 2)) for name in ("p", "q")]
    source.write_text(
        "".join(
            json.dumps({"id": f"{name}{sample}", "problem_id": name, "sample": sample, "completion": text, "reference": "4"})
            + "\n"
            for name, sample, text in rows
        )
    )
    command = ["score", str(source), "--verifier", f"{mine}:reward", "--out", str(tmp_path / "out")]
    assert main(command) == 0
    whole = (tmp_path / "out" / "verdicts.jsonl").read_text()
    assert lines(tmp_path / "out") == [1.0, 1.0, 0.0, 0.0, 0.5, 0.5]
    (tmp_path / "out" / "verdicts.jsonl").write_text("".join(whole.splitlines(keepends=True)[:3]))
    assert main(command) == 0
    assert lines(tmp_path / "out") == [1.0, 1.0, 0.0, 0.0, 0.5, 0.5]


def test_a_run_is_judged_in_groups(mine: str, tmp_path: Path) -> None:
    run = ["eval", "--model", "demo", "--task", "arith", "--limit", "3", "--samples", "3", "--device", "cpu"]
    assert main([*run, "--verifier", f"{mine}:reward", "--out", str(tmp_path / "run")]) == 0
    (folder,) = (tmp_path / "run" / "verdicts").iterdir()
    rewards = sorted(json.loads(line)["verdict"]["reward"] for line in (folder / "part-0.jsonl").read_text().splitlines())
    assert rewards == [0.0] * 3 + [0.5] * 3 + [1.0] * 3
