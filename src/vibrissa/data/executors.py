"""Executors: run many independent units of work here, in processes, or on a cluster.

A unit is a key and an item; the work turns the item into a result. A unit must be idempotent (it
writes what it makes atomically), because it is repeated whenever its worker is lost. Outcomes come
in order of completion. Items are taken only as fast as they are worked on, so any number of them
needs the same memory.
"""

from __future__ import annotations

import os
import pickle
import re
import traceback
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from functools import lru_cache
from time import perf_counter
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeAlias, TypeVar

from vibrissa.core.errors import InputError, VibrissaError, refuse, refuse_unknown

if TYPE_CHECKING:
    from vibrissa.data.executors_dask import SlurmJobs

T = TypeVar("T")
R = TypeVar("R")
MESSAGE_LENGTH = 500
"""Longer messages are cut; the traceback keeps the whole text."""


class FarmError(VibrissaError):
    """The machinery that runs the units failed: no unit is to blame, and none is lost."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a unit has no result.

    Attributes:
        kind: ``refused`` when the work raised an InputError, ``error`` for any other exception,
            ``died`` when the worker process was lost in each attempt.
        message: one line.
        traceback: where it happened, or the last words of a worker that died; may be empty.
    """

    kind: Literal["refused", "error", "died"]
    message: str
    traceback: str = ""


@dataclass(frozen=True, kw_only=True)
class Outcome(Generic[R]):
    """What became of one unit.

    Attributes:
        key: the unit's.
        result: what the work returned; None if it failed.
        failure: why there is no result, or None.
        seconds: the time that the last attempt took at its worker.
        attempts: how often the unit was begun, as far as known.
    """

    key: str
    result: R | None = None
    failure: Failure | None = None
    seconds: float = 0.0
    attempts: int = 1


Outcomes: TypeAlias = Generator[Outcome[R], None, None]
"""Outcomes one by one; closing it stops the work."""


class Executor(Protocol):
    """Anything that runs units of work."""

    @property
    def workers(self) -> int:
        """How many units are worked on at a time (1 when in this process)."""
        ...

    def run(
        self, work: Callable[[T], R], items: Iterable[tuple[str, T]]
    ) -> Generator[Outcome[R], None, None]:
        """Run the work on every item; close the iterator to stop early.

        Args:
            work: called with one item. For processes and clusters it must be importable there: a
                function of a module or an instance of its class, not a lambda.
            items: keys and items, taken lazily.

        Yields:
            One outcome per item, in order of completion. A unit that fails stops no other.

        Raises:
            InputError: the work cannot be sent to another process.
            FarmError: workers cannot start, or the scheduler was lost.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class SerialExecutor:
    """Run the units one after another in this process."""

    @property
    def workers(self) -> int:
        return 1

    def run(
        self, work: Callable[[T], R], items: Iterable[tuple[str, T]]
    ) -> Generator[Outcome[R], None, None]:
        for key, item in items:
            began = perf_counter()
            result, failure = None, None
            try:
                result = work(item)
            except Exception as error:
                failure = failure_of(error)
            seconds = perf_counter() - began
            yield Outcome(key=key, result=result, failure=failure, seconds=seconds)


def make_executor(
    scheduler: str | None = None,
    workers: int = 0,
    *,
    attempts: int = 3,
    recycle_after: int = 200,
    warm: Callable[[], object] | None = None,
    slurm: SlurmJobs | None = None,
) -> Executor:
    """The executor that a command line means.

    Args:
        scheduler: None or ``processes`` for processes of this machine (``serial``, or no workers:
            in this process); ``local`` for a Dask cluster on this machine; ``slurm`` for Dask
            workers as SLURM jobs; else the address of a Dask scheduler, ``host:port``.
        workers: how many processes or jobs; 0 means serial. A scheduler given by its address
            has its own workers.
        attempts: how often a unit may lose its worker before it counts as failed.
        recycle_after: replace a worker process after so many units (processes only).
        warm: called once in each worker process before its first unit (processes only); the
            first worker has finished it before the others start.
        slurm: the jobs to submit.

    Raises:
        InputError: no such scheduler, or no workers for one that needs them.
    """
    if workers < 0:
        raise refuse("workers", workers, "is negative", "give 0 (this process only) or more")
    if scheduler == "serial" or (scheduler in (None, "processes") and workers == 0):
        return SerialExecutor()
    if scheduler in (None, "processes"):
        from vibrissa.data.executors_processes import ProcessExecutor

        return ProcessExecutor(
            workers=workers, attempts=attempts, recycle_after=recycle_after, warm=warm
        )
    from vibrissa.data.executors_dask import DaskExecutor, SlurmJobs

    if scheduler not in ("local", "slurm") and not re.search(r":\d+$", scheduler):
        known = ("serial", "processes", "local", "slurm", "HOST:PORT of a Dask scheduler")
        raise refuse_unknown("scheduler", scheduler, known)
    return DaskExecutor(
        scheduler=scheduler, workers=workers, attempts=attempts, slurm=slurm or SlurmJobs()
    )


def default_workers() -> int:
    """How many cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on this platform
        return os.cpu_count() or 1


# What the executors share. Only bytes and plain text pass between processes: an exception, an item
# or a result that cannot be pickled is then the matter of its own unit and of nobody else.

Report = tuple[bytes | None, Failure | None, float]
"""The pickled result, the failure, and the seconds of one attempt."""


def failure_of(error: BaseException) -> Failure:
    """Describe an exception that is being handled."""
    text = "".join(traceback.format_exception(error))
    if isinstance(error, InputError):
        return Failure(kind="refused", message=one_line(error), traceback=text)
    message = f"{type(error).__name__}: {one_line(error)}".rstrip(": ")
    return Failure(kind="error", message=message, traceback=text)


def one_line(error: BaseException) -> str:
    """The text of an exception on one line, cut when it is very long."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # its own __str__ is broken
        return "(no text)"
    return text if len(text) <= MESSAGE_LENGTH else text[: MESSAGE_LENGTH - 3] + "..."


def pack_work(work: Callable[..., Any], dumps: Callable[[object], bytes] = pickle.dumps) -> bytes:
    """Pickle the work, or refuse it."""
    try:
        return dumps(work)
    except Exception as error:
        raise refuse(
            "work",
            work,
            f"cannot be sent to another process ({one_line(error)})",
            "give a function of a module, or run with workers = 0",
        ) from error


def pack_item(item: object) -> bytes:
    """Pickle an item; one that cannot be pickled is replaced by the error that its unit raises."""
    try:
        return pickle.dumps(item)
    except Exception as error:
        return pickle.dumps(_Unsendable(f"the item cannot be sent: {one_line(error)}"))


@dataclass(frozen=True)
class _Unsendable:
    reason: str


@lru_cache(maxsize=1)
def _unpack_work(work: bytes) -> Callable[[Any], Any]:
    """The work, loaded once per worker, so that what it keeps with itself is kept."""
    return pickle.loads(work)


def attempt(work: bytes, item: bytes) -> Report:
    """Run one unit at a worker; never raises an ordinary exception."""
    began = perf_counter()
    result, failure = None, None
    try:
        unpacked = pickle.loads(item)
        if isinstance(unpacked, _Unsendable):
            raise TypeError(unpacked.reason)
        value = _unpack_work(work)(unpacked)
        try:
            result = pickle.dumps(value)
        except Exception as error:
            raise TypeError(f"the result cannot be sent back: {one_line(error)}") from error
    except (Exception, SystemExit) as error:  # code that calls sys.exit must not end the worker
        failure = failure_of(error)
    return result, failure, perf_counter() - began


def outcome_of(key: str, report: Report, attempts: int) -> Outcome[Any]:
    """Turn the report of an attempt into the outcome of its unit."""
    packed, failure, seconds = report
    result = None
    if packed is not None:
        try:
            result = pickle.loads(packed)
        except Exception as error:
            failure = failure_of(error)
    return Outcome(key=key, result=result, failure=failure, seconds=seconds, attempts=attempts)
