"""The `code` verifier: extraction, every status, partial rewards, and what is never a wrong answer."""

import pickle

import pytest
from unmask.rewards.code import CodeVerifier, extract_code
from unmask.rewards.errors import InputError
from unmask.rewards.records import Completion, Problem, Verdict
from unmask.rewards.verifier import Verifier
from unmask.sandbox import SandboxUnavailable, open_sandbox


@pytest.fixture(scope="module")
def backend() -> str:
    for name in ("namespace", "docker", "restricted"):
        try:
            open_sandbox(name, workers=1).close()
        except SandboxUnavailable:
            continue
        return name
    pytest.skip("no backend that isolates works here; see `unmask doctor`")


ADD = {
    "style": "stdin",
    "tests": [{"input": "1 2", "output": "3"}, {"input": "5 5", "output": "10"}],
    "limits": {"cpu_seconds": 1},
}
CALL = {"style": "call", "entry": "add", "tests": [{"arguments": [1, 2], "value": 3}, {"input": '"a"\n"b"', "output": '"ab"'}]}


def verdict(backend: str, reference: object, answer: str, **options: object) -> Verdict:
    problem = Problem("p1", "code", (), reference)
    return CodeVerifier(backend=backend, **options)(problem, Completion(answer))  # type: ignore[arg-type]


def block(code: str) -> str:
    return f"Here it is:\n```python\n{code}\n```\nDone."


def test_it_is_a_picklable_verifier_with_a_name_and_a_version() -> None:
    verifier: CodeVerifier = pickle.loads(pickle.dumps(CodeVerifier(partial=True)))
    assert isinstance(verifier, Verifier)
    assert (verifier.name, verifier.partial) == ("code", True)
    assert verifier.version != CodeVerifier().version  # a partial reward is another verdict


@pytest.mark.parametrize(
    ("code", "status", "detail"),
    [
        ("print(sum(map(int, input().split())))", "correct", ""),
        ("print(3)", "wrong", "test 2 of 2: wrong: line 1: expected '10', got '3'"),
        ("exit(0)", "wrong", "test 1 of 2: wrong"),
        ("1/0", "crashed", "test 1 of 2: crashed: ZeroDivisionError"),
        ("while True: pass", "timeout", "test 1 of 2: timeout: "),
        ("x = bytearray(1 << 40)", "timeout", "test 1 of 2: memory"),
        ("import ctypes\nctypes.CDLL(None).ptrace(0, 0, 0, 0)", "refused", "test 1 of 2: denied"),
    ],
)
def test_each_ending_has_its_status(backend: str, code: str, status: str, detail: str) -> None:
    got = verdict(backend, ADD, block(code))
    assert got.status == status
    assert got.detail.startswith(detail)
    assert got.reward == (1.0 if status == "correct" else 0.0)
    assert got.extracted == code + "\n"


def test_partial_rewards_are_the_share_of_passed_tests(backend: str) -> None:
    got = verdict(backend, ADD, block("print(3)"), partial=True)
    assert (got.reward, got.status, got.parts["passed"], got.parts["tests"]) == (0.5, "partial", 1.0, 2.0)
    assert verdict(backend, ADD, block("print(0)"), partial=True).status == "wrong"
    assert verdict(backend, ADD, block("print(sum(map(int, input().split())))"), partial=True).reward == 1.0


def test_calls_are_tested_in_both_spellings(backend: str) -> None:
    assert verdict(backend, CALL, block("class Solution:\n    def add(self, a, b): return a + b")).status == "correct"
    assert verdict(backend, CALL, block("def add(a, b): return 3")).status == "wrong"


def test_asserts_run_with_the_prompt_before_the_answer(backend: str) -> None:
    reference = {
        "style": "assert",
        "tests": ["check(candidate)"],
        "setup": "def check(candidate):\n    assert candidate(2) == 4",
        "entry": "double",
        "prefix": 'import math\ndef double(x):\n    """Twice x."""\n',
    }
    assert verdict(backend, reference, block("    return x * 2")).status == "correct"
    assert verdict(backend, reference, block("def double(x):\n    return x + math.floor(x)")).status == "correct"
    assert verdict(backend, reference, block("    return x * 3")).status == "wrong"
    assert verdict(backend, reference, block("    exit()")).status == "crashed"


def test_scripts_are_judged(backend: str) -> None:
    reference = {"style": "script", "source": "from solution import f\ndef test_f(): assert f() == 1", "count": 1}
    assert verdict(backend, reference, block("def f(): return 1")).status == "correct"
    assert verdict(backend, reference, block("def f(): return 2")).status == "wrong"


def test_an_answer_without_code_is_unparsed(backend: str) -> None:
    for text in ("The answer is 3.", "```python\nprint(3)", "```cpp\nint main(){}\n```", ""):
        got = verdict(backend, ADD, text)
        assert (got.status, got.reward) == ("unparsed", 0.0)
    cut = CodeVerifier(backend=backend)(Problem("p", "t", (), ADD), Completion("```python\nx", finish="length"))
    assert "length limit" in cut.detail


def test_what_the_sandbox_cannot_do_is_a_verifier_error_and_never_a_wrong_answer(backend: str) -> None:
    empty = {"style": "stdin", "tests": []}
    broken = {"style": "assert", "tests": ["assert ("]}
    for reference in (empty, broken):
        got = verdict(backend, reference, block("print(3)"))
        assert (got.status, got.reward) == ("verifier_error", None)
        assert got.detail


def test_without_a_sandbox_every_item_is_a_verifier_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    monkeypatch.setattr("unmask.rewards.code._sandboxes", {})
    got = verdict("docker", ADD, block("print(3)"))
    assert got.status == "verifier_error"
    assert "no engine answers" in got.detail


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ({"style": "stdout", "tests": []}, "'style'"),
        ({"style": "stdin", "tests": [{"input": "1"}]}, "'tests': KeyError"),
        ({"style": "call", "tests": []}, "'entry': missing"),
        ({"style": "stdin", "tests": [], "limits": {"memroy": 5}}, "did you mean 'memory'"),
        ({"style": "stdin", "tests": [], "limits": {"memory": 0}}, "must be above 0"),
        ({"style": "stdin", "tests": [], "compare": {"rule": "checker"}}, "'compare'"),
        ({"style": "stdin", "tests": [], "comapre": "exact"}, "did you mean 'compare'"),
    ],
)
def test_a_reference_that_is_none_is_named(reference: object, message: str) -> None:
    with pytest.raises(InputError, match="p1") as caught:
        verdict("namespace", reference, block("print(3)"))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "rule", "code"),
    [
        ("```python\na\n```\n```python\nb\n```", "last_block", "b\n"),
        ("```python\na\n```\n```python\nb\n```", "first_block", "a\n"),
        ("```python\na\n```\n```\nsample\n```", "last_block", "a\n"),
        ("```\na\n```", "last_block", "a\n"),
        ("```Python3\na\n```", "last_block", "a\n"),
        ("````python\na\n```\nb\n````", "last_block", "a\n```\nb\n"),
        ("~~~python\na\n~~~", "last_block", "a\n"),
        ("<think>```python\ndraft\n```</think>```python\na\n```", "last_block", "a\n"),
        ("<think>\n```python\ndraft\n```\n</think>\n```python\na\n```", "last_block", "a\n"),
        ("<think>\n```python\ndraft\n```\n</think>\nNo code.", "last_block", None),
        ("```python\na\n```\ntext\n```python\nunclosed", "last_block", "a\n"),
        ("```python\na\n```\n```\nb\n```", "last_fences", "b"),
        ("```python\na\n```\nx ```\nunclosed", "last_fences", ""),
        ("one ```", "last_fences", None),
        ("print(1)", "whole", "print(1)"),
        ("  \n", "whole", None),
    ],
)
def test_code_is_extracted_by_rule(text: str, rule: str, code: str | None) -> None:
    assert extract_code(text, rule) == code  # type: ignore[arg-type]
