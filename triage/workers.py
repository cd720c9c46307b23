"""Many cores at once: the pipeline behind a `concurrent.futures.Executor`, on this machine or a cluster.

Each worker is a process (on a Dask cluster: a worker's thread) with a pipeline and GDBs of its own,
kept from core to core. A worker that dies takes one core with it, never the run.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import CancelledError, Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.util import Finalize
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triage.config import Settings
from triage.corefile.sources import Trust
from triage.errors import EnvironmentLacks
from triage.gdb.locate import Gdb
from triage.model import Failure, Outcome, Status

if TYPE_CHECKING:
    from triage.pipeline import Pipeline

_SETTLED = 20  # cores after which a worker has learned most of what it will
_AHEAD = 8  # inputs handed out per worker before their results are asked for
_TASKS = 1000  # cores until a worker process is replaced
_MOST_MEMORY = 400 << 20
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Job:
    """What every worker of one run is told."""

    settings: Settings
    gdb: Gdb
    trust: Trust | None


@dataclass(frozen=True, slots=True)
class Done:
    """One input's outcome, and by which lane its native frames came."""

    outcome: Outcome
    lanes: Counter[str]


class _Kept(threading.local):
    """The pipeline of this worker, and the job it was made for."""

    job: Job | None = None
    pipeline: Pipeline | None = None
    served: int = 0


_KEPT = _Kept()


def triage_one(job: Job, path: Path) -> Done:
    """Triage one core in this worker; its pipeline is made at first and kept for the next core."""
    pipeline = _pipeline(job)
    before = Counter(pipeline.lanes)
    outcome = pipeline.triage(path, job.trust)
    _KEPT.served += 1
    if _KEPT.served == _SETTLED:
        gc.freeze()  # what was learned stays: looking through it for garbage costs a tenth of all time
    after = Counter(pipeline.lanes)
    after.subtract(before)
    if _memory() > _MOST_MEMORY:
        release()
    return Done(outcome, +after)


def _pipeline(job: Job) -> Pipeline:
    from triage.pipeline import Pipeline  # who only hands out work need not load what does it

    if _KEPT.pipeline is None or _KEPT.job != job:
        release()
        _KEPT.pipeline, _KEPT.job = Pipeline(job.settings, job.gdb), job
        # A worker process ends without Python's usual way out; this is called all the same.
        Finalize(None, release, exitpriority=10)
    return _KEPT.pipeline


def release() -> None:
    """End this worker's GDBs and forget what it learned; the next core begins afresh."""
    pipeline, _KEPT.pipeline, _KEPT.job, _KEPT.served = _KEPT.pipeline, None, None, 0
    gc.unfreeze()
    if pipeline is not None:
        pipeline.close()


def _memory() -> int:
    """Bytes of this process that are in memory and its own (maps of files do not count)."""
    fields = Path("/proc/self/statm").read_text().split()
    return (int(fields[1]) - int(fields[2])) * _PAGE


@contextmanager
def processes(count: int) -> Iterator[Executor]:
    """An executor of that many processes on this machine."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["triage.workers", "triage.pipeline"])
    executor = ProcessPoolExecutor(count, context, initializer=_begin, max_tasks_per_child=_TASKS)
    try:
        yield executor
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _begin() -> None:
    """An interrupt from the keyboard reaches every process: the run ends us, in its own way."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def cluster(address: str) -> Iterator[Executor]:
    """An executor on the Dask cluster whose scheduler is at `address` (`tcp://HOST:PORT`).

    Raises:
        EnvironmentLacks: the library is not installed, or nobody answers there.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise EnvironmentLacks(
            "a Dask cluster was asked for, but dask.distributed is not installed",
            help="pip install 'triage[dask]', in the same version as on the cluster.",
        ) from error
    try:
        client = Client(address, timeout=10, set_as_default=False)
    except (OSError, ValueError) as error:
        raise EnvironmentLacks(
            f"no Dask scheduler answers at {address}: {error}", help="Start one with: dask scheduler"
        ) from error
    try:
        yield client.get_executor(pure=False)
        client.run(release, on_error="ignore")
    finally:
        client.close()


def triage_all(executor: Executor, job: Job, paths: Iterable[Path], workers: int) -> Generator[Done, None, None]:
    """Triage the inputs, a few handed out ahead; results come in the order of the inputs.

    An input whose worker dies gives a failure with the code `worker-died`. The executor is not
    used again after a process of it has died: the rest is done one by one, each in its own.
    """
    waiting: deque[tuple[Path, Future[Done]]] = deque()
    for path in paths:
        waiting.append((path, _submit(executor, job, path)))
        if len(waiting) >= workers * _AHEAD:
            yield _result(job, *waiting.popleft())
    while waiting:
        yield _result(job, *waiting.popleft())


def _submit(executor: Executor, job: Job, path: Path) -> Future[Done]:
    try:
        return executor.submit(triage_one, job, path)
    except BrokenProcessPool as error:
        failed: Future[Done] = Future()
        failed.set_exception(error)
        return failed
    except OSError as error:  # the socket they are started through lies below TMPDIR, whose path may be too long
        raise EnvironmentLacks(
            f"no worker process can be started: {error}", help="Set TMPDIR to a shorter path, or use --jobs 1."
        ) from error


def _result(job: Job, path: Path, future: Future[Done]) -> Done:
    try:
        return future.result()
    except BrokenProcessPool:
        return _alone(job, path)  # this input may have been innocent
    except CancelledError:
        raise
    except Exception as error:  # noqa: BLE001 — the one net round a worker: whatever ends it, the run goes on
        return _lost(path, f"{type(error).__name__}: {error}")


def _alone(job: Job, path: Path) -> Done:
    """Once more, in a process for this input only."""
    try:
        with processes(1) as executor:
            return executor.submit(triage_one, job, path).result()
    except BrokenProcessPool:
        return _lost(path, "its process was killed, perhaps for want of memory")


def _lost(path: Path, why: str) -> Done:
    message = f"the worker that triaged it died ({why})"
    failure = Failure(code="worker-died", message=message)
    return Done(Outcome(core=str(path), status=Status.ERROR, failure=failure), Counter())


def worker_count(jobs: int | None, inputs: int) -> int:
    """How many processes to use: as told, else one for every 50 inputs, at most one a processor."""
    if jobs is not None:
        return jobs
    usable: Any = getattr(os, "sched_getaffinity", None)
    processors = len(usable(0)) if usable is not None else os.cpu_count() or 1
    return max(1, min(processors, inputs // 50))
