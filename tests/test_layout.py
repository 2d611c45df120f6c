"""The distribution: what imports what, what the wheel holds, what a bare import costs."""

import ast
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
ORDER = ("sandbox", "rewards", "benchmarks", "harness", "trainers")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def python_files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imported_packages(file: Path) -> set[str]:
    """The unmask packages that a file imports, wherever in the file it does."""
    here = ("unmask", *file.relative_to(ROOT).parts[:-1])
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {tuple(alias.name.split(".")) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else ()
            module = (*base, *(node.module.split(".") if node.module else ()))
            found |= {(*module, alias.name) for alias in node.names}
    return {path[1] for path in found if path[0] == "unmask" and len(path) > 1 and path[1] in ORDER}


@pytest.mark.parametrize("package", ORDER)
def test_imports_never_run_back_up_the_order(package: str) -> None:
    allowed = set(ORDER[: ORDER.index(package) + 1])
    for file in python_files(package):
        assert imported_packages(file) <= allowed, f"{file.relative_to(ROOT)} imports {imported_packages(file) - allowed}"


def test_the_import_check_sees_relative_and_absolute_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "rewards" / "bad.py"
    file.parent.mkdir()
    file.write_text("def f():\n    from ..harness.cli import main\n    import unmask.trainers\n")
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    assert imported_packages(file) == {"harness", "trainers"}


def test_every_package_is_listed() -> None:
    folders = {file.parent.relative_to(ROOT) for package in ORDER for file in python_files(package) if file.name == "__init__.py"}
    expected = {"unmask", *(".".join(("unmask", *folder.parts)) for folder in folders)}
    assert set(PYPROJECT["tool"]["setuptools"]["packages"]) == expected


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    out = tmp_path_factory.mktemp("wheel")
    source = out / "source"  # building leaves files behind
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".*", "build", "runs", "*.egg-info", "__pycache__"))
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=out, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    (wheel,) = out.glob("*.whl")
    return {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}


def test_the_wheel_holds_the_packages_and_nothing_else(wheel_names: set[str]) -> None:
    code = {name for name in wheel_names if name.endswith(".py")}
    tracked = {f"unmask/{file.relative_to(ROOT)}" for package in ORDER for file in python_files(package)}
    assert code == tracked | {"unmask/__init__.py"}


def test_the_wheel_holds_the_data_and_no_other_file(wheel_names: set[str]) -> None:
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("git ls-files: this is no git checkout")
    tracked = [Path(name) for name in done.stdout.splitlines()]
    data = {f"unmask/{path}" for path in tracked if path.parts[0] in ORDER and path.suffix != ".py"}
    assert {name for name in wheel_names if not name.endswith(".py")} == data | {"unmask/py.typed"}


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


HEAVY = ("torch", "transformers", "datasets", "sympy", "math_verify", "pyarrow", "numpy", "rich")


@pytest.mark.parametrize(
    "code",
    [
        "import unmask",
        "import unmask, unmask.rewards.records, unmask.benchmarks, unmask.harness.records; dir(unmask)",
        "import sys; sys.argv = ['unmask', '--help']\nfrom unmask.harness.cli import build_parser; build_parser().format_help()",
    ],
)
def test_a_bare_import_and_the_help_load_nothing_heavy(code: str) -> None:
    loaded = run_python(f"{code}\nimport sys; print([name for name in {HEAVY!r} if name in sys.modules])")
    assert loaded.strip() == "[]"


def test_every_public_name_resolves() -> None:
    import unmask

    # Twice: importing a module gives its package an attribute of the module's name.
    for _ in range(2):
        assert [name for name in unmask.__all__ if getattr(unmask, name, None) is None] == []
        assert [name for name in unmask.__all__ if isinstance(getattr(unmask, name), ModuleType)] == []
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = unmask.no_such_name
