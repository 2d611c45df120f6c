"""`--task lm_eval:NAME`: tasks of lm-evaluation-harness, from files of their own so that no hub is needed."""

import json
import os
import pickle
import subprocess
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from unmask.benchmarks import Benchmark, load_benchmark, validate
from unmask.benchmarks.base import verifier_of
from unmask.rewards import Completion, InputError

TASKS = Path(__file__).parents[1] / "data" / "lm_eval"
pytestmark = pytest.mark.skipif(find_spec("lm_eval") is None, reason="needs the extra lm-eval")


@pytest.fixture(autouse=True)
def in_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The data files of the tasks are named from their own folder; prepared copies go to a temporary one."""
    import datasets

    monkeypatch.chdir(TASKS)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")


def task(name: str, **options: Any) -> Benchmark:
    return load_benchmark(f"lm_eval:unmask_{name}", include_path=str(TASKS), **options)


def test_questions_are_asked_with_the_tasks_own_examples() -> None:
    problems = task("sums").load()
    assert [problem.id for problem in problems] == [f"lm_eval:unmask_sums/{n}" for n in range(4)]
    roles = [message.role for message in problems[0].prompt]
    assert roles == ["user", "assistant", "user", "assistant", "user"]
    assert problems[0].prompt[-1].content == "Question: What is 2 plus 3?\nAnswer:"
    assert "####" in problems[0].prompt[1].content


def test_the_same_examples_come_again_and_options_do_not_linger() -> None:
    first = task("sums").load()
    assert len(task("sums", num_fewshot=1).load()[0].prompt) == 3
    assert task("sums").load() == first


def test_examples_in_one_turn() -> None:
    system, user = task("sums", multiturn=False, system="Be brief.").load()[0].prompt
    assert (system.role, system.content, user.role) == ("system", "Be brief.", "user")
    assert user.content.count("Question:") == 3


def test_an_answer_begun_for_the_model_ends_the_prompt() -> None:
    last = task("begun").load()[0].prompt[-1]
    assert (last.role, last.content) == ("assistant", "The sum is")


def test_stop_strings_and_length_are_suggested() -> None:
    assert (task("sums").stop, task("sums").max_new_tokens) == (("Question:", "</s>"), 48)  # type: ignore[attr-defined]
    other = task("sums", until=["\n\n"], max_new_tokens=7)
    assert (other.stop, other.max_new_tokens) == (("\n\n",), 7)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "status", "strict", "flexible"),
    [
        ("2 + 3 = 5\n#### 5", "correct", 1.0, 1.0),
        ("the sum is 5", "unparsed", 0.0, 1.0),
        ("#### 6", "wrong", 0.0, 0.0),
        ("#### 5\nQuestion: What is 1 plus 1? 2", "correct", 1.0, 1.0),
        ("", "unparsed", 0.0, 0.0),
    ],
)
def test_filters_and_metrics_are_the_tasks_own(text: str, status: str, strict: float, flexible: float) -> None:
    sums = task("sums")
    verdict = verifier_of(sums)(sums.load()[0], Completion(text))
    assert (verdict.status, verdict.reward) == (status, strict)
    assert verdict.parts == {"exact_match,strict-match": strict, "exact_match,flexible-extract": flexible}


def test_another_metric_can_be_the_score() -> None:
    sums = task("sums", metric="exact_match,flexible-extract")
    verdict = verifier_of(sums)(sums.load()[0], Completion("the sum is 5"))
    assert (verdict.status, verdict.reward, verdict.extracted) == ("correct", 1.0, "5")


def test_verdicts_are_those_of_lm_evals_own_evaluator() -> None:
    from lm_eval import simple_evaluate
    from lm_eval.api.model import LM
    from lm_eval.tasks import TaskManager

    texts = ["#### 5", "maybe 18", "21", "9 #### 42"]

    class Canned(LM):  # type: ignore[misc]
        def generate_until(self, requests: list[Any], **_: Any) -> list[str]:
            return [texts[request.doc_id] for request in requests]

        def loglikelihood(self, requests: list[Any], **_: Any) -> list[Any]:
            raise NotImplementedError

        loglikelihood_rolling = loglikelihood

    manager = TaskManager(include_defaults=False, include_path=str(TASKS))
    theirs = simple_evaluate(Canned(), tasks=["unmask_sums"], task_manager=manager, bootstrap_iters=0)["results"]["unmask_sums"]
    sums = task("sums")
    verdicts = [verifier_of(sums)(problem, Completion(text)) for problem, text in zip(sums.load(), texts, strict=True)]
    for name in verdicts[0].parts:
        assert sum(verdict.parts[name] for verdict in verdicts) / 4 == theirs[name]


def test_the_verifier_judges_in_worker_processes() -> None:
    sums = task("sums")
    assert pickle.loads(pickle.dumps(sums.verifier)) == sums.verifier
    checks = list(validate(sums, workers=1))
    assert Counter(check.kind for check in checks) == {"gold": 4, "empty": 4, "perturbed": 4}
    assert [check for check in checks if not check.passed] == []


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ranked", {}, "multiple_choice.*only generate_until"),
        ("unsafe", {}, "runs model-written code"),
        ("voted", {}, "votes among 8 answers"),
        ("translated", {}, "no metric that scores a single answer.*bleu"),
        ("family", {}, "group of tasks.*unmask_begun"),
        ("sums", {"metric": "exact"}, "did you mean 'exact_match,strict-match'"),
        ("sums", {"fewshot": 1}, "did you mean 'num_fewshot'"),
        ("begun", {"num_fewshot": 2}, "zero-shot by its own settings"),
    ],
)
def test_what_cannot_run_is_refused_by_name(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        task(name, **options)
    assert f"lm_eval:unmask_{name}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_data_that_does_not_load_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "lost.yaml").write_text(
        f"task: lost\ninclude: {TASKS / 'sums.yaml'}\ndataset_kwargs: {{data_files: gone.jsonl}}\n"
    )
    with pytest.raises(InputError, match=r"'lost' does not load.*gone.jsonl"):
        load_benchmark("lm_eval:lost", include_path=str(tmp_path))


def test_a_task_whose_own_code_fails_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("assert False, 'needs another antlr'\n")
    (tmp_path / "helped.yaml").write_text(f"task: helped\ninclude: {TASKS / 'sums.yaml'}\ndoc_to_text: !function helper.ask\n")
    with pytest.raises(InputError, match=r"'helped' does not load.*needs another antlr"):
        load_benchmark("lm_eval:helped", include_path=str(tmp_path))


def test_targets_in_another_form_than_answers_are_not_taken_for_answers() -> None:
    phrased = task("phrased")
    assert {check.kind for check in validate(phrased, workers=1)} == {"empty"}
    assert verifier_of(phrased)(phrased.load()[0], Completion("The answer is 5.")).reward == 1.0


def test_a_missing_lm_eval_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval.tasks", None)
    with pytest.raises(InputError, match=r"pip install 'unmask\[lm-eval\]'"):
        task("sums")


def test_importing_the_benchmarks_does_not_import_lm_eval() -> None:
    code = (
        "import sys, unmask.benchmarks.registry, unmask.benchmarks.lm_eval_tasks;"
        "print([name for name in ('lm_eval', 'datasets', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_eval_runs_a_task_on_our_engine(tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "unmask.harness.cli", "eval", "--model", "demo", "--task", "lm_eval:unmask_sums"]
    command += ["--set", f"task.include_path={TASKS}", "--set", "task.num_fewshot=1", "--device", "cpu", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ), check=False)
    assert done.returncode == 0, done.stderr
    (result,) = json.loads((out / "results.json").read_text())["tasks"]
    assert result["task"] == "lm_eval:unmask_sums"
    assert result["metric"] == "exact_match,strict-match"
    assert set(result["metrics"]) == {"exact_match,strict-match", "exact_match,flexible-extract"}
    assert "exact_match,flexible-extract" in done.stdout
    assert result["decode"]["stop"] == ["Question:", "</s>"]
    assert result["decode"]["max_new_tokens"] == 48
    assert result["data_revision"].startswith("sha256:")
    assert sum(result["statuses"].values()) == 4
    assert "verifier_error" not in result["statuses"]
    records = [json.loads(line) for line in (out / "records" / "part-0.jsonl").read_text().splitlines()]
    assert all("Question:" not in record["rollout"]["text"] for record in records)
