"""What the package promises about itself: what it imports, what it costs to import, what it exports."""

import ast
import subprocess
import sys
from pathlib import Path

import unmask.sandbox

FOLDER = Path(unmask.sandbox.__file__).parent


def imports(path: Path) -> list[tuple[int, str]]:
    """(level, module) of every import in a file; level counts the dots."""
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found += [(0, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append((node.level, node.module or ""))
    return found


def test_the_sandbox_imports_nothing_else_of_unmask() -> None:
    for path in FOLDER.rglob("*.py"):
        depth = len(path.relative_to(FOLDER).parts)
        for level, module in imports(path):
            assert level <= depth, (path, module)
            assert level or not module.startswith("unmask"), (path, module)


def test_the_guest_imports_only_itself_and_the_standard_library() -> None:
    for path in (FOLDER / "guest").glob("*.py"):
        for level, module in imports(path):
            if level == 0:
                assert module.split(".")[0] in {*sys.stdlib_module_names, "guest"}, (path, module)
            else:
                assert level == 1, (path, module)


def test_importing_the_sandbox_loads_nothing_heavy() -> None:
    code = "import sys, unmask.sandbox\nunmask.sandbox.open_sandbox\nprint(*{'docker', 'requests', 'numpy', 'torch', 'sympy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"


def test_every_public_name_resolves() -> None:
    for name in unmask.sandbox.__all__:
        assert getattr(unmask.sandbox, name) is not None
    assert set(unmask.sandbox.__all__) == set(unmask.sandbox._PUBLIC)


def test_nothing_of_a_guest_is_unpickled_or_executed_on_the_host() -> None:
    for path in [*FOLDER.glob("*.py"), *(FOLDER / "backends").glob("*.py")]:
        calls = {
            node.func.id
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not calls & {"eval", "exec", "compile"}, path
        assert not {module for _, module in imports(path)} & {"pickle", "marshal", "shelve", "dill"}, path
