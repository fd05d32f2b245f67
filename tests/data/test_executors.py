"""Executors in this process and in worker processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import pytest

from vibrissa.core.errors import InputError
from vibrissa.data.executors import (
    Executor,
    FarmError,
    SerialExecutor,
    default_workers,
    make_executor,
)
from vibrissa.data.executors_processes import ProcessExecutor

HERE = str(Path(__file__).parent)
sys.path.insert(0, HERE)  # worker processes inherit it
import executor_units as units  # noqa: E402


def wait_for(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """What the condition gives as soon as it is true."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
    return value


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def pids_in(folder: Path, count: int = 1) -> list[int] | None:
    found = [int(path.stem.split("-")[1]) for path in folder.glob("*.pid")]
    return found if len(found) >= count else None


EXECUTORS = [
    pytest.param(SerialExecutor(), id="serial"),
    pytest.param(ProcessExecutor(workers=1), id="one"),
    pytest.param(ProcessExecutor(workers=2, recycle_after=4), id="two"),
]


@pytest.mark.parametrize("executor", EXECUTORS)
def test_every_unit_is_done_once(executor: Executor):
    outcomes = list(executor.run(units.square, ((str(k), k) for k in range(11))))
    assert {o.key: o.result for o in outcomes} == {str(k): k * k for k in range(11)}
    assert len(outcomes) == 11
    assert all(o.failure is None and o.attempts == 1 and o.seconds >= 0 for o in outcomes)
    assert list(executor.run(units.square, [])) == []


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_failed_unit_stops_no_other(executor: Executor):
    kinds = ["none", "refuse", "none", "fail", "none"]
    items = [(f"{kind}{k}", (kind, k)) for k, kind in enumerate(kinds)]
    outcomes = {o.key: o for o in executor.run(units.behave, items)}
    assert [outcomes[k].result for k in ("none0", "none2", "none4")] == [0, 4, 16]
    refused = outcomes["refuse1"].failure
    assert refused is not None
    assert refused.kind == "refused"
    assert refused.message == "field = 1: too small; give 2."
    failed = outcomes["fail3"].failure
    assert failed is not None
    assert failed.kind == "error"
    assert failed.message == "ZeroDivisionError: first line second line"
    assert "in behave" in failed.traceback


def test_a_worker_killed_in_mid_unit_costs_one_attempt(tmp_path: Path):
    executor = ProcessExecutor(workers=2)
    source = [("victim", str(tmp_path))]
    run = executor.run(units.wait_once, source)

    def kill() -> None:
        note = wait_for((tmp_path / "pid").exists) and (tmp_path / "pid")
        os.kill(int(note.read_text()), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    (outcome,) = run
    killer.join()
    assert (outcome.result, outcome.failure, outcome.attempts) == ("done", None, 2)


def test_units_that_kill_their_worker_are_named():
    kinds = ["none", "kill", "none", "crash", "leave", "exit", "none", "none"]
    items = [(f"{kind}{k}", (kind, k)) for k, kind in enumerate(kinds)]
    executor = ProcessExecutor(workers=2, attempts=2)
    outcomes = {o.key: o for o in executor.run(units.behave, items)}
    assert len(outcomes) == len(kinds)
    assert [o.result for o in outcomes.values() if o.failure is None] == [
        int(key[4:]) ** 2 for key, o in outcomes.items() if o.failure is None
    ]
    assert {key for key, o in outcomes.items() if o.failure is None} == {
        "none0",
        "none2",
        "none6",
        "none7",
    }
    messages = {key: o.failure.message for key, o in outcomes.items() if o.failure is not None}
    kinds_of = {key: o.failure.kind for key, o in outcomes.items() if o.failure is not None}
    assert messages["kill1"] == (
        "the worker process was killed by SIGKILL (attempt 2 of 2; out of memory?)"
    )
    assert messages["crash3"] == "the worker process was killed by SIGSEGV (attempt 2 of 2)"
    assert messages["leave4"] == "the worker process ended with exit code 7 (attempt 2 of 2)"
    assert messages["exit5"] == "SystemExit: 3"
    assert kinds_of == {"kill1": "died", "crash3": "died", "leave4": "died", "exit5": "error"}
    crashed = outcomes["crash3"]
    assert crashed.attempts == 2
    assert crashed.failure is not None
    assert "in behave" in crashed.failure.traceback  # where native code crashed


def test_workers_are_replaced_after_so_many_units():
    executor = ProcessExecutor(workers=1, recycle_after=3)
    seen = [o.result for o in executor.run(units.who, ((str(k), k) for k in range(8)))]
    assert all(result is not None for result in seen)
    pids = [result[0] for result in seen if result is not None]
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [3, 3, 2]
    assert os.getpid() not in pids
    assert {result[1:] for result in seen if result is not None} == {("1", "1")}


def test_what_cannot_be_pickled_fails_clearly(tmp_path: Path):
    executor = ProcessExecutor(workers=1)
    with pytest.raises(InputError, match="work = .*cannot be sent to another process"):
        executor.run(lambda item: item, [("a", 1)])

    def messages(work: Any, *items: Any) -> list[str]:
        run = executor.run(work, [(str(k), item) for k, item in enumerate(items)])
        return [o.failure.message if o.failure else str(o.result) for o in run]

    assert messages(units.raise_unpicklable, 0) == ["Unpicklable: 1 and 2"]
    bad, good = messages(units.give_unpicklable, 0, 1)
    assert "the result cannot be sent back" in bad
    assert good == "1"
    assert "TypeError: can't multiply" in messages(units.give_unloadable, 0)[0]
    bad, good = messages(units.square, lambda: None, 3)
    assert "the item cannot be sent" in bad
    assert good == "9"


def test_items_are_taken_only_as_fast_as_they_are_worked_on():
    taken = 0

    def items() -> Iterator[tuple[str, int]]:
        nonlocal taken
        for k in range(10_000):
            taken += 1
            yield str(k), k

    run = ProcessExecutor(workers=2).run(units.square, items())
    for done in range(1, 41):
        next(run)
        assert taken <= done + 2 + 2  # in flight, and done but not yet asked for
    run.close()  # type: ignore[attr-defined]
    assert not active_children()


def test_closing_early_ends_the_workers(tmp_path: Path):
    items = [("quick", ("none", 1)), *((f"{k}", (str(tmp_path), k)) for k in range(4))]
    run = ProcessExecutor(workers=2).run(units.quick_then_long, items)
    assert next(run).key == "quick"
    pids = wait_for(lambda: pids_in(tmp_path))
    began = time.monotonic()
    run.close()  # type: ignore[attr-defined]
    assert time.monotonic() - began < 3
    assert not any(is_running(pid) for pid in pids)
    assert not active_children()
    assert not list(tmp_path.glob("*.temporary"))  # their finally blocks have run


def test_an_error_of_the_source_ends_the_workers(tmp_path: Path):
    def items() -> Iterator[tuple[str, Any]]:
        yield "0", (str(tmp_path), 0)
        wait_for(lambda: False, 0.3)

    with pytest.raises(AssertionError, match="in vain"):
        list(ProcessExecutor(workers=2).run(units.wait_long, items()))
    assert not active_children()


def test_workers_write_nothing_to_the_terminal(capfd: pytest.CaptureFixture[str]):
    run = ProcessExecutor(workers=1).run(units.speak, [("a", 1), ("b", 2)])
    assert [o.result for o in run] == [1, 2]
    assert capfd.readouterr() == ("", "")


def test_workers_that_cannot_get_ready_end_the_run():
    with pytest.raises(FarmError, match=r"cannot get ready: cache = 'x': cannot be written"):
        list(ProcessExecutor(workers=2, warm=units.refuse_to_warm).run(units.square, [("a", 1)]))
    with pytest.raises(FarmError, match=r"cannot start: .* ended with exit code 9"):
        list(ProcessExecutor(workers=2, warm=units.leave_at_once).run(units.square, [("a", 1)]))
    assert not active_children()


PARENT = """
import sys
sys.path[:0] = [{here!r}]
import executor_units as units
from vibrissa.data.executors_processes import ProcessExecutor
if __name__ == "__main__":
    items = [(str(k), ({folder!r}, k)) for k in range(8)]
    try:
        list(ProcessExecutor(workers=2).run(units.wait_long, items))
    except KeyboardInterrupt:
        print("interrupted")
"""


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    script = tmp_path / "parent.py"
    script.write_text(PARENT.format(here=HERE, folder=str(tmp_path)))
    with subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        yield process
        process.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_killed_parent_leaves_no_worker(parent: subprocess.Popen[str], tmp_path: Path):
    pids = wait_for(lambda: pids_in(tmp_path, 2))
    parent.kill()
    wait_for(lambda: not any(is_running(pid) for pid in pids), seconds=2)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_ctrl_c_stops_cleanly_and_soon(parent: subprocess.Popen[str], tmp_path: Path):
    pids = wait_for(lambda: pids_in(tmp_path, 2))
    os.killpg(parent.pid, signal.SIGINT)  # as a terminal does: to the workers, too
    out, err = parent.communicate(timeout=4)
    assert (out, err, parent.returncode) == ("interrupted\n", "", 0)
    assert not any(is_running(pid) for pid in pids)
    assert not list(tmp_path.glob("*.temporary"))


def test_a_script_without_a_main_guard_is_told_so(tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text(
        "import operator\n"
        "from vibrissa.data.executors_processes import ProcessExecutor\n"
        "list(ProcessExecutor(workers=1).run(operator.neg, [('a', 1)]))\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert 'if __name__ == "__main__":' in done.stderr.splitlines()[-1]


def test_names_choose_the_executor():
    assert make_executor() == make_executor("serial", 4) == SerialExecutor()
    assert make_executor(None, 1) == make_executor("processes", 1) == ProcessExecutor(workers=1)
    assert make_executor("local", 2).workers == 2
    assert make_executor("tcp://127.0.0.1:8786").workers == 0
    with pytest.raises(InputError, match="did you mean 'slurm'"):
        make_executor("slrum", 2)
    with pytest.raises(InputError, match="workers = -1"):
        make_executor(None, -1)
    with pytest.raises(InputError, match="workers = 0: is below one"):
        make_executor("local", 0)
    with pytest.raises(InputError, match="recycle_after = 0"):
        make_executor(None, 1, recycle_after=0)
    assert 1 <= default_workers() <= (os.cpu_count() or 1)
