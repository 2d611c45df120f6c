"""The verification pool under verifiers that hang, spin, eat memory and leave. Processes are real; limits are short."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path

import pytest
from unmask.rewards import Completion, InputError, Message, PoolLimits, Problem, Verdict, VerifierPool, load_verifier

OBEY = f"{Path(__file__).parent / 'hostile_verifiers.py'}:obey"
LIMITS = PoolLimits(wall=2.0, cpu=0.3, memory=150 << 20)


def problem(reference: str = "") -> Problem:
    return Problem("p", "test", (Message("user", "?"),), reference)


@pytest.fixture(scope="module")
def pool() -> Iterator[VerifierPool]:
    with VerifierPool(load_verifier(OBEY), workers=2, limits=LIMITS) as made:
        yield made


def judge(pool: VerifierPool, text: str, reference: str = "") -> Verdict:
    return pool.submit(problem(reference), Completion(text)).result(timeout=60)


def test_a_verdict_comes_back_with_the_seconds_it_took(pool: VerifierPool) -> None:
    verdict = judge(pool, "sleep 0.1")
    assert (verdict.reward, verdict.status) == (1.0, "correct")
    assert 0.1 <= verdict.seconds < 0.5


def test_a_number_between_zero_and_one_is_partial_and_a_verdict_passes_through(pool: VerifierPool) -> None:
    assert judge(pool, "half").status == "partial"
    assert judge(pool, "verdict").detail == "as it is"


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("hang", "longer than 2 s"),
        ("stubborn", "longer than 2 s"),
        ("exit 0", "exited with code 0"),
        ("exit 3", "exited with code 3"),
        ("eat", "memory"),
        ("raise oops", "KeyError: 'oops'"),
        ("nan", "not a finite number"),
        ("none", "returned None"),
        ("nonsense", "nonsense"),
    ],
)
def test_what_a_verifier_does_to_its_worker_becomes_a_verifier_error_after_two_attempts(
    pool: VerifierPool, tmp_path: Path, command: str, says: str
) -> None:
    verdict = judge(pool, command, str(tmp_path / "attempts"))
    assert (verdict.reward, verdict.status) == (None, "verifier_error")
    assert says in verdict.detail
    attempts = (tmp_path / "attempts").read_text().split()
    assert len(attempts) == 2
    assert len(set(attempts)) == 2, "the second attempt needs a fresh worker"
    assert judge(pool, "good").reward == 1.0


def test_cpu_time_is_limited_even_inside_c_code_and_the_wall_clock_need_not_run_out() -> None:
    with VerifierPool(load_verifier(OBEY), workers=1, limits=PoolLimits(wall=120.0, cpu=0.3)) as pool:
        verdict = judge(pool, "spin")
    assert (verdict.reward, verdict.status) == (None, "verifier_error")
    assert "0.3 s of CPU" in verdict.detail


@pytest.mark.parametrize("command", ["hang", "spin", "exit 0", "eat"])
def test_one_hostile_item_among_a_hundred_leaves_the_others_alone(pool: VerifierPool, command: str) -> None:
    items = [(n, problem(), Completion(command if n == 13 else "good")) for n in range(100)]
    verdicts = dict(pool.map(items))
    assert len(verdicts) == 100
    assert verdicts.pop(13).status == "verifier_error"
    assert {verdict.status for verdict in verdicts.values()} == {"correct"}


def test_killing_a_worker_kills_the_processes_it_started_even_in_another_session(pool: VerifierPool, tmp_path: Path) -> None:
    log = tmp_path / "child"
    judge(pool, f"child {log}")
    assert eventually(lambda: not alive(int(log.read_text())))


def test_a_replaced_worker_costs_milliseconds(pool: VerifierPool) -> None:
    judge(pool, "good")
    started = time.monotonic()
    for _ in range(10):
        judge(pool, "exit 1")
    assert (time.monotonic() - started) / 20 < 0.2


def test_results_stream_in_completion_order(pool: VerifierPool) -> None:
    items = [("slow", problem(), Completion("sleep 0.5")), ("fast", problem(), Completion("good"))]
    assert [key for key, _ in pool.map(items)] == ["fast", "slow"]


def test_submit_blocks_when_the_pool_is_full_and_goes_on_when_there_is_room() -> None:
    with VerifierPool(load_verifier(OBEY), workers=1, limits=LIMITS, pending=2) as pool:
        futures: list[Future[Verdict]] = []
        thread = threading.Thread(
            target=lambda: futures.extend(pool.submit(problem(), Completion("sleep 0.3")) for _ in range(6))
        )
        thread.start()
        assert eventually(lambda: len(futures) == 2)
        time.sleep(0.05)
        assert len(futures) == 2
        thread.join()
        assert [future.result().reward for future in futures] == [1.0] * 6


def test_map_takes_from_an_endless_source_only_what_it_has_room_for() -> None:
    taken = 0

    def endless() -> Iterator[tuple[int, Problem, Completion]]:
        nonlocal taken
        while True:
            taken += 1
            yield taken, problem(), Completion("good")

    with VerifierPool(load_verifier(OBEY), workers=1, limits=LIMITS, pending=3) as pool:
        stream = pool.map(endless())
        for _ in range(20):
            next(stream)
        assert taken <= 20 + 3


def test_time_in_the_queue_does_not_count() -> None:
    with VerifierPool(load_verifier(OBEY), workers=1, limits=LIMITS) as pool:
        futures = [pool.submit(problem(), Completion("sleep 0.6")) for _ in range(4)]
        assert [future.result().reward for future in futures] == [1.0] * 4


def test_submit_does_not_wait_for_the_workers_to_start(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(1)\ndef reward(problem, completion):\n    return 1.0\n")
    verifier = load_verifier(f"{tmp_path / 'slow.py'}:reward")
    started = time.monotonic()
    with VerifierPool(verifier, workers=1) as pool:
        future = pool.submit(problem(), Completion("x"))
        assert time.monotonic() - started < 0.5
        assert future.result().reward == 1.0


def test_it_works_from_many_threads_at_once(pool: VerifierPool) -> None:
    rewards: list[float | None] = []
    threads = [threading.Thread(target=lambda: rewards.append(judge(pool, "sleep 0.01").reward)) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rewards == [1.0] * 40


def test_it_works_under_asyncio(pool: VerifierPool) -> None:
    async def main() -> list[Verdict]:
        return await asyncio.gather(*(asyncio.wrap_future(pool.submit(problem(), Completion("good"))) for _ in range(10)))

    assert [verdict.reward for verdict in asyncio.run(main())] == [1.0] * 10


def test_a_large_completion_and_odd_characters_arrive_whole(tmp_path: Path) -> None:
    (tmp_path / "echo.py").write_text(
        "from unmask.rewards import Verdict\n"
        "def echo(problem, completion):\n"
        "    return Verdict(1.0, 'correct', extracted=completion.text[-3:], detail=str(len(completion.text)))\n"
    )
    text = "é" * 3_000_000 + "\ud800\x00!"
    with VerifierPool(load_verifier(f"{tmp_path / 'echo.py'}:echo"), workers=1) as pool:
        verdict = judge(pool, text)
    assert (verdict.extracted, verdict.detail) == ("\ud800\x00!", "3000003")


def test_a_verifier_that_cannot_be_loaded_is_an_input_error(tmp_path: Path) -> None:
    path = tmp_path / "gone.py"
    path.write_text("def reward(problem, completion):\n    return 1.0\n")
    verifier = load_verifier(f"{path}:reward")
    path.unlink()
    with VerifierPool(verifier, workers=1) as pool, pytest.raises(InputError, match="could not be loaded"):
        pool.submit(problem(), Completion("x")).result(timeout=20)


def test_a_closure_cannot_be_sent_and_the_message_says_so() -> None:
    class Local:
        name, version = "local", "1"

        def __call__(self, problem: Problem, completion: Completion) -> Verdict:
            return Verdict(1.0, "correct")

    with pytest.raises(InputError, match="cannot be sent to a worker process"):
        VerifierPool(Local())


def test_a_closed_pool_takes_nothing_and_closing_waits_for_what_was_queued() -> None:
    pool = VerifierPool(load_verifier(OBEY), workers=1, limits=LIMITS)
    future = pool.submit(problem(), Completion("sleep 0.2"))
    pool.close()
    assert future.result(timeout=0).reward == 1.0
    with pytest.raises(RuntimeError, match="closed"):
        pool.submit(problem(), Completion("good"))


def test_an_error_inside_the_with_block_drops_the_queue_at_once() -> None:
    started = time.monotonic()
    futures = []

    def fail_inside() -> None:
        with VerifierPool(load_verifier(OBEY), workers=1) as pool:
            futures.append(pool.submit(problem(), Completion("hang")))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_inside()
    assert time.monotonic() - started < 10
    assert futures[0].done()


def test_a_killed_warm_parent_is_replaced(pool: VerifierPool) -> None:
    judge(pool, "good")
    parent = pool._supervisor._parent.pid
    os.kill(parent, signal.SIGKILL)
    assert eventually(lambda: not alive(parent) or pool._supervisor._parent.pid != parent)
    assert judge(pool, "good").reward == 1.0


QUICK = """
from dataclasses import dataclass
from unmask.rewards import Verdict

@dataclass(frozen=True)
class Quick:
    name: str = "quick"
    version: str = "1"

    def quick(self, problem, completion):
        if completion.text == "stumble":
            raise KeyError("not here")
        return Verdict(1.0, "correct", detail="here") if completion.text == "easy" else None

    def cache_key(self, problem, completion):
        return completion.text

    def __call__(self, problem, completion):
        import os
        return Verdict(0.5, "partial", detail=str(os.getpid()))
"""


def test_what_a_verifier_can_decide_at_once_never_reaches_a_worker_and_nothing_is_judged_twice(tmp_path: Path) -> None:
    (tmp_path / "fast.py").write_text(QUICK)
    with VerifierPool(load_verifier(f"{tmp_path / 'fast.py'}:Quick"), workers=2) as pool:
        easy, hard, stumble = (judge(pool, text) for text in ("easy", "hard", "stumble"))
        assert (easy.detail, easy.reward) == ("here", 1.0)
        assert int(hard.detail) != os.getpid()
        assert stumble.reward == 0.5
        assert {judge(pool, "hard").detail for _ in range(10)} == {hard.detail}


SCRIPT = """
import os, sys
from unmask.rewards import Completion, Message, PoolLimits, Problem, VerifierPool, load_verifier
from unmask.rewards.verifier import as_verifier

BONUS = 0.25

def reward(problem, completion):
    {body}

problem = Problem("p", "t", (Message("user", "?"),), "")
with VerifierPool(as_verifier(reward, "mine", {{}}), workers=2, limits=PoolLimits(wall=100)) as pool:
    futures = [pool.submit(problem, Completion("x")) for _ in range(4)]
    print("submitted", flush=True)
    print([future.result().reward for future in futures], flush=True)
"""


def start_script(tmp_path: Path, body: str) -> "subprocess.Popen[str]":
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT).format(body=body))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "MARK": str(tmp_path)}
    # A shell that runs the suite in the background has it ignore Ctrl-C, which its children inherit.
    listen = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    options = {"text": True, "env": env, "start_new_session": True, "preexec_fn": listen}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, str(script)], **pipes, **options)  # type: ignore[call-overload,no-any-return]


def test_a_script_without_a_main_guard_can_define_its_own_verifier(tmp_path: Path) -> None:
    process = start_script(tmp_path, "return BONUS")
    out, err = process.communicate(timeout=30)
    assert out.split("\n")[1] == "[0.25, 0.25, 0.25, 0.25]", err


DAEMON = """
import multiprocessing
from unmask.rewards import Completion, Problem, VerifierPool
from unmask.rewards.math import MathVerifier

def child(queue):
    with VerifierPool(MathVerifier(), workers=1) as pool:
        queue.put(pool.submit(Problem("p", "t", (), "x^2"), Completion("\\\\boxed{x*x}")).result().reward)

if __name__ == "__main__":
    queue = multiprocessing.Queue()
    process = multiprocessing.Process(target=child, args=(queue,), daemon=True)
    process.start()
    print(queue.get(timeout=50))
    process.join()
"""


def test_it_works_inside_a_daemon_process_which_may_have_no_children_of_multiprocessing(tmp_path: Path) -> None:
    script = tmp_path / "daemon.py"
    script.write_text(DAEMON)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=env, timeout=60)
    assert run.stdout.strip() == "1.0", run.stderr


SLEEPER = "open(f\"{os.environ['MARK']}/{os.getpid()}.pid\", 'w').close(); import time; time.sleep(1000)"


def workers_of(tmp_path: Path) -> list[int]:
    return [int(path.stem) for path in tmp_path.glob("*.pid")]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_when_the_host_dies_its_workers_die_too(tmp_path: Path, number: signal.Signals) -> None:
    process = start_script(tmp_path, SLEEPER)
    assert eventually(lambda: len(workers_of(tmp_path)) == 2)
    pids = [*workers_of(tmp_path), parent_of(workers_of(tmp_path)[0])]
    assert all(alive(pid) for pid in pids)
    process.send_signal(number)
    process.communicate(timeout=20)
    assert eventually(lambda: not any(alive(pid) for pid in pids))


def test_ctrl_c_prints_one_traceback_only_the_hosts(tmp_path: Path) -> None:
    process = start_script(tmp_path, SLEEPER)
    assert eventually(lambda: len(workers_of(tmp_path)) == 2)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert err.count("Traceback") == 1
    assert "KeyboardInterrupt" in err
    assert eventually(lambda: not any(alive(pid) for pid in workers_of(tmp_path)))


def eventually(condition: Callable[[], bool], seconds: float = 15.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
