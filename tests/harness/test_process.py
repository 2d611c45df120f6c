"""Process rewards of a run: states gone on from exactly, declared combinations, resumable, and readable afterwards."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from unmask.benchmarks.arith import Arith
from unmask.harness.cli import main
from unmask.harness.dataset.read import load_rollouts
from unmask.harness.models.model import Model, load_model
from unmask.harness.process.apply import Process
from unmask.harness.process.base import Context, Item, ProcessConfig, Steps, combined, load_process_reward
from unmask.harness.process.states import states_of
from unmask.harness.records import DecodeConfig, Request, Rollout, Sample
from unmask.rewards import InputError, Problem, StepReward, Verdict, VerifierPool, load_verifier

REFERENCE = Path(__file__).parents[3] / "shared" / "reference" / "dlm"
PROBLEMS = {problem.id: problem for problem in Arith(size=8).load()}


@pytest.fixture(scope="module")
def demo() -> Model:
    return load_model("demo", device="cpu")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    command = ["eval", "--model", "demo", "--task", "arith", "--limit", "4", "--samples", "2", "--device", "cpu"]
    assert main([*command, "--out", str(out)]) == 0
    return out


def generated(model: Model, decode: DecodeConfig, prompts: Sequence[tuple[int, ...]]) -> list[Rollout]:
    requests = [Request(str(number), 0, prompt, number) for number, prompt in enumerate(prompts)]
    return sorted(model.generate(requests, decode), key=lambda rollout: rollout.problem_id)


def prompts_of(model: Model, count: int) -> list[tuple[int, ...]]:
    return [model.encode(problem.prompt) for problem in list(PROBLEMS.values())[:count]]


def assert_every_state_leads_on(model: Model, rollouts: Sequence[Rollout], decode: DecodeConfig) -> None:
    """Going on greedily from any state of a greedy trajectory ends where the trajectory ended."""
    mask_id = model.checkpoint.mask_id
    assert mask_id is not None
    requests: list[Request] = []
    expected = []
    for rollout in rollouts:
        for state in states_of(rollout, mask_id, "step", 1000)[:-1]:
            requests.append(Request(str(len(requests)), 0, rollout.prompt_ids, 0, fixed=state.fixed))
            expected.append((rollout.token_ids[: rollout.length], rollout.text))
    assert len(requests) > 2 * len(rollouts)
    for found in model.generate(requests, decode):
        assert (found.token_ids[: found.length], found.text) == expected[int(found.problem_id)]


@pytest.mark.parametrize("remasking", [pytest.param("static", marks=pytest.mark.slow), "dynamic"])
def test_going_on_from_any_recorded_state_is_going_on(demo: Model, remasking: Any) -> None:
    decode = DecodeConfig(remasking=remasking, temperature=0.0, max_new_tokens=48)
    assert_every_state_leads_on(demo, generated(demo, decode, prompts_of(demo, 2)), decode)


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference checkpoints of ../shared are not here")
@pytest.mark.parametrize(
    "family",
    [
        *("llada", "dream"),
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("sdar", "sdar_moe", "lladamoe", "llada2", "llada21")),
    ],
)
def test_a_state_of_every_family_is_gone_on_from_as_well(family: str) -> None:
    model = load_model(str(REFERENCE / family), device="cpu")
    vocabulary = model.tokenizer.encode("The answer to the question is", add_special_tokens=False)
    size = model.checkpoint.block_size or 8
    decode = DecodeConfig(block_size=size, remasking="static", temperature=0.0, max_new_tokens=2 * size)
    rollouts = generated(model, decode, [tuple(vocabulary[:3]), tuple(vocabulary[:5])])
    assert_every_state_leads_on(model, rollouts, decode)


def test_states_split_the_response_between_them(demo: Model) -> None:
    (rollout,) = generated(demo, DecodeConfig(max_new_tokens=48), prompts_of(demo, 1))
    mask_id = demo.checkpoint.mask_id or 0
    every: Any
    for every in ("block", "step"):
        states = states_of(rollout, mask_id, every, 5)
        assert len(states) <= 5
        assert sorted(place for state in states for place in state.fresh) == list(range(rollout.length))
        assert dict(states[-1].fixed) == dict(enumerate(rollout.token_ids))
        for state in states:
            assert all(rollout.token_ids[place] == token for place, token in state.fixed)
            assert {place for place, _ in state.fixed} == {i for i, step in enumerate(rollout.step_map) if step < state.step}


OUTCOMES = {
    "right": Verdict(1.0, "correct", parts={"own": 2.0}),
    "wrong": Verdict(0.0, "wrong"),
    "failed": Verdict(None, "verifier_error", detail="no"),
}
STEPS = Steps((StepReward(0, 2, 0.5), StepReward(2, 3, -0.25)), "", {"process.n": 2.0})


@pytest.mark.parametrize(
    ("outcome", "how", "reward", "steps"),
    [
        ("right", "add", 1.5, (1.0, -0.5)),
        ("wrong", "add", 0.5, (1.0, -0.5)),
        ("failed", "add", None, None),
        ("right", "replace", 0.5, (1.0, -0.5)),
        ("failed", "replace", 0.5, (1.0, -0.5)),
        ("right", "gate", 1.5, (1.0, -0.5)),
        ("wrong", "gate", 0.0, None),
        ("failed", "gate", None, None),
    ],
)
def test_outcome_and_steps_join_as_declared(outcome: str, how: Any, reward: float | None, steps: Any) -> None:
    verdict = combined(OUTCOMES[outcome], STEPS, how, weight=2.0)
    assert verdict.reward == reward
    assert (None if verdict.step_rewards is None else tuple(step.value for step in verdict.step_rewards)) == steps
    assert verdict.parts.get("outcome") == OUTCOMES[outcome].reward
    assert verdict.parts["process.n"] == 2.0


def test_steps_that_could_not_be_judged_are_no_zero() -> None:
    how: Any
    for how in ("add", "replace", "gate"):
        verdict = combined(OUTCOMES["right"], Steps(None, "no answer"), how)
        assert (verdict.reward, verdict.status, verdict.detail) == (None, "verifier_error", "no answer")
    assert combined(OUTCOMES["wrong"], Steps(None, "no answer"), "gate").reward == 0.0


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "verdicts.jsonl").read_text().splitlines()]


def test_score_rewards_the_equations_of_a_run_and_the_table_can_be_read(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["score", str(run), "--process", "arithmetic", "--combine", "add", "--weight", "0.5", "--out", str(out)]) == 0
    before, after = list(load_rollouts(run)), list(load_rollouts(out))
    assert [sample.rollout for sample in after] == [sample.rollout for sample in before]
    for old, new, line in zip(before, after, lines(out), strict=True):
        assert new.verdict.step_rewards is not None
        added = sum(step.value for step in new.verdict.step_rewards)
        assert 0 <= added <= 0.5
        assert new.verdict.reward == pytest.approx((old.verdict.reward or 0) + added, abs=1e-6)
        assert sum(line["token_rewards"]) == pytest.approx(line["reward"], abs=1e-6)
        assert len(line["token_rewards"]) == len(new.rollout.token_ids)
    assert main(["export", str(out), "--view", "steps", "--out", str(tmp_path / "steps.jsonl")]) == 0
    assert (tmp_path / "steps.jsonl").read_text().count("\n") >= 7


def test_a_scoring_goes_on_where_it_was_stopped(run: Path, tmp_path: Path) -> None:
    command = ["score", str(run), "--process", "arithmetic", "--combine", "gate", "--out", str(tmp_path / "out")]
    assert main(command) == 0
    whole = lines(tmp_path / "out")
    text = (tmp_path / "out" / "verdicts.jsonl").read_text()
    (tmp_path / "out" / "verdicts.jsonl").write_text(text[: len(text) // 2])
    assert main(command) == 0
    assert lines(tmp_path / "out") == whole
    other = [*command[:5], "add", *command[6:]]
    assert main(other) == 2, "another combination is another scoring"


@pytest.mark.slow
def test_values_of_states_add_up_to_the_outcome(run: Path, tmp_path: Path) -> None:
    for number, options in enumerate((["intermediate"], ["rollout", "--set", "process.k=2", "--set", "process.points=2"])):
        out = tmp_path / str(number)
        assert main(["score", str(run), "--process", *options, "--combine", "replace", "--device", "cpu", "--out", str(out)]) == 0
        for old, new in zip(load_rollouts(run), load_rollouts(out), strict=True):
            assert new.verdict.reward == pytest.approx(old.verdict.reward, abs=1e-6)
            values = [value for name, value in new.verdict.parts.items() if name.startswith("process.value@")]
            assert len(values) >= 1
            assert all(0 <= value <= 1 for value in values)
            assert values[-1] == old.verdict.reward


def test_the_sampler_s_settings_do_not_get_in_the_way_of_the_full_prediction(demo: Model) -> None:
    prompts = prompts_of(demo, 1)
    decode = DecodeConfig(threshold=0.5, top_k=5, top_p=0.9, max_new_tokens=32)
    sample = judged_sample(demo)
    (rollout,) = generated(demo, decode, prompts)
    sample = replace(sample, rollout=replace(rollout, problem_id=sample.problem_id))
    with VerifierPool(load_verifier("math"), workers=1) as pool:
        context = Context(lambda: demo, demo.tokenizer, lambda task: pool)
        (rewarded,) = Process(ProcessConfig("intermediate", "replace", {"every": "step"})).apply([sample], PROBLEMS, context)
    assert rewarded.verdict.reward == pytest.approx(sample.verdict.reward)


def test_the_estimated_start_takes_what_the_prompt_was_worth(demo: Model) -> None:
    sample = judged_sample(demo)
    with VerifierPool(load_verifier("math"), workers=1) as pool:
        context = Context(lambda: demo, demo.tokenizer, lambda task: pool, seed=1)
        config = ProcessConfig("rollout", "replace", {"k": 3, "points": 1, "start": "estimated"})
        (rewarded,) = Process(config).apply([sample], PROBLEMS, context)
    start = rewarded.verdict.parts["process.value@0"]
    assert 0 <= start <= 1
    assert rewarded.verdict.reward == pytest.approx((sample.verdict.reward or 0) - start)


def judged_sample(model: Model) -> Sample:
    problem = next(iter(PROBLEMS.values()))
    (rollout,) = generated(model, DecodeConfig(max_new_tokens=48), prompts_of(model, 1))
    rollout = replace(rollout, problem_id=problem.id)
    return Sample("arith", problem.id, problem.id, rollout, Verdict(1.0, "correct"))


@dataclass(frozen=True)
class Halves:
    """A process reward of one's own, with the whole rollout in its hands."""

    value: float = 0.5
    name: str = "halves"
    version: str = "1"

    def rewards(self, items: Sequence[Item], context: Context) -> Iterator[Steps]:
        for item in items:
            middle = len(item.rollout.text) // 2
            yield Steps((StepReward(0, middle, self.value), StepReward(middle, len(item.rollout.text), self.value)))


def test_a_class_or_a_function_of_ones_own_rewards_steps(demo: Model, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def steps(problem, completion):\n    return [(0, len(completion.text), 0.25)]\n")
    context = Context(lambda: demo, demo.tokenizer, None, workers=1)  # type: ignore[arg-type]
    sample = judged_sample(demo)
    for name, options, total in ((f"{__file__}:Halves", {"value": 1.0}, 2.0), (f"{tmp_path / 'mine.py'}:steps", {}, 0.25)):
        process = Process(ProcessConfig(name, "add", options))
        (rewarded,) = process.apply([sample], PROBLEMS, context)
        assert rewarded.verdict.reward == 1.0 + total
        tokens = process.token_rewards(rewarded, context)
        assert tokens is not None
        assert sum(tokens) == pytest.approx(1.0 + total)


def test_a_verifier_without_steps_is_no_process_reward(demo: Model) -> None:
    process = Process(ProcessConfig("math", "add"))
    context = Context(lambda: demo, demo.tokenizer, None, workers=1)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no step rewards"):
        process.apply([judged_sample(demo)], PROBLEMS, context)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--process", "arithmetic"], "--combine missing: say what becomes of the outcome"),
        (["--process", "arithmetic", "--combine", "ad"], "did you mean 'add'"),
        (["--process", "aritmetic", "--combine", "add"], "did you mean 'arithmetic'"),
        (["--process", "arithmetic", "--combine", "add", "--set", "process.rihgt=2"], "did you mean 'right'"),
        (["--process", "rollout", "--combine", "add", "--set", "process.k=0"], "option 'k' is 0; it must be at least 1"),
        (["--process", "arithmetic", "--combine", "add", "--task", "arith"], "the outcomes are the run's own"),
        (["--combine", "add", "--task", "arith"], "--combine belongs to --process"),
        (["--process", "arithmetic", "--combine", "add", "--executor", "ray"], "made on this machine"),
        (["--process", "arithmetic", "--combine", "add", "--set", "task.size=2"], "expected process.KEY=VALUE"),
    ],
)
def test_a_mistake_is_one_line(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    assert main(["score", str(run), "--out", str(tmp_path / "out"), *arguments]) == 2
    assert says in capsys.readouterr().err


def test_names_and_options_are_checked_before_anything_is_loaded() -> None:
    with pytest.raises(InputError, match="'points' is 0"):
        load_process_reward("intermediate", {"points": 0})
    code = "import sys; from unmask.harness.process.base import load_process_reward; load_process_reward('arithmetic', {})"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; print('torch' in sys.modules)"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_problems_that_are_missing_are_named(demo: Model) -> None:
    context = Context(lambda: demo, demo.tokenizer, None, workers=1)  # type: ignore[arg-type]
    other: dict[str, Problem] = {}
    with pytest.raises(InputError, match="no problem of this id"):
        Process(ProcessConfig("arithmetic", "add")).apply([judged_sample(demo)], other, context)
