"""Runs untrusted programs and reports what happened. Knows nothing of benchmarks and imports nothing else of unmask.

    with open_sandbox() as sandbox:
        print(sandbox.run("print(int(input()) + 1)", b"41").stdout)

The names below are resolved on first use, so that importing this package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .choose import open_sandbox
    from .compare import Comparison
    from .core import Job, Sandbox
    from .errors import SandboxError, SandboxFault, SandboxUnavailable, UnjudgeableTest
    from .judging import judge
    from .records import Execution, Limits, Program, TestVerdict
    from .styles import AssertTests, CallTests, ScriptTests, StdinTests

_PUBLIC = {
    "CallTests": "styles",
    "AssertTests": "styles",
    "Comparison": "compare",
    "Execution": "records",
    "Job": "core",
    "Limits": "records",
    "Program": "records",
    "Sandbox": "core",
    "SandboxError": "errors",
    "SandboxFault": "errors",
    "SandboxUnavailable": "errors",
    "ScriptTests": "styles",
    "StdinTests": "styles",
    "TestVerdict": "records",
    "UnjudgeableTest": "errors",
    "judge": "judging",
    "open_sandbox": "choose",
}

__all__ = [
    "AssertTests",
    "CallTests",
    "Comparison",
    "Execution",
    "Job",
    "Limits",
    "Program",
    "Sandbox",
    "SandboxError",
    "SandboxFault",
    "SandboxUnavailable",
    "ScriptTests",
    "StdinTests",
    "TestVerdict",
    "UnjudgeableTest",
    "judge",
    "open_sandbox",
]


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_PUBLIC[name]}", __name__), name)
