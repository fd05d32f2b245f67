"""SIGKILL at random moments: nothing finished is lost or made twice, nothing half-made is seen."""

import contextlib
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from tiny_farm import contents

from vibrissa.data.checking import check
from vibrissa.data.index import shard_files
from vibrissa.data.sealed import check_seal

pytestmark = pytest.mark.skipif(os.name != "posix", reason="SIGKILL is of POSIX systems")
OBJECTS = 10
WORKERS = 2
SCRIPT = str(Path(__file__).with_name("tiny_farm.py"))
GRACE_S = 90


def start(out, who):
    words = [sys.executable, SCRIPT, str(out), who, str(OBJECTS)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(out, who):
    done = start(out, who)
    _, errors = done.communicate(timeout=GRACE_S)
    assert done.returncode == 0, errors


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The bytes of a build that nobody disturbed, and the time in which it makes its objects."""
    out = tmp_path_factory.mktemp("undisturbed") / "data"
    finish(out, "1")
    times = [line.split()[0] for line in (out / "log/build.log").read_text().splitlines()]
    seconds = [time.mktime(time.strptime(t, "%Y-%m-%dT%H:%M:%S")) for t in times]
    return contents(out), max(1.0, max(seconds) - min(seconds))


def log_of(out):
    """(event, object, process) of every unit that began or ended."""
    file = out / "log" / "build.log"
    lines = file.read_text().splitlines() if file.exists() else []
    return [(event, name, int(pid)) for _, pid, event, name in (line.split() for line in lines)]


def wait_for_work(out, process, draws, seconds):
    """Wait until the first unit has begun, then for a random part of the time of a whole build."""
    ends = time.monotonic() + GRACE_S
    while not log_of(out):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < ends
        time.sleep(0.01)
    time.sleep(draws.uniform(0.0, seconds))


def check_state(out):
    """What a reader sees right after a kill: whole shards, or none."""
    files = shard_files(out)
    for file in files:
        check_seal(out / "shards" / file)
    return {file.removesuffix(".h5") for file in files}


def check_end(out, undisturbed, finished, killed):
    """After the rerun: equal bytes, and no finished object begun again."""
    assert contents(out) == undisturbed
    assert check(out).sound
    begun = Counter(name for event, name, _ in log_of(out) if event == "start")
    assert len(begun) == OBJECTS
    again = {name for name, count in begun.items() if count > 1}
    assert len(again) <= killed
    first = log_of(out)
    for name in finished:
        starts = [k for k, (event, n, _) in enumerate(first) if event == "start" and n == name]
        assert len(starts) == 1, f"{name} was finished and made again"


def kill_parent(out, undisturbed, draws):
    process = start(out, str(WORKERS))
    wait_for_work(out, process, draws, undisturbed[1])
    process.kill()
    process.communicate()
    time.sleep(0.3)  # workers end with their parent
    finished = check_state(out)
    finish(out, str(WORKERS))
    check_end(out, undisturbed[0], finished, WORKERS)


def kill_worker(out, undisturbed, draws):
    process = start(out, str(WORKERS))
    wait_for_work(out, process, draws, undisturbed[1])
    pids = {pid for _, _, pid in log_of(out)}
    victim = draws.choice(sorted(pids))
    finished = check_state(out)
    with contextlib.suppress(ProcessLookupError):
        os.kill(victim, signal.SIGKILL)
    _, errors = process.communicate(timeout=GRACE_S)
    assert process.returncode == 0, errors  # the build goes on with another worker
    check_end(out, undisturbed[0], finished, 1)


class Cluster:
    """A Dask scheduler with workers, as processes of their own."""

    def __init__(self):
        self.processes = []
        script = str(Path(sys.executable).with_name("dask"))
        quiet = ["--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0"]
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        self.scheduler = self.run([script, "scheduler", *quiet, "--port", str(port)])
        for _ in range(WORKERS):
            limits = [
                "--nthreads",
                "1",
                "--no-nanny",
                "--death-timeout",
                "5",
                "--memory-limit",
                "0",
            ]
            self.run([script, "worker", f"tcp://{self.address}", *quiet, *limits])

    def run(self, words):
        here = str(Path(SCRIPT).parent)
        process = subprocess.Popen(
            words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": here},
        )  # fmt: skip
        self.processes.append(process)
        return process

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.wait()


def kill_scheduler(out, undisturbed, draws):
    with Cluster() as cluster:
        process = start(out, cluster.address)
        wait_for_work(out, process, draws, undisturbed[1])
        cluster.scheduler.kill()
        _, errors = process.communicate(timeout=GRACE_S)
    if process.returncode:  # else it was done before
        assert re.search(r"scheduler.*lost.*same command", errors, re.S), errors
    finished = check_state(out)
    with Cluster() as cluster:
        finish(out, cluster.address)
    check_end(out, undisturbed[0], finished, 2 * WORKERS)


KILLS = {"parent": kill_parent, "worker": kill_worker, "scheduler": kill_scheduler}


@pytest.mark.parametrize(
    ("victim", "trial"),
    [("parent", 0), ("parent", 1), ("worker", 0), ("worker", 1), ("scheduler", 0)],
)
def test_killed(tmp_path, undisturbed, victim, trial):
    if victim == "scheduler":
        pytest.importorskip("distributed")
    KILLS[victim](tmp_path / "data", undisturbed, random.Random(f"{victim} {trial}"))


@pytest.mark.slow
@pytest.mark.parametrize("trial", range(2, 20))
@pytest.mark.parametrize("victim", ["parent", "worker"])
def test_killed_often(tmp_path, undisturbed, victim, trial):
    KILLS[victim](tmp_path / "data", undisturbed, random.Random(f"{victim} {trial}"))


@pytest.mark.slow
@pytest.mark.parametrize("trial", range(1, 10))
def test_scheduler_killed_often(tmp_path, undisturbed, trial):
    pytest.importorskip("distributed")
    kill_scheduler(tmp_path / "data", undisturbed, random.Random(f"scheduler {trial}"))


@pytest.mark.parametrize("who", ["0", "2", "local"])
def test_equal_bytes_whoever_works(tmp_path, undisturbed, who):
    if who == "local":
        pytest.importorskip("distributed")
    finish(tmp_path / "data", who)
    assert contents(tmp_path / "data") == undisturbed[0]
