"""A data file of one's own: usual columns are found, others are mapped, conversations are asked as they stand."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from unmask.benchmarks import load_benchmark
from unmask.rewards.errors import InputError
from unmask.rewards.records import Message

Write = Callable[..., Path]


def test_usual_columns_need_no_mapping(tmp_path: Path, write_jsonl: Write) -> None:
    file = write_jsonl(tmp_path / "my.set.jsonl", {"question": "1+1?", "answer": 2, "metadata": {"level": 1}})
    task = load_benchmark(str(file))
    (problem,) = task.load()
    assert task.name == "my.set"
    assert (problem.id, problem.reference, problem.metadata) == ("my.set/0", "2", {"level": 1})
    assert problem.prompt[0].content.startswith("1+1?\nPlease reason step by step")


def test_a_mapping_names_other_columns_also_inside_objects(tmp_path: Path, write_jsonl: Write) -> None:
    row = {"key": "a7", "text": {"en": "1+1?"}, "gold": {"value": "2"}, "passage": 3}
    fields = {"id": "key", "problem": "text.en", "reference": "gold.value", "cluster": "passage"}
    file = write_jsonl(tmp_path / "my.jsonl", row)
    (problem,) = load_benchmark(str(file), fields=fields, name="mine", prompt_template="{problem}").load()
    assert (problem.id, problem.task, problem.reference, problem.cluster) == ("mine/a7", "mine", "2", "3")
    assert problem.prompt == (Message("user", "1+1?"),)


def test_a_conversation_is_asked_as_it_stands(tmp_path: Path) -> None:
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1+1?"}]
    rows = [{"prompt": turns, "reward_model": {"style": "rule", "ground_truth": "2"}}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "verl.parquet")
    (problem,) = load_benchmark(str(tmp_path / "verl.parquet"), fields={"reference": "reward_model.ground_truth"}).load()
    assert problem.prompt == (Message("system", "Be brief."), Message("user", "1+1?"))
    assert problem.reference == "2"


def test_a_structured_reference_reaches_the_verifier_untouched(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([{"prompt": "?", "reference": {"choices": ["A", "B"], "gold": 1}}]))
    (problem,) = load_benchmark(str(tmp_path / "a.json"), verifier="mine.py:judge").load()
    assert problem.reference == {"choices": ["A", "B"], "gold": 1}


def test_a_missing_column_names_the_place_the_columns_and_the_remedy(tmp_path: Path, write_jsonl: Write) -> None:
    file = write_jsonl(tmp_path / "my.jsonl", {"question": "?", "answer": "1"}, {"question": "?", "gold": "1"})
    with pytest.raises(InputError, match=r"line 2: field 'reference': missing or empty \(columns: question, gold\); name"):
        load_benchmark(str(file)).load()


def test_a_mapped_column_that_is_missing_is_named(tmp_path: Path, write_jsonl: Write) -> None:
    file = write_jsonl(tmp_path / "my.jsonl", {"question": "?", "answer": "1"})
    with pytest.raises(InputError, match=r"line 1: field 'gold': missing or empty \(columns: question, answer\)$"):
        load_benchmark(str(file), fields={"reference": "gold"}).load()


def test_an_unknown_field_of_the_mapping_names_the_nearest(tmp_path: Path, write_jsonl: Write) -> None:
    file = write_jsonl(tmp_path / "my.jsonl", {"question": "?", "answer": "1"})
    with pytest.raises(InputError, match=r"no field 'refrence' \(did you mean 'reference'\?\)"):
        load_benchmark(str(file), fields={"refrence": "gold"})


@pytest.mark.parametrize("asked", [5, [], ["?"], [{"role": "user"}], {"role": "user", "content": "?"}])
def test_a_question_that_is_neither_text_nor_conversation_is_refused(tmp_path: Path, write_jsonl: Write, asked: object) -> None:
    file = write_jsonl(tmp_path / "my.jsonl", {"prompt": asked, "answer": "1"})
    with pytest.raises(InputError, match="line 1: field 'prompt'"):
        load_benchmark(str(file)).load()


def test_a_file_that_is_not_there_is_said_at_once() -> None:
    with pytest.raises(InputError, match=r"task 'nowhere\.jsonl': no such file"):
        load_benchmark("nowhere.jsonl")
