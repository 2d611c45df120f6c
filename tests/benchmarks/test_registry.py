"""Naming a benchmark: short names, variants, attributes of modules and files, and what is said about anything else."""

import subprocess
import sys
from pathlib import Path

import pytest
from unmask.benchmarks import list_benchmarks, load_benchmark
from unmask.benchmarks.registry import BENCHMARKS
from unmask.rewards.errors import InputError

USER_BENCHMARK = """
from unmask import Benchmark, Problem
from unmask.rewards import Message


class Doubles(Benchmark):
    name = "doubles"
    verifier = "math"
    description = "Twice a number"

    def __init__(self, count: int = 3) -> None:
        self.size = count

    def load(self) -> list[Problem]:
        return [
            Problem(id=f"doubles/{n}", task="doubles", prompt=(Message("user", f"Twice {n}?"),), reference=str(2 * n))
            for n in range(self.size)
        ]
"""


@pytest.fixture
def user_file(tmp_path: Path) -> Path:
    path = tmp_path / "my_bench.py"
    path.write_text(USER_BENCHMARK)
    return path


def test_a_benchmark_of_twenty_lines_is_enough(user_file: Path) -> None:
    assert len(USER_BENCHMARK.strip().splitlines()) <= 20
    task = load_benchmark(f"{user_file}:Doubles")
    assert [problem.reference for problem in task.load()] == ["0", "2", "4"]
    assert (task.metric, task.samples) == ("mean", 1)


def test_the_example_of_the_docs_works(tmp_path: Path) -> None:
    docs = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"
    example = docs.read_text().split("```python\nfrom unmask", 1)[1].split("```", 1)[0]
    (tmp_path / "my_bench.py").write_text(f"from unmask{example}")
    assert len(example.strip().splitlines()) <= 20
    task = load_benchmark(f"{tmp_path / 'my_bench.py'}:Squares", count=5)
    assert [problem.reference for problem in task.load()] == ["0", "1", "4", "9", "16"]


def test_every_shipped_task_stands_in_the_docs() -> None:
    docs = (Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md").read_text()
    assert [name for name in BENCHMARKS if f"`{name}" not in docs] == []


def test_options_reach_the_constructor_of_a_users_benchmark(user_file: Path) -> None:
    assert len(load_benchmark(f"{user_file}:Doubles", count=5).load()) == 5


def test_an_option_that_a_benchmark_needs_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "needy.py").write_text(USER_BENCHMARK.replace("count: int = 3", "count: int"))
    with pytest.raises(InputError, match=r"needs the option 'count': set task\.count="):
        load_benchmark(f"{tmp_path / 'needy.py'}:Doubles")
    assert load_benchmark(f"{tmp_path / 'needy.py'}:Doubles", count=2).size == 2


def test_an_unknown_option_names_the_nearest(user_file: Path) -> None:
    with pytest.raises(InputError, match=r"no option 'cuont' \(did you mean 'count'\?\)"):
        load_benchmark(f"{user_file}:Doubles", cuont=5)
    with pytest.raises(InputError, match=r"no option 'spilt' \(did you mean 'split'\?\)"):
        load_benchmark("gsm8k", spilt="train")


def test_the_identity_of_the_data_is_not_an_option() -> None:
    with pytest.raises(InputError, match="no option 'name'"):
        load_benchmark("gsm8k", name="mine")


def test_an_unknown_task_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"'gsm8' \(did you mean 'gsm8k'\?\)"):
        load_benchmark("gsm8")


def test_a_module_attribute_is_found() -> None:
    assert load_benchmark("unmask.benchmarks.gsm8k:GSM8K").name == "gsm8k"


def test_an_object_that_is_no_benchmark_says_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text("class Odd:\n    name = 'odd'\n\n    def load(self):\n        return []\n\nNOTHING = 3\n")
    with pytest.raises(InputError, match="it lacks verifier"):
        load_benchmark(f"{tmp_path / 'odd.py'}:Odd")
    with pytest.raises(InputError, match="it lacks name, verifier, load"):
        load_benchmark(f"{tmp_path / 'odd.py'}:NOTHING")


def test_a_benchmark_without_the_defaults_is_told_where_to_get_them(tmp_path: Path) -> None:
    (tmp_path / "bare.py").write_text("class Bare:\n    name = verifier = 'x'\n\n    def load(self):\n        return []\n")
    with pytest.raises(InputError, match=r"inherit from unmask\.Benchmark for defaults"):
        load_benchmark(f"{tmp_path / 'bare.py'}:Bare")


def test_the_list_names_every_shipped_task_with_its_size() -> None:
    listed = {entry.name: entry for entry in list_benchmarks()}
    assert {"gsm8k", "math500", "aime2024", "aime2025", "aime2026"} <= set(listed)
    assert listed["gsm8k"].size == 1319
    assert all(listed[name].description for name in listed)


def test_listing_the_tasks_loads_nothing_heavy() -> None:
    code = (
        "import sys; from unmask.benchmarks import list_benchmarks; list_benchmarks(); "
        "sys.exit(str([m for m in ('torch', 'datasets', 'pyarrow', 'sympy', 'transformers') if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "[]"
