"""Units of work on Dask: a cluster on this machine, a given scheduler, or SLURM jobs.

What Dask repeats and what not: a unit whose worker is lost is begun again elsewhere. Dask blames
each unit that was assigned to a lost worker, also those that only waited there; hence a unit that
is said to kill its workers is tried once more by itself before it counts as failed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from vibrissa.core.errors import InputError, VibrissaError, refuse, require_extra
from vibrissa.data.executors import (
    Failure,
    FarmError,
    Outcome,
    Outcomes,
    attempt,
    failure_of,
    one_line,
    outcome_of,
    pack_item,
    pack_work,
)
from vibrissa.data.executors_processes import births

if TYPE_CHECKING:
    from distributed import Client, Future

T = TypeVar("T")
R = TypeVar("R")
CONNECT_S = 20
"""So long a scheduler may take to answer."""
CLOSE_S = 5
AHEAD = 2
"""Units in flight per worker: one at work and one waiting for it."""
SUSPECTS = 8
"""At most so many units are given a trial by themselves; more deaths are no accident."""
POLL_S = 0.005
LOOK_S = 2.0
"""So often the workers are counted."""
MEND_S = 5.0
"""So often at most our own cluster is brought back to its size."""
LONELY_S = 60.0
"""So long without any worker is worth a remark."""
_QUIET = "127.0.0.1:0"  # the status page of Dask listens here and nowhere else
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SlurmJobs:
    """The SLURM jobs, each one worker with one core.

    What is left None comes from the user's own Dask configuration (``jobqueue.slurm`` in
    ``~/.config/dask/jobqueue.yaml``), which also holds what is not offered here (network interface,
    prologue of the job script, Python to use).

    Attributes:
        memory: per job, for instance ``"4GB"``, the default if the configuration has none.
        walltime: per job, ``"HH:MM:SS"``. Jobs that end are replaced as long as units are left.
        queue: the partition.
        account: whom to charge.
        directives: further ``#SBATCH`` lines without that word, for instance ``"--qos=low"``.
        log_directory: where the jobs write what they print.
    """

    memory: str | None = None
    walltime: str | None = None
    queue: str | None = None
    account: str | None = None
    directives: tuple[str, ...] = ()
    log_directory: str | None = None


@dataclass(frozen=True, kw_only=True)
class DaskExecutor:
    """Run the units on Dask workers.

    Dask does not count units, so workers are recycled by time (``lifetime_minutes``). A unit that
    is under way when its worker's time is over is begun again. Units run in a thread of their
    worker; a given scheduler's workers should have one thread each.

    Attributes:
        scheduler: ``local``, ``slurm`` or the address of a scheduler that is running.
        workers: processes or jobs to start; a given scheduler has its own.
        attempts: how often a unit may lose its worker (a given scheduler has its own limit:
            ``distributed.scheduler.allowed-failures``).
        lifetime_minutes: workers of ``local`` and ``slurm`` are restarted after about this time;
            None for never.
        slurm: the jobs to submit.

    Raises:
        InputError: a number out of range.
    """

    scheduler: str = "local"
    workers: int = 0
    attempts: int = 3
    lifetime_minutes: float | None = None
    slurm: SlurmJobs = field(default_factory=SlurmJobs)

    def __post_init__(self) -> None:
        if self.workers < 1 and self.scheduler in ("local", "slurm"):
            remedy = f"give 1 or more for scheduler = {self.scheduler!r}"
            raise refuse("workers", self.workers, "is below one", remedy)
        if self.attempts < 1:
            raise refuse("attempts", self.attempts, "is below one", "give 1 or more")
        if self.lifetime_minutes is not None and not self.lifetime_minutes > 0:
            reason = "is not a positive time"
            raise refuse("lifetime_minutes", self.lifetime_minutes, reason, "leave it out")

    def run(self, work: Callable[[T], R], items: Iterable[tuple[str, T]]) -> Outcomes[R]:
        """See :class:`vibrissa.data.executors.Executor`.

        Raises:
            MissingExtraError: Dask is not installed.
        """
        purpose = f"scheduler = {self.scheduler!r}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Dask about itself
            require_extra("distributed", "scale", purpose)
            if self.scheduler == "slurm":
                require_extra("dask_jobqueue", "scale", purpose)
        import cloudpickle  # sends what is defined in a script, too

        return self._run(pack_work(work, cloudpickle.dumps), iter(items))

    def _run(self, work: bytes, items: Iterator[tuple[str, Any]]) -> Outcomes[Any]:
        from distributed import as_completed

        suspects: list[_Flight] = []
        with self._connected() as (client, cluster):
            window = _Window(client, cluster, self.workers)
            flights: dict[Future, _Flight] = {}
            finished = as_completed(loop=client.loop)

            def send(flight: _Flight) -> None:
                future = client.submit(attempt, work, flight.item, pure=False)
                flights[future] = flight
                finished.add(future)

            more = True
            while True:
                while more and len(flights) < window.size():
                    if (unit := next(items, None)) is None:
                        more = False
                    else:
                        send(_Flight(unit[0], pack_item(unit[1])))
                if not flights and suspects:
                    send(suspects.pop())  # by itself, so that the blame is certain
                if not flights:
                    return
                while not finished.has_ready():
                    window.size()
                    time.sleep(POLL_S)
                future = next(finished)
                flight = flights.pop(future)
                outcome = self._outcome(future, flight)
                future.release()
                died = outcome.failure is not None and outcome.failure.kind == "died"
                if died and not flight.suspected and len(suspects) < SUSPECTS:
                    flight.suspected, flight.attempts = True, outcome.attempts
                    suspects.append(flight)
                else:
                    yield outcome

    def _outcome(self, future: Future, flight: _Flight) -> Outcome[Any]:
        from distributed import CancelledError, KilledWorker

        # A result that is lost with its worker is computed again meanwhile; that is waited for.
        # A future of a lost scheduler ends as cancelled, and looks done to all who do not ask.
        try:
            if future.cancelled():
                raise _lost(self.scheduler)
            return outcome_of(flight.key, future.result(), flight.attempts + 1)
        except (CancelledError, asyncio.CancelledError, OSError) as error:
            raise _lost(self.scheduler) from error
        except KilledWorker as error:
            attempts = error.allowed_failures + 1 + flight.attempts
            message = (
                f"the worker process was lost (attempt {attempts} of {attempts}; out of memory?)"
            )
            failure = Failure(kind="died", message=message, traceback=str(error))
            return Outcome(key=flight.key, failure=failure, attempts=attempts)
        except FarmError:
            raise
        except Exception as error:  # the unit itself raises none: the worker cannot load it
            return Outcome(key=flight.key, failure=failure_of(error))

    @contextmanager
    def _connected(self) -> Iterator[tuple[Client, Any]]:
        """A client of the cluster; a cluster of our own is started before and ended after."""
        from dask import config
        from distributed import Client

        with ExitStack() as ends:
            ends.enter_context(_quiet())
            ends.enter_context(config.set(self._settings()))
            target: Any = self.scheduler
            try:
                if self.scheduler in ("local", "slurm"):
                    start = self._start_local if self.scheduler == "local" else self._start_slurm
                    with births():  # its threads and processes take no notice of Ctrl-C
                        target = start()
                    ends.callback(_close, target)
                client = Client(target, timeout=CONNECT_S, set_as_default=False)
            except VibrissaError:
                raise
            except Exception as error:
                raise self._cannot_start(error) from error
            ends.callback(_close, client)
            yield client, None if target is self.scheduler else target

    def _cannot_start(self, error: Exception) -> VibrissaError:
        if self.scheduler not in ("local", "slurm"):
            return InputError(
                f"scheduler = {self.scheduler!r}: no Dask scheduler answers there "
                f"({one_line(error)}); start one with: dask scheduler."
            )
        advice = {
            "local": 'in a script of your own, call this under if __name__ == "__main__":',
            "slurm": "check the SLURM options and ~/.config/dask/jobqueue.yaml",
        }[self.scheduler]
        return FarmError(
            f"The Dask cluster (scheduler = {self.scheduler!r}) cannot start: "
            f"{type(error).__name__}: {one_line(error)}; {advice}."
        )

    def _settings(self) -> dict[str, Any]:
        """Dask's configuration while we use it; our own clusters pass it on to their workers."""
        settings = {
            "distributed.comm.timeouts.connect": f"{CONNECT_S}s",
            "distributed.comm.timeouts.tcp": f"{CONNECT_S}s",
            "distributed.scheduler.allowed-failures": self.attempts - 1,
            "distributed.scheduler.worker-saturation": 1.0,
            "distributed.admin.tick.limit": "1h",  # no warnings about long units
        }
        # A worker whose memory grew would be paused and never woken. Let the system judge.
        return settings | {
            f"distributed.worker.memory.{what}": False
            for what in ("target", "spill", "pause", "terminate")
        }

    def _start_local(self) -> Any:
        from distributed import LocalCluster

        lifetime = {}
        if self.lifetime_minutes is not None:
            lifetime = {
                "lifetime": f"{self.lifetime_minutes * 60} seconds",
                "lifetime_stagger": f"{self.lifetime_minutes * 6} seconds",
                "lifetime_restart": True,
            }
        return LocalCluster(
            n_workers=self.workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=_QUIET,
            worker_dashboard_address=_QUIET,
            memory_limit=0,
            silence_logs=logging.CRITICAL,
            **lifetime,
        )

    def _start_slurm(self) -> Any:
        from dask import config
        from dask_jobqueue.slurm import SLURMCluster

        def configured(name: str) -> Any:
            return config.get(f"jobqueue.slurm.{name}", None)

        jobs = self.slurm
        arguments = ["--dashboard-address", _QUIET]
        if self.lifetime_minutes is not None:
            seconds = self.lifetime_minutes * 60
            arguments += ["--lifetime", f"{seconds}s", "--lifetime-stagger", f"{seconds / 10}s"]
            arguments += ["--lifetime-restart"]
        memory_rules = [
            f"export DASK_DISTRIBUTED__WORKER__MEMORY__{what}=False"
            for what in ("TARGET", "SPILL", "PAUSE", "TERMINATE")
        ]
        options = {
            name: value
            for name in ("walltime", "queue", "account", "log_directory")
            if (value := getattr(jobs, name)) is not None
        }
        cluster = SLURMCluster(
            cores=1,
            processes=1,
            memory=jobs.memory or configured("memory") or "4GB",
            worker_extra_args=[*(configured("worker-extra-args") or ()), *arguments],
            job_script_prologue=[*(configured("job-script-prologue") or ()), *memory_rules],
            job_extra_directives=[*(configured("job-extra-directives") or ()), *jobs.directives],
            scheduler_options={
                "dashboard_address": _QUIET,
                **(configured("scheduler-options") or {}),
            },
            silence_logs="critical",
            **options,
        )

        async def submit() -> None:
            cluster.scale(self.workers)
            await cluster._correct_state()  # else nobody hears that sbatch refused

        try:
            cluster.sync(submit)
        except BaseException:
            _forget_failed_jobs(cluster)
            _close(cluster)
            raise
        return cluster


@dataclass(eq=False)
class _Flight:
    """A unit in flight."""

    key: str
    item: bytes
    attempts: int = 0  # in the past
    suspected: bool = False


class _Window:
    """How many units may be in flight: it follows the number of workers."""

    def __init__(self, client: Client, cluster: Any, asked: int) -> None:
        self._client = client
        self._cluster = cluster  # if it is our own
        self._asked = asked
        self._threads = 0
        self._looked_s = float("-inf")
        self._alone_since_s = self._mended_s = time.monotonic()

    def size(self) -> int:
        now_s = time.monotonic()
        if now_s > self._looked_s + LOOK_S:
            self._looked_s = now_s
            with suppress(Exception):  # if the scheduler is lost, the futures will say so
                self._look()
            if self._threads:
                self._alone_since_s = now_s
            elif now_s > self._alone_since_s + LONELY_S:
                self._alone_since_s = now_s
                _log.warning("The Dask scheduler has no workers; still waiting for them.")
        return AHEAD * max(1, self._asked, self._threads)

    def _look(self) -> None:
        threads: Any = self._client.nthreads()
        self._threads = sum(threads.values())
        late = time.monotonic() > self._mended_s + MEND_S
        if self._cluster is not None and self._threads < self._asked and late:
            # Starts again what has left for good: SLURM jobs at their walltime, or workers that
            # died in the moment of their start, which their nanny overlooks.
            self._mended_s = time.monotonic()
            _forget_failed_jobs(self._cluster)
            self._cluster.scale(self._asked)


def _forget_failed_jobs(cluster: Any) -> None:
    """A job that could not be submitted has no number; it may be submitted again."""
    from distributed import Status

    for name, job in list(cluster.workers.items()):
        if getattr(job, "job_id", "") is None:
            job.status = Status.failed
            del cluster.workers[name]


def _lost(scheduler: str) -> FarmError:
    return FarmError(
        f"The Dask scheduler at {scheduler} was lost; run the same command again to go on."
    )


def _close(client_or_cluster: Any) -> None:
    with suppress(Exception):
        client_or_cluster.close(timeout=CLOSE_S)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask's remarks on lost workers and closed connections off stderr, here and there."""
    loggers = [logging.getLogger(name) for name in ("distributed", "tornado", "asyncio")]
    handlers = [handler for logger in loggers for handler in logger.handlers]
    before = [(thing, thing.level) for thing in (*loggers, *handlers)]
    inherited = "DASK_LOGGING__DISTRIBUTED"  # by the worker processes, also by later ones
    own = inherited not in os.environ
    try:
        for thing, _ in before:
            thing.setLevel(logging.CRITICAL)
        if own:
            os.environ[inherited] = "critical"
        yield
    finally:
        if own:
            os.environ.pop(inherited, None)
        for thing, level in before:
            thing.setLevel(level)
