"""A small pool of worker processes that survives the loss of any of them.

The pools of ``concurrent.futures`` and of loky give up the whole run when one worker is killed, as
the kernel does when memory is short. Here each worker has a pipe of its own and one unit at a time,
so a lost worker costs one attempt at one unit.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import reduction, resource_tracker
from multiprocessing.connection import Connection, wait
from time import monotonic
from typing import Any, TypeVar

from vibrissa.core.errors import refuse
from vibrissa.data.executors import (
    Failure,
    FarmError,
    Outcome,
    Outcomes,
    Report,
    attempt,
    failure_of,
    outcome_of,
    pack_item,
    pack_work,
)

T = TypeVar("T")
R = TypeVar("R")
GRACE_S = 3.0
"""How long a worker that was told to leave may take before it is killed."""
LAST_WORDS = 4000
"""So many bytes of what a dead worker wrote last are kept."""
_CONTEXT = multiprocessing.get_context("spawn")
_READY = "ready"
_ONE_THREAD = {
    f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "BLIS")
} | {"VECLIB_MAXIMUM_THREADS": "1"}


@dataclass(frozen=True, kw_only=True)
class ProcessExecutor:
    """Run the units in worker processes of this machine.

    A worker computes with one numeric thread, and what it writes to stdout and stderr is dropped
    (the last of it is kept with the failure if the worker dies). Workers leave when this process
    ends, however it ends.

    Attributes:
        workers: how many processes.
        recycle_after: a worker is replaced after so many units, against leaks of memory.
        attempts: how often a unit is begun before it counts as deadly to its worker.
        warm: called once in each worker before its first unit, or None. The first worker has
            finished it before the others start, so that a cache which it fills is filled once.

    Raises:
        InputError: a number below one.
    """

    workers: int
    recycle_after: int = 200
    attempts: int = 3
    warm: Callable[[], object] | None = None

    def __post_init__(self) -> None:
        for name in ("workers", "recycle_after", "attempts"):
            if getattr(self, name) < 1:
                raise refuse(name, getattr(self, name), "is below one", "give 1 or more")

    def run(self, work: Callable[[T], R], items: Iterable[tuple[str, T]]) -> Outcomes[R]:
        """See :class:`vibrissa.data.executors.Executor`."""
        packed = pack_work(work)
        warm = None if self.warm is None else pack_work(self.warm)
        return self._run(packed, warm, iter(items))

    def _run(
        self, work: bytes, warm: bytes | None, items: Iterator[tuple[str, Any]]
    ) -> Outcomes[Any]:
        units = (_Unit(key, pack_item(item)) for key, item in items)
        crew: list[_Worker] = []  # each with a unit, begun or waiting for the worker to be ready
        leaving: list[_Worker] = []
        stillborn = 0  # workers in a row that ended before they were ready
        any_ready = warm is None

        def recruit(unit: _Unit) -> None:
            crew.append(worker := _Worker(unit))
            worker.start(work, warm)

        try:
            while True:
                while len(crew) < (self.workers if any_ready else 1):
                    if (unit := next(units, None)) is None:
                        break
                    recruit(unit)
                if not crew:
                    return
                leaving = [worker for worker in leaving if not worker.has_left()]
                for worker in _those_who_speak(crew):
                    said, unit, outcome = worker.hear(), worker.unit, None
                    if said == _READY:
                        stillborn, any_ready = 0, True
                        worker.begin()
                    elif isinstance(said, Failure):
                        raise FarmError(f"A worker process cannot get ready: {said.message}")
                    elif isinstance(said, tuple):
                        outcome = outcome_of(unit.key, said, unit.attempts)
                        following = next(units, None)
                        if following is not None and worker.begun < self.recycle_after:
                            worker.begin(following)
                        else:
                            crew.remove(worker)
                            leaving.append(worker)
                            worker.send_away()
                            if following is not None:
                                recruit(following)
                    else:  # it is dead
                        death, seconds = worker.bury(), worker.seconds()
                        crew.remove(worker)
                        stillborn += not worker.ready
                        if stillborn >= 3:
                            raise FarmError(_explain_stillborn(death))
                        if not worker.ready or unit.attempts < self.attempts:
                            recruit(unit)
                        else:
                            failure = _explain_death(death, unit.attempts)
                            outcome = Outcome(
                                key=unit.key,
                                failure=failure,
                                seconds=seconds,
                                attempts=unit.attempts,
                            )
                    if outcome is not None:
                        yield outcome
        finally:
            for worker in crew:
                worker.terminate()
            _see_off(crew + leaving)


@dataclass
class _Unit:
    key: str
    item: bytes
    attempts: int = 0


@dataclass(frozen=True)
class _Death:
    exit_code: int | None
    last_words: str


class _Worker:
    """A worker process as its parent sees it, with the one unit that it has to do."""

    def __init__(self, unit: _Unit) -> None:
        self.unit = unit
        self.ready = False
        self.begun = 0  # units
        self._began_s = self._leaves_by_s = monotonic()
        self._pipe, self._its_end = _CONTEXT.Pipe()
        # Opened here and removed from its folder at once: nothing can be left behind.
        self._output = tempfile.TemporaryFile()  # noqa: SIM115
        self._process: Any = None

    def start(self, work: bytes, warm: bytes | None) -> None:
        # The kernel ties a child to the thread that made it; that is of use for the main one alone.
        tied = threading.current_thread() is threading.main_thread()
        process = _CONTEXT.Process(
            target=_serve,
            args=(self._its_end, _Descriptor(self._output.fileno()), work, warm, tied),
            daemon=True,
        )
        with births():
            process.start()
            self._process = process
        self._its_end.close()

    def watched(self) -> tuple[Any, ...]:
        return self._pipe, self._process.sentinel

    def begin(self, unit: _Unit | None = None) -> None:
        self.unit = unit or self.unit
        self.ready = True
        self.begun += 1
        self.unit.attempts += 1
        self._began_s = monotonic()
        with suppress(OSError):  # it has died meanwhile, which will be heard
            self._pipe.send_bytes(self.unit.item)

    def seconds(self) -> float:
        return monotonic() - self._began_s

    def hear(self) -> Report | Failure | str | None:
        """What the worker says; None if it is dead. What it said before it died counts."""
        with suppress(EOFError, OSError):
            if self._pipe.poll():
                return self._pipe.recv()
        return None

    def bury(self) -> _Death:
        self._process.join(GRACE_S)
        exit_code = self._process.exitcode
        self._output.seek(max(0, self._output.seek(0, os.SEEK_END) - LAST_WORDS))
        last_words = self._output.read().decode(errors="replace").strip()
        self.end()
        return _Death(exit_code, last_words)

    def send_away(self) -> None:
        """No more units: it leaves by itself when it finds the pipe closed."""
        self._leaves_by_s = monotonic() + GRACE_S
        self._pipe.close()

    def has_left(self) -> bool:
        if self._process.is_alive() and monotonic() < self._leaves_by_s:
            return False
        self.end()
        return True

    def terminate(self) -> None:
        if self._process is not None:
            self._process.terminate()

    def wait_until(self, time_s: float) -> None:
        if self._process is not None:
            self._process.join(max(0.0, time_s - monotonic()))

    def end(self) -> None:
        """Leave nothing of it: no process, no zombie, no open file."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process.close()
            self._process = None
        self._pipe.close()
        self._its_end.close()
        self._output.close()


def _those_who_speak(crew: list[_Worker]) -> list[_Worker]:
    """Wait for the next workers that say something or die."""
    heard = wait([thing for worker in crew for thing in worker.watched()])
    return [worker for worker in crew if any(thing in heard for thing in worker.watched())]


def _see_off(workers: list[_Worker]) -> None:
    deadline_s = monotonic() + GRACE_S
    try:
        for worker in workers:
            worker.wait_until(deadline_s)
    finally:  # also when the user is impatient and interrupts a second time
        for worker in workers:
            worker.end()


def _explain_death(death: _Death, attempts: int) -> Failure:
    code = death.exit_code
    if code is None or code >= 0:
        how = f"ended with exit code {code}"
    else:
        try:
            how = f"was killed by {signal.Signals(-code).name}"
        except ValueError:
            how = f"was killed by signal {-code}"
    hint = "; out of memory?" if code == -signal.SIGKILL else ""
    return Failure(
        kind="died",
        message=f"the worker process {how} (attempt {attempts} of {attempts}{hint})",
        traceback=death.last_words,
    )


def _explain_stillborn(death: _Death) -> str:
    how = _explain_death(death, 1).message.split(" (")[0]
    said = death.last_words.splitlines()[-1:]
    return (
        f"Worker processes cannot start: {how} before its first unit"
        f"{': ' + said[0] if said else ''}; in a script of your own, call this under "
        'if __name__ == "__main__":, or use workers = 0.'
    )


# What a new process inherits.


@contextmanager
def births() -> Iterator[None]:
    """Processes that start herein have one numeric thread and SIGINT held back.

    Both must hold from their first instruction on: numpy may be imported with the main module, and
    a Ctrl-C that reaches a half-started interpreter prints a traceback.
    """
    if os.name != "posix":
        yield
        return
    resource_tracker.ensure_running()  # it would let SIGINT in again if it started below
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    os.environ.update(_ONE_THREAD)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        signal.pthread_sigmask(signal.SIG_SETMASK, held)


class _Descriptor:
    """A file descriptor that goes with a starting process."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __reduce__(self) -> tuple[Any, ...]:
        return _adopt, (reduction.DupFd(self._number),)


def _adopt(duplicate: Any) -> int:
    return duplicate.detach()


# In the worker process.


class _Leave(BaseException):
    """Raised by SIGTERM, so that ``finally`` blocks run and temporary files are removed."""


def _serve(pipe: Connection, output: Any, work: bytes, warm: bytes | None, tied: bool) -> None:
    """The life of a worker."""
    try:
        signal.signal(signal.SIGTERM, _leave)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _end_with_parent(tied)
        os.dup2(output, 1)
        os.dup2(output, 2)
        faulthandler.enable()
        if warm is not None:
            try:
                pickle.loads(warm)()
            except Exception as error:
                pipe.send(failure_of(error))
                return
        pipe.send(_READY)
        while True:
            item = pipe.recv_bytes()
            _forget_output(output)
            pipe.send(attempt(work, item))
    except (_Leave, EOFError, OSError):  # told to go, or the parent is gone
        return


def _leave(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
    raise _Leave


def _forget_output(output: int) -> None:
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    os.ftruncate(output, 0)
    os.lseek(output, 0, os.SEEK_SET)


def _end_with_parent(tied: bool) -> None:
    """Let nothing outlive the parent, even if it is killed while this worker computes."""
    if tied and sys.platform == "linux":  # works even inside native code that never lets go
        import ctypes

        with suppress(OSError, AttributeError):
            set_death_signal = 1
            ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL, 0, 0, 0)
    parent = multiprocessing.parent_process()
    if parent is None or os.getppid() != parent.pid:  # it died before the kernel was asked
        os._exit(1)

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
