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
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import CancelledError, Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.util import Finalize
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triage.config import Settings
from triage.corefile.sources import Trust
from triage.errors import EnvironmentLacks
from triage.filing import Filed, filed
from triage.gdb.locate import Gdb
from triage.model import Failure, Status

if TYPE_CHECKING:
    from triage.pipeline import Pipeline

_SETTLED = 20  # cores after which a worker has learned most of what it will
_AHEAD = 8  # inputs handed out per worker before their results are asked for
_TOGETHER = 8  # inputs handed out as one, at most: each hand-over costs as much as a tenth of a core
_LARGE = 64 << 20  # bytes of cores from which on one is handed out by itself
_ROUNDS = 16  # each worker is to come back so often: none is left waiting for another's last ones
_TASKS = 250  # hand-overs until a worker process is replaced
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
    """One input's outcome, ready to be stored, and by which lane its native frames came."""

    outcome: Filed
    lanes: Counter[str]


class _Kept(threading.local):
    """The pipeline of this worker, and the job it was made for."""

    job: Job | None = None
    pipeline: Pipeline | None = None
    served: int = 0


_KEPT = _Kept()


def triage_some(job: Job, paths: Sequence[Path]) -> list[Done]:
    """Triage cores one after another in this worker."""
    return [triage_one(job, path) for path in paths]


def triage_one(job: Job, path: Path) -> Done:
    """Triage one core in this worker; its pipeline is made at first and kept for the next core."""
    pipeline = _pipeline(job)
    before = Counter(pipeline.lanes)
    outcome = filed(pipeline.triage(path, job.trust))
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
    descriptor = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    try:
        fields = os.read(descriptor, 256).split()
    finally:
        os.close(descriptor)
    return (int(fields[1]) - int(fields[2])) * _PAGE


def prepare() -> None:
    """Start the process that processes come from, if it does not run: it loads our code while we go on."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(["triage.workers", "triage.pipeline"])
    with suppress(OSError):  # it is started once more with the first of them, and that is what tells
        forkserver.ensure_running()


@contextmanager
def processes(count: int) -> Iterator[Executor]:
    """An executor of that many processes on this machine."""
    prepare()
    context = multiprocessing.get_context("forkserver")
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


def triage_all(
    executor: Executor, job: Job, paths: Sequence[Path], workers: int
) -> Generator[list[Done], None, None]:
    """Triage the inputs, a few handed out ahead; results come in the order of the inputs, as they were handed out.

    An input whose worker dies gives a failure with the code `worker-died`. The executor is not
    used again after a process of it has died: the rest is done in one process at a time.
    """
    waiting: deque[tuple[Sequence[Path], Future[list[Done]]]] = deque()
    ahead = 0
    for group in groups(paths, workers):
        waiting.append((group, _submit(executor, job, group)))
        ahead += len(group)
        if ahead >= workers * _AHEAD and len(waiting) > workers * 2:
            ahead -= len(waiting[0][0])
            yield _result(job, *waiting.popleft())
    while waiting:
        yield _result(job, *waiting.popleft())


def groups(paths: Sequence[Path], workers: int) -> Iterator[Sequence[Path]]:
    """The inputs as they are handed out: one by one if they are few or large, else some at a time."""
    most = max(1, min(_TOGETHER, len(paths) // (workers * _ROUNDS)))
    group: list[Path] = []
    together = 0
    for path in paths:
        size = _size(path)
        if group and (len(group) == most or together + size > _LARGE):
            yield group
            group, together = [], 0
        group.append(path)
        together += size
    if group:
        yield group


def _size(path: Path) -> int:
    """Bytes of an input; one that cannot be looked at is the pipeline's to explain."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _submit(executor: Executor, job: Job, paths: Sequence[Path]) -> Future[list[Done]]:
    try:
        return executor.submit(triage_some, job, paths)
    except BrokenProcessPool as error:
        failed: Future[list[Done]] = Future()
        failed.set_exception(error)
        return failed
    except OSError as error:  # the socket they are started through lies below TMPDIR, whose path may be too long
        raise EnvironmentLacks(
            f"no worker process can be started: {error}", help="Set TMPDIR to a shorter path, or use --jobs 1."
        ) from error


def _result(job: Job, paths: Sequence[Path], future: Future[list[Done]]) -> list[Done]:
    try:
        return future.result()
    except BrokenProcessPool:
        return _again(job, paths)  # these inputs may have been innocent
    except CancelledError:
        raise
    except Exception as error:  # noqa: BLE001 — the one net round a worker: whatever ends it, the run goes on
        if len(paths) > 1:
            return _again(job, paths)
        return [_lost(paths[0], f"{type(error).__name__}: {error}")]


def _again(job: Job, paths: Sequence[Path]) -> list[Done]:
    """Once more, one by one, in a process for these inputs only; it is begun anew after one that it died of."""
    found: list[Done] = []
    while len(found) < len(paths):
        with processes(1) as executor:
            for path in paths[len(found) :]:
                try:
                    found.append(executor.submit(triage_one, job, path).result())
                except BrokenProcessPool:
                    found.append(_lost(path, "its process was killed, perhaps for want of memory"))
                    break
                except Exception as error:  # noqa: BLE001 — as above
                    found.append(_lost(path, f"{type(error).__name__}: {error}"))
    return found


def _lost(path: Path, why: str) -> Done:
    message = f"the worker that triaged it died ({why})"
    failure = Failure(code="worker-died", message=message)
    return Done(Filed(core=str(path), status=Status.ERROR, failure=failure), Counter())


def worker_count(jobs: int | None, inputs: int) -> int:
    """How many processes to use: as told, else one for every 50 inputs, at most one a processor."""
    if jobs is not None:
        return jobs
    usable: Any = getattr(os, "sched_getaffinity", None)
    processors = len(usable(0)) if usable is not None else os.cpu_count() or 1
    return max(1, min(processors, inputs // 50))
