"""Our verifiers called as TRL, verl, `datasets` and Ray Data call a reward function."""

import importlib.util
import inspect
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from unmask.rewards import InputError
from unmask.rewards.adapters import BatchScorer, as_trl, score_batch
from unmask.rewards.adapters import verl as verl_module

VERL_FILE = Path(inspect.getfile(verl_module))
ANSWERS = [r"\boxed{4}", r"\boxed{5}", "I do not know what the answer could be, so I give up here."]


EXACT = "def reward(problem, completion):\n    return float(completion.text == problem.reference)\n"


@pytest.fixture
def exact(tmp_path: Path) -> str:
    """A verifier of one's own whose workers start in no time."""
    (tmp_path / "exact.py").write_text(EXACT)
    return f"{tmp_path / 'exact.py'}:reward"


def test_columns_get_rewards_statuses_and_answers() -> None:
    scored = score_batch({"completion": ANSWERS, "solution": ["4", "4", "4"], "note": [1, 2, 3]})
    assert scored["reward"] == [1.0, 0.0, 0.0]
    assert scored["status"] == ["correct", "wrong", "unparsed"]
    assert scored["extracted"] == ["4", "5", None]
    assert scored["note"] == [1, 2, 3]


def test_conversations_and_numpy_columns_are_read_as_well() -> None:
    said = [[{"role": "assistant", "content": text}] for text in ANSWERS]
    column = np.empty(3, dtype=object)
    column[:] = said
    for completions in (said, column):
        assert score_batch({"completion": completions, "solution": np.array(["4"] * 3)})["reward"] == [1.0, 0.0, 0.0]


def test_a_batch_works_as_a_function_of_datasets_map(tmp_path: Path, exact: str) -> None:
    from datasets import Dataset

    table = Dataset.from_dict({"completion": ["4", "5"], "solution": ["4"] * 2})
    scored = table.map(BatchScorer(exact, workers=1), batched=True, cache_file_name=str(tmp_path / "cache.arrow"))
    assert list(scored["reward"]) == [1.0, 0.0]


def test_a_missing_column_is_named() -> None:
    with pytest.raises(InputError, match=r"no column of completions.*there are: answers"):
        score_batch({"answers": ["4"]})
    with pytest.raises(InputError, match="no reference"):
        score_batch({"completion": ["4"]})


def test_one_bad_row_does_not_cost_the_others(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "import os\n"
        "def reward(problem, completion):\n"
        "    if 'leave' in completion.text:\n"
        "        os._exit(1)\n"
        "    return float(completion.text == problem.reference)\n"
    )
    scored = BatchScorer(f"{file}:reward", workers=1)({"completion": ["a", "leave", "c"], "solution": ["a", "b", "b"]})
    assert scored["reward"] == [1.0, None, 0.0]
    assert scored["status"][1] == "verifier_error"


def test_a_reference_that_is_text_stays_text_and_one_that_is_json_is_read(tmp_path: Path) -> None:
    file = tmp_path / "kinds.py"
    file.write_text(
        "def reward(problem, completion):\n    return {'str': 0.1, 'list': 0.2, 'dict': 0.3}[type(problem.reference).__name__]\n"
    )
    told = [{"reference_is_json": True}, {"reference_is_json": False}, {}, {}]
    references = ["[1, 2]", '{"a": 1}', "[1, 2]", '{"a": 1}']
    scored = BatchScorer(f"{file}:reward", workers=1)({"completion": ["x"] * 4, "solution": references, "extra_info": told})
    assert scored["reward"] == [0.2, 0.1, 0.1, 0.3]


def test_trl_gets_floats_and_its_logs() -> None:
    reward = as_trl("math", name="right")
    extras: dict[str, list[Any]] = {}
    metrics: dict[str, float] = {}
    found = reward(
        prompts=["2+2?"] * 3,
        completions=ANSWERS,
        completion_ids=[[1], [2], [3]],
        solution=["4"] * 3,
        trainer_state=object(),
        log_extra=extras.__setitem__,
        log_metric=metrics.__setitem__,
    )
    assert found == [1.0, 0.0, 0.0]
    assert reward.__name__ == "right"
    assert extras["right/extracted"] == ["4", "5", None]
    assert metrics["right/correct"] == pytest.approx(1 / 3)


def test_what_could_not_be_judged_is_none_for_trl(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def reward(problem, completion):\n    raise ValueError('no')\n")
    assert as_trl(f"{tmp_path / 'broken.py'}:reward", workers=1)(completions=["a"], solution=["a"]) == [None]


def test_a_reward_function_travels_in_a_pickle_also_after_its_first_use(exact: str) -> None:
    reward = as_trl(exact, name="same", workers=1)
    assert reward(completions=["4", "5"], solution=["4"] * 2) == [1.0, 0.0]
    again = pickle.loads(pickle.dumps(reward))
    assert (again.__name__, again(completions=["4", "5"], solution=["4"] * 2)) == ("same", [1.0, 0.0])


def test_threads_share_one_pool(exact: str) -> None:
    reward = as_trl(exact, workers=1)
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda n: reward(completions=[str(n)], solution=["3"]), range(6)))
    assert found == [[float(n == 3)] for n in range(6)]


def test_a_forked_process_makes_a_pool_of_its_own(exact: str) -> None:
    reward = as_trl(exact, workers=1)
    assert reward(completions=["4"], solution=["4"]) == [1.0]
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, repr(reward(completions=["4", "5"], solution=["4"] * 2)).encode())
        os._exit(0)
    os.close(write)
    assert os.read(read, 100) == b"[1.0, 0.0]"
    os.waitpid(child, 0)


def test_a_script_that_closes_nothing_ends() -> None:
    code = (
        "from unmask.rewards.adapters import as_trl\n"
        r"print(as_trl('math', workers=1)(completions=[r'\boxed{\frac{2}{4}}'], solution=[r'\frac{1}{2}']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[1.0]"


def load_as_verl_does(path: Path, name: str, **reward_kwargs: Any) -> Callable[..., dict[str, Any]]:
    """verl imports the file by its path, under a name of its own, and binds the configured arguments."""
    spec = importlib.util.spec_from_file_location("custom_module", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["custom_module"] = module
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules["custom_module"]
    return partial(getattr(module, name), **reward_kwargs)


def test_verl_loads_the_file_by_its_path_and_calls_it_by_keyword() -> None:
    score = load_as_verl_does(VERL_FILE, "compute_score")
    rows = [
        score(data_source="openai/gsm8k", solution_str=text, ground_truth="4", extra_info={"index": 0, "split": "train"})
        for text in ANSWERS
    ]
    assert [row["score"] for row in rows] == [1.0, 0.0, 0.0]
    assert [row["acc"] for row in rows] == [1.0, 0.0, 0.0]
    assert [row["status"] for row in rows] == ["correct", "wrong", "unparsed"]
    assert [row["extracted"] for row in rows] == ["4", "5", ""]
    assert len({tuple(row) for row in rows}) == 1  # verl dumps only what every row has


def test_verl_is_told_the_verifier_by_the_row_or_by_its_settings() -> None:
    strict = {"verifier": "math", "verifier_options": '{"order": ["hash"]}', "reference_is_json": False}
    score = load_as_verl_does(VERL_FILE, "compute_score")
    assert score("mine", "#### 4", "4", strict)["score"] == 1.0
    assert score("mine", r"\boxed{4}", "4", strict)["status"] == "unparsed"
    assert load_as_verl_does(VERL_FILE, "compute_score", verifier="math")("mine", r"\boxed{4}", "4")["score"] == 1.0
    with pytest.raises(InputError, match=r"no verifier is known.*reward_kwargs\.verifier"):
        score("mine", "4", "4")


def test_verl_hands_over_the_question_where_the_data_has_it(tmp_path: Path) -> None:
    (tmp_path / "asked.py").write_text(
        "def reward(problem, completion):\n    return float(problem.prompt[0].content == 'How many?')\n"
    )
    score = load_as_verl_does(VERL_FILE, "compute_score", verifier=f"{tmp_path / 'asked.py'}:reward", workers=1)
    assert score("mine", "4", "4", {"question": "How many?"})["score"] == 1.0


def test_programs_come_to_verl_as_json_text() -> None:
    truth = '{"style": "stdin", "tests": [{"input": "2\\n", "output": "4\\n"}]}'
    extra = {"verifier": "code", "verifier_options": "{}", "reference_is_json": True}
    score = load_as_verl_does(VERL_FILE, "compute_score")
    assert score("mine", "```python\nprint(2 * int(input()))\n```", truth, extra)["status"] == "correct"
    assert score("mine", "```python\nprint(3)\n```", truth, extra)["status"] == "wrong"


def test_a_verifier_that_fails_is_seen_in_verls_metrics(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def reward(problem, completion):\n    raise ValueError('no')\n")
    score = load_as_verl_does(VERL_FILE, "compute_score", verifier=f"{tmp_path / 'broken.py'}:reward", workers=1)
    with pytest.warns(RuntimeWarning, match="could not be judged"):
        row = score("mine", "a", "b")
    assert (row["score"], row["verifier_error"], row["status"]) == (0.0, 1.0, "verifier_error")
