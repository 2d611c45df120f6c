"""The `code` verifier: takes the program out of a completion, runs it in the sandbox, compares, and gives a verdict.

The reference of a problem says how it is tested (`CodeReference`). Expected values stay in this process; see
`unmask.sandbox.judge` for what that is worth. Not covered: reading a benchmark's test files (the benchmark hands over a
reference), and rewards for style or length (compose verifiers for that).
"""

import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ..sandbox.choose import open_sandbox
from ..sandbox.compare import Comparison
from ..sandbox.core import Sandbox
from ..sandbox.errors import SandboxError
from ..sandbox.judging import judge
from ..sandbox.records import Limits, Program, TestVerdict
from ..sandbox.styles import AssertTests, CallTests, ScriptTests, StdinTests, Tests
from .errors import InputError, nearest
from .limits import PoolLimits
from .records import Completion, Problem, Status, Verdict
from .serde import decode

Extraction = Literal["last_block", "first_block", "last_fences", "whole"]

_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})[ \t]*([^\s`]*)[^`]*$")
_PYTHON = ("python", "py", "python3")
_STATUS: Mapping[str, Status] = {
    "wrong": "wrong",
    "timeout": "timeout",
    "memory": "timeout",  # the status says: ran out of its limits, and the detail says of which
    "output": "timeout",
    "crashed": "crashed",
    "denied": "refused",
}
_sandboxes: dict[tuple[str, str | None, int], Sandbox] = {}
_opening = threading.Lock()


@dataclass(frozen=True, slots=True)
class CodeReference:
    """How a program is tested.

    `style` "stdin": `tests` are {"input", "output"}. "call": {"arguments": [...], "value"} or, as LiveCodeBench writes them,
    {"input": one JSON value a line, "output": JSON}; `entry` names the function. "assert": `tests` are statements, run after
    `setup`. "script": `source` holds unittest cases, `count` of them if given. `entries` are functions that asserts or scripts
    use (`entry` is the first). `compare` is the rule, or {"rule", "absolute", "relative", "checker"}. `limits` overrides
    `sandbox.Limits` field by field, for each test. `prefill` is text that the model was given as the beginning of its answer;
    `prefix` is code that belongs before the answer unless the answer defines `entry` itself.
    """

    style: Literal["stdin", "call", "assert", "script"]
    tests: list[Any] = field(default_factory=list)
    entry: str = ""
    entries: list[str] = field(default_factory=list)
    setup: str = ""
    source: str = ""
    module: str = "solution"
    count: int | None = None
    compare: Any = "lines"
    limits: dict[str, Any] = field(default_factory=dict)
    prelude: bool = True
    prefill: str = ""
    prefix: str = ""
    extract: Extraction | None = None


@dataclass(frozen=True)
class CodeVerifier:
    """Judges programs. Picklable: the sandbox is opened by the process that uses it, once, and shared there.

    With `partial` the reward is the share of passed tests, and all of them are run; else it is 1 or 0, and the first failure
    ends the matter. `workers` is how many programs one process runs at a time.
    """

    backend: str = "auto"
    image: str | None = None
    workers: int = 1
    partial: bool = False
    extract: Extraction = "last_block"
    name: str = "code"

    @property
    def version(self) -> str:
        """Names the options that a verdict depends on."""
        return f"1-{self.extract}{'-partial' if self.partial else ''}"

    @property
    def limits(self) -> PoolLimits:
        """The programs' own limits end them long before; many tests of several seconds each are honest work."""
        return PoolLimits(wall=1800.0, cpu=300.0, memory=None)

    def __call__(self, problem: Problem, completion: Completion) -> Verdict:
        """Judge one completion. Raises InputError for a reference that is none."""
        reference = decode(CodeReference, problem.reference, f"problem {problem.id!r}: reference")
        tests, limits = make_tests(reference, problem.id), make_limits(reference, problem.id)
        code = extract_code(reference.prefill + completion.text, reference.extract or self.extract)
        if code is None:
            cut = " (the completion was cut at its length limit)" if completion.finish == "length" else ""
            return Verdict(reward=0.0, status="unparsed", detail=f"no complete code block in the completion{cut}")
        program = Program(_with_prefix(code, reference), prelude=reference.prelude)
        try:
            sandbox = shared_sandbox(self.backend, self.image, self.workers)
            verdicts = judge(sandbox, program, tests, limits=limits, stop_early=not self.partial)
        except (SandboxError, ValueError) as error:
            return Verdict(reward=None, status="verifier_error", extracted=code, detail=str(error))
        return self._verdict(code, verdicts)

    def _verdict(self, code: str, verdicts: list[TestVerdict]) -> Verdict:
        passed = sum(verdict.kind == "passed" for verdict in verdicts)
        share = passed / len(verdicts)
        parts = {"tests": float(len(verdicts)), "passed": float(passed), "cpu_seconds": sum(v.cpu_seconds for v in verdicts)}
        if passed == len(verdicts):
            return Verdict(reward=1.0, status="correct", extracted=code, parts=parts)
        number, first = next((i, v) for i, v in enumerate(verdicts, 1) if v.kind != "passed")
        detail = f"test {number} of {len(verdicts)}: {first.kind}" + (f": {first.detail}" if first.detail else "")
        status: Status = "partial" if self.partial and passed else _STATUS[first.kind]
        return Verdict(
            reward=share if self.partial else 0.0, status=status, extracted=code, parts=parts, detail=detail.replace("\n", " ")
        )


def shared_sandbox(backend: str, image: str | None, workers: int) -> Sandbox:
    """The sandbox of this process for these settings, opened when first asked for. Raises SandboxUnavailable."""
    key = (backend, image, workers)
    with _opening:
        if key not in _sandboxes:
            _sandboxes[key] = open_sandbox(backend, image=image, workers=workers)
        return _sandboxes[key]


def extract_code(text: str, rule: Extraction) -> str | None:
    """Return the program in a completion, or None.

    "last_block" and "first_block" look, after any `</think>`, for closed fenced blocks marked as Python, and if there are none
    for unmarked ones. "last_fences" is LiveCodeBench's rule: whatever stands between the last two lines that hold a fence.
    "whole" takes everything.
    """
    if rule == "whole":
        return text if text.strip() else None
    if rule == "last_fences":
        return _between_last_fences(text)
    answer = text.rpartition("</think>")[2]
    blocks = _blocks(answer)
    chosen = [code for tag, code in blocks if tag.lower() in _PYTHON] or [code for tag, code in blocks if not tag]
    if not chosen:
        return None
    return chosen[-1] if rule == "last_block" else chosen[0]


def _between_last_fences(text: str) -> str | None:
    lines = text.split("\n")
    fences = [number for number, line in enumerate(lines) if "```" in line]
    if len(fences) < 2:
        return None
    return "\n".join(lines[fences[-2] + 1 : fences[-1]])


def _blocks(text: str) -> list[tuple[str, str]]:
    """The closed fenced blocks of `text`: (tag, content)."""
    blocks: list[tuple[str, str]] = []
    fence, tag = "", ""
    content: list[str] = []
    for line in text.split("\n"):
        match = _FENCE.match(line)
        if not fence:
            if match:
                fence, tag, content = match[1], match[2], []
        elif match and match[1].startswith(fence) and not match[2]:
            blocks.append((tag, "\n".join(content) + "\n"))
            fence = ""
        else:
            content.append(line)
    return blocks


def _with_prefix(code: str, reference: CodeReference) -> str:
    """HumanEval's answers may be the rest of a function, or the whole of it, with or without what stood before it."""
    if not reference.prefix:
        return code
    if not _open_function(reference.prefix):
        return f"{reference.prefix}\n{code}"
    whole = reference.entry and re.search(rf"^(?:def|class)\s+{re.escape(reference.entry)}\b", code, re.MULTILINE)
    # A whole answer still wants the helpers and imports of the prefix: it comes after them, and its definitions win.
    return f"{reference.prefix}\n    pass\n{code}" if whole else reference.prefix + code


def _open_function(prefix: str) -> bool:
    """Whether `prefix` ends inside a function: it does not compile, or its last line closes a docstring."""
    try:
        compile(prefix, "prefix", "exec", dont_inherit=True)
    except SyntaxError:
        return True
    return prefix.rstrip().endswith(('"""', "'''"))


def make_tests(reference: CodeReference, where: str) -> Tests:
    """Turn a reference into tests. Raises InputError naming the problem and the field."""
    try:
        comparison = Comparison(**reference.compare) if isinstance(reference.compare, dict) else Comparison(reference.compare)
    except (TypeError, ValueError) as error:
        raise InputError(f"problem {where!r}: reference field 'compare': {error}") from None
    entries = (reference.entry, *reference.entries) if reference.entry else tuple(reference.entries)
    try:
        if reference.style == "stdin":
            return StdinTests(tuple((str(test["input"]), str(test["output"])) for test in reference.tests), comparison)
        if reference.style == "call":
            if not reference.entry:
                raise InputError(f"problem {where!r}: reference field 'entry': missing; style 'call' needs a function")
            return CallTests(reference.entry, tuple(_call(test) for test in reference.tests), comparison)
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise InputError(f"problem {where!r}: reference field 'tests': {type(error).__name__}: {error}") from None
    if reference.style == "assert":
        return AssertTests(tuple(map(str, reference.tests)), reference.setup, entries)
    return ScriptTests(reference.source, entries, reference.module, reference.count)


def _call(test: Mapping[str, Any]) -> tuple[tuple[Any, ...], Any]:
    if "arguments" in test:
        return tuple(test["arguments"]), test["value"]
    return tuple(json.loads(line) for line in test["input"].split("\n") if line.strip()), json.loads(test["output"])


def make_limits(reference: CodeReference, where: str) -> Limits:
    """The limits of a reference on top of the defaults. Raises InputError for one that does not exist."""
    known = Limits.__dataclass_fields__
    for name in reference.limits:
        if name not in known:
            raise InputError(f"problem {where!r}: reference field 'limits': no limit {name!r}{nearest(name, known)}")
    try:
        return replace(Limits(), **reference.limits)
    except (TypeError, ValueError) as error:
        raise InputError(f"problem {where!r}: reference field 'limits': {error}") from None
