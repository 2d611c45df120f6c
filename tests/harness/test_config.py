"""Settings: file, flags and --set say the same things; what is wrong is named."""

from pathlib import Path

import pytest
from unmask.harness.config import RunConfig, first_difference, parse_value, read_config, write_config
from unmask.rewards.errors import InputError

FLAGS = {"model": "demo", "task": "arith"}


def test_flags_sets_and_a_file_give_the_same_config(tmp_path: Path) -> None:
    by_flags = read_config(None, {**FLAGS, "limit": 5}, ["decode.threshold=0.8", "max_batch=7", "task.levels=[1, 2]"], "static")
    file = tmp_path / "run.yaml"
    file.write_text(
        "model: demo\ntask: arith\nlimit: 5\nmax_batch: 7\ntask_options: {levels: [1, 2]}\n"
        "decode: {remasking: static, threshold: 0.8}\n"
    )
    assert read_config(file, {}, [], None) == by_flags
    assert by_flags.decode.remasking == "static"
    assert by_flags.task_options == {"levels": [1, 2]}


def test_flags_win_over_the_file_and_sets_over_flags(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("model: demo\ntask: [arith]\nseed: 1\nlimit: 1\n")
    config = read_config(file, {"seed": 2}, ["limit=3"], None)
    assert (config.seed, config.limit) == (2, 3)


def test_a_written_config_reads_back_the_same(tmp_path: Path) -> None:
    config = read_config(None, FLAGS, ["decode.stop=['a: b', 'c']", "decode.temperature=1e-3"], None)
    write_config(config, tmp_path / "config.yaml")
    assert read_config(tmp_path / "config.yaml", {}, [], None) == config
    assert config.decode.temperature == 1e-3


@pytest.mark.parametrize(
    ("sets", "names"),
    [
        (["decode.treshold=0.9"], "did you mean 'threshold'"),
        (["smaples=2"], "did you mean 'samples'"),
        (["decode.threshold=high"], "a finite number"),
        (["decode.threshold=1.5"], "between 0 and 1"),
        (["decode.remasking=dynamc"], "did you mean 'dynamic'"),
        (["decode.block_size=0"], "at least 1"),
        (["decode.block_size=2.5"], "an integer"),
        (["limit=-3"], "at least 1"),
        (["seed=-1"], "between 0"),
        (["max_batch=0"], "at least 1"),
        (["decode"], "key=value"),
        (["decode.temperature=.nan"], "finite"),
        (["model.name=x"], "expected an object"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(sets: list[str], names: str) -> None:
    with pytest.raises(InputError, match=names) as caught:
        read_config(None, FLAGS, sets, None)
    assert "\n" not in str(caught.value)


def test_missing_flags_are_named_with_an_example() -> None:
    with pytest.raises(InputError, match="--model and --task missing"):
        read_config(None, {}, [], None)


@pytest.mark.parametrize("text", ["a: [", "- just\n- a list\n"])
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=r"bad\.yaml"):
        read_config(file, FLAGS, [], None)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_config(tmp_path / "none.yaml", FLAGS, [], None)


def test_only_what_changes_the_result_makes_another_run(tmp_path: Path) -> None:
    base = RunConfig("demo", ("arith",))
    write_config(base, tmp_path / "config.yaml")
    same = read_config(None, FLAGS, ["max_batch=3", "workers=2"], None)
    assert first_difference(same, tmp_path / "config.yaml") is None
    other = read_config(None, FLAGS, ["decode.threshold=0.5"], None)
    assert first_difference(other, tmp_path / "config.yaml") == "decode.threshold was 0.9, is now 0.5"


@pytest.mark.parametrize(
    ("text", "value"),
    [("3", 3), ("0.5", 0.5), ("1e-3", 1e-3), ("true", True), ("null", None), ("[a, 1]", ["a", 1]), ("x: [", "x: [")],
)
def test_values_are_read_as_yaml(text: str, value: object) -> None:
    assert parse_value(text) == value
