"""Executors on Dask: a local cluster, a given scheduler, and SLURM played by two scripts."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vibrissa.core.errors import InputError
from vibrissa.data.executors import FarmError

pytest.importorskip("distributed")
pytest.importorskip("dask_jobqueue")

from dask import config

from vibrissa.data import executors_dask
from vibrissa.data.executors_dask import DaskExecutor, SlurmJobs

HERE = str(Path(__file__).parent)
sys.path.insert(0, HERE)  # worker processes inherit it
import executor_units as units  # noqa: E402

# Dask's own loose ends: sockets that it leaves to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def wait_for(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    """What the condition gives as soon as it is true."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return value


def kill_noted(folder: Path) -> threading.Thread:
    """Kill the worker that notes its pid there, as soon as it does."""

    def kill() -> None:
        wait_for((folder / "pid").exists)
        os.kill(int((folder / "pid").read_text()), signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


def test_local_cluster(capfd: pytest.CaptureFixture[str]):
    taken = 0

    def items() -> Iterator[tuple[str, tuple[str, int]]]:
        nonlocal taken
        for k in range(40):
            taken += 1
            kind = {5: "refuse", 6: "fail", 7: "exit"}.get(k, "none")
            yield f"{k}", (kind, k)

    outcomes = {}
    for done, outcome in enumerate(DaskExecutor(workers=2).run(units.behave, items()), start=1):
        assert taken <= done + 2 * 2
        outcomes[outcome.key] = outcome
    assert len(outcomes) == 40
    failures = {key: o.failure for key, o in outcomes.items() if o.failure is not None}
    assert {key: failure.kind for key, failure in failures.items()} == {
        "5": "refused",
        "6": "error",
        "7": "error",
    }
    assert all(o.result == int(key) ** 2 for key, o in outcomes.items() if key not in failures)
    assert failures["6"].message == "ZeroDivisionError: first line second line"
    assert "in behave" in failures["6"].traceback
    assert capfd.readouterr() == ("", "")


def test_a_killed_local_worker_costs_one_attempt(tmp_path: Path):
    killer = kill_noted(tmp_path)
    (outcome,) = DaskExecutor(workers=1).run(units.wait_once, [("victim", str(tmp_path))])
    killer.join()
    assert (outcome.result, outcome.failure) == ("done", None)


@pytest.mark.slow
def test_only_the_deadly_unit_is_blamed():
    """With one worker, each unit that waits behind the deadly one loses its worker as often."""
    items = [(f"{k}", ("kill" if k == 3 else "none", k)) for k in range(30)]
    outcomes = {o.key: o for o in DaskExecutor(workers=1, attempts=1).run(units.behave, items)}
    assert len(outcomes) == 30
    deadly = outcomes.pop("3")
    assert deadly.failure is not None
    assert deadly.failure.kind == "died"
    assert "worker process was lost" in deadly.failure.message
    assert all(o.result == int(key) ** 2 for key, o in outcomes.items())


@pytest.mark.slow
def test_workers_with_a_lifetime_are_replaced(tmp_path: Path):
    executor = DaskExecutor(workers=1, lifetime_minutes=2 / 60)
    run = executor.run(units.slow_who, ((str(k), k) for k in range(40)))
    pids = {o.result for o in run}
    assert None not in pids
    assert len(pids) >= 2


PARENT = """
import sys
sys.path[:0] = [{here!r}]
import executor_units as units
from vibrissa.data.executors_dask import DaskExecutor
if __name__ == "__main__":
    items = [(str(k), ({folder!r}, k)) for k in range(8)]
    try:
        list(DaskExecutor(workers=2).run(units.wait_long, items))
    except KeyboardInterrupt:
        print("interrupted")
"""


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_the_local_cluster_ends_with_its_parent(how: signal.Signals, tmp_path: Path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT.format(here=HERE, folder=str(tmp_path)))
    with subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as parent:
        notes = wait_for(lambda: len(found := list(tmp_path.glob("*.pid"))) == 2 and found)
        pids = [int(note.stem.split("-")[1]) for note in notes]
        if how == signal.SIGKILL:
            parent.kill()
        else:
            os.killpg(parent.pid, how)
            out, err = parent.communicate(timeout=15)
            assert (out, err, parent.returncode) == ("interrupted\n", "", 0)
        wait_for(lambda: not any(is_running(pid) for pid in pids), seconds=5)


def dask_command(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", *arguments, "--dashboard-address", "127.0.0.1:0"],
        env={**os.environ, "PYTHONPATH": HERE},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A scheduler with one worker, started by their own commands."""
    note = tmp_path / "scheduler.json"
    scheduler = dask_command(
        "distributed.cli.dask_scheduler",
        *("--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(note)),
    )
    worker = None
    try:
        wait_for(lambda: note.exists() and note.read_text().rstrip().endswith("}"))
        address = json.loads(note.read_text())["address"]
        worker = dask_command(
            "distributed.cli.dask_worker",
            *(address, "--host", "127.0.0.1", "--nthreads", "1", "--no-nanny"),
            *("--death-timeout", "2", "--local-directory", str(tmp_path)),
        )
        yield address, scheduler
    finally:
        for process in (worker, scheduler):
            if process is not None:
                process.kill()
                process.wait()


def test_a_given_scheduler_is_used_and_left_alone(
    farm: tuple[str, subprocess.Popen[bytes]], tmp_path: Path
):
    address, scheduler = farm
    executor = DaskExecutor(scheduler=address)
    run = executor.run(units.note_and_wait, ((str(k), (str(tmp_path), k)) for k in range(100)))
    assert next(run).result is not None
    run.close()  # type: ignore[attr-defined]
    # What was in flight is called off: no more than what is at work now is begun.
    time.sleep(0.5)
    begun = len(list(tmp_path.glob("*.begun")))
    time.sleep(0.5)
    assert len(list(tmp_path.glob("*.begun"))) == begun <= 5
    assert scheduler.poll() is None

    run = executor.run(units.note_and_wait, ((str(k), (str(tmp_path), k)) for k in range(100)))
    assert next(run).failure is None
    scheduler.kill()
    began = time.monotonic()
    with pytest.raises(FarmError, match=f"The Dask scheduler at {address} was lost; run the same"):
        list(run)
    assert time.monotonic() - began < 10


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(executors_dask, "CONNECT_S", 1)
    with pytest.raises(InputError, match=r"scheduler = 'tcp://127.0.0.1:9': no Dask scheduler"):
        list(DaskExecutor(scheduler="tcp://127.0.0.1:9").run(units.square, [("a", 1)]))


def test_work_that_cannot_be_sent_is_refused():
    lock = threading.Lock()
    with pytest.raises(InputError, match="work = .*cannot be sent to another process"):
        DaskExecutor(workers=1).run(lambda item: (lock, item), [("a", 1)])


SBATCH = """#!/bin/sh
# Run the job here, in a session of its own, whose number is the job's.
cp "$1" "$FAKE_SLURM/script-$$"
setsid sh "$FAKE_SLURM/script-$$" >>"$FAKE_SLURM/output" 2>&1 &
echo $! >>"$FAKE_SLURM/jobs"
echo "Submitted batch job $!"
"""
SCANCEL = """#!/bin/sh
echo "$1" >>"$FAKE_SLURM/cancelled"
kill -9 -- "-$1"
"""


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with what was submitted and what was cancelled."""
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SLURM", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", HERE)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    jobs = tmp_path / "jobs"
    for job in jobs.read_text().split() if jobs.exists() else ():
        subprocess.run(["kill", "-9", "--", f"-{job}"], stderr=subprocess.DEVNULL, check=False)


@pytest.mark.skipif(shutil.which("setsid") is None, reason="the jobs are sessions")
def test_slurm_jobs(slurm: Path, capfd: pytest.CaptureFixture[str]):
    jobs = SlurmJobs(memory="1GB", walltime="00:10:00", queue="short", directives=("--qos=low",))
    executor = DaskExecutor(scheduler="slurm", workers=1, slurm=jobs)
    items = [(str(k), k) for k in range(20)]
    with config.set(
        {
            "jobqueue.slurm.account": "whiskers",
            "jobqueue.slurm.job-script-prologue": ["export FROM_USER=1"],
            "jobqueue.slurm.scheduler-options": {"host": "127.0.0.1"},
        }
    ):
        outcomes = list(executor.run(units.square, items))
    assert sorted((int(o.key), o.result) for o in outcomes) == [(k, k * k) for k in range(20)]
    (script,) = slurm.glob("script-*")
    lines = script.read_text().splitlines()
    wanted = ("-p short", "-A whiskers", "-n 1", "--cpus-per-task=1", "-t 00:10:00", "--qos=low")
    assert {f"#SBATCH {line}" for line in wanted} <= set(lines)
    assert "export FROM_USER=1" in lines
    assert (slurm / "cancelled").read_text().split() == (slurm / "jobs").read_text().split()
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("setsid") is None, reason="the jobs are sessions")
def test_a_slurm_job_that_ends_is_replaced(slurm: Path):
    killer = kill_noted(slurm)  # the worker process; then its whole job

    def end_job() -> None:
        killer.join()
        (job,) = (slurm / "jobs").read_text().split()
        os.killpg(int(job), signal.SIGKILL)

    ender = threading.Thread(target=end_job)
    ender.start()
    executor = DaskExecutor(scheduler="slurm", workers=1)
    settings = {
        "jobqueue.slurm.scheduler-options": {"host": "127.0.0.1"},
        "distributed.deploy.lost-worker-timeout": "2s",
    }
    with config.set(settings):
        (outcome,) = executor.run(units.wait_once, [("victim", str(slurm))])
    ender.join()
    assert outcome.result == "done"
    assert len((slurm / "jobs").read_text().split()) == 2


def test_slurm_that_refuses_is_heard(slurm: Path):
    (slurm / "bin" / "sbatch").write_text("#!/bin/sh\necho no such account >&2\nexit 1\n")
    with pytest.raises(FarmError, match=r"cannot start: .*no such account"):
        list(DaskExecutor(scheduler="slurm", workers=1).run(units.square, [("a", 1)]))


def test_slurm_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FarmError, match=r"cannot start: .*sbatch"):
        list(DaskExecutor(scheduler="slurm", workers=1).run(units.square, [("a", 1)]))


def test_numbers_out_of_range_are_refused():
    with pytest.raises(InputError, match="workers = 0: is below one"):
        DaskExecutor(scheduler="slurm")
    with pytest.raises(InputError, match="attempts = 0: is below one"):
        DaskExecutor(workers=1, attempts=0)
    with pytest.raises(InputError, match="lifetime_minutes = -1: is not a positive time"):
        DaskExecutor(workers=1, lifetime_minutes=-1)
