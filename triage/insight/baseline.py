"""Snapshots of healthy workers: read out of the running processes, which are neither stopped nor dumped."""

from __future__ import annotations

import platform
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from triage import clock
from triage.corefile.live import open_live
from triage.errors import InputError
from triage.insight.correlate.units import library
from triage.model import Runtime, Snapshot
from triage.runtimes.php import PhpProcess, detect
from triage.symbols import Finder

_POOL = re.compile(r"php-fpm: pool (\S+)")
_SERVERS = ("apache2", "httpd", "frankenphp", "php-cgi", "lsphp")
_AGAIN = 0.2
_READ = 6
"""Workers of a pool are forks of one process: a few are read, the others only counted."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What one round gave: snapshots, and a sentence for each worker that could not be read."""

    snapshots: tuple[Snapshot, ...]
    failures: tuple[str, ...] = ()


@dataclass(slots=True)
class _Pool:
    """The workers of one pool, found by their titles."""

    name: str
    workers: list[int] = field(default_factory=list)


def take(proc: Path = Path("/proc")) -> Taken:
    """Read a few workers of each pool that runs here. Does not raise for a worker that ends meanwhile."""
    finder = Finder()
    found: list[Snapshot] = []
    failures: list[str] = []
    for pool in _pools(proc):
        read: list[Snapshot] = []
        for pid in pool.workers[:_READ]:
            try:
                read.append(_surely(pid, finder))
            except InputError as error:
                if error.code != "gone":
                    failures.append(f"{pool.name}: {error.message}" + (f". {error.help}" if error.help else ""))
        found += _together(read, len(pool.workers))
    return Taken(tuple(found), tuple(dict.fromkeys(failures)))


def _pools(proc: Path) -> list[_Pool]:
    pools: dict[str, _Pool] = {}
    for folder in sorted(proc.iterdir()):
        if not folder.name.isdigit():
            continue
        name = _worker_of(folder)
        if name is not None:
            pools.setdefault(name, _Pool(name)).workers.append(int(folder.name))
    return list(pools.values())


def _worker_of(folder: Path) -> str | None:
    """The pool a process works for, `None` for any other process."""
    try:
        title = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        name = (folder / "comm").read_text().strip()
        parent = (folder / "stat").read_text().rsplit(")", 1)[1].split()[1]
    except OSError:
        return None  # it has ended
    worker = _POOL.match(title)
    if worker:
        return f"{worker[1]} of {parent}"
    return name if name in _SERVERS else None


def _surely(pid: int, finder: Finder) -> Snapshot:
    """A worker, tried once more where it changed under our eyes."""
    try:
        return _snapshot(pid, finder)
    except InputError as error:
        if error.code != "not-php":
            raise
        time.sleep(_AGAIN)
        return _snapshot(pid, finder)


def _snapshot(pid: int, finder: Finder) -> Snapshot:
    with open_live(pid) as core:
        process = detect(core, finder)
        if not isinstance(process, PhpProcess):
            raise InputError("not-php", process or f"process {pid} holds no PHP")
        moment = clock.now()
        runtime = process.configuration(at=moment.timestamp())
        libraries = {library(m.path): m.build_id for m in core.modules if m.build_id and not m.path.startswith("[")}
    if not runtime.options:
        raise InputError("gone", f"the settings of process {pid} could not be read")
    return _filled(runtime, libraries)


def _filled(runtime: Runtime, libraries: dict[str, str]) -> Snapshot:
    moment, worker = clock.now(), runtime.worker
    age = max(0, int((moment - worker.started).total_seconds())) if worker and worker.started else None
    return Snapshot(
        host=platform.node(), pool=worker.pool if worker else None, sapi=runtime.sapi, version=runtime.version,
        options=runtime.options, extensions=runtime.extensions, libraries=libraries, first_seen=moment,
        last_seen=moment, ages=() if age is None else (age,),
        requests=(worker.requests,) if worker and worker.requests is not None else (),
        scripts=(runtime.script,) if runtime.script else (),
    )  # fmt: skip


def _together(read: list[Snapshot], workers: int) -> Iterator[Snapshot]:
    """Those with one configuration as one; the workers that were only counted go with the commonest."""
    alike: list[list[Snapshot]] = []
    for one in read:
        group = next((group for group in alike if _setup(group[0]) == _setup(one)), None)
        alike.append([one]) if group is None else group.append(one)
    alike.sort(key=len, reverse=True)
    for at, group in enumerate(alike):
        count = len(group) + (workers - len(read) if at == 0 else 0)
        yield replace(
            group[0], workers=count,
            ages=tuple(age for one in group for age in one.ages),
            requests=tuple(number for one in group for number in one.requests),
            scripts=tuple(name for one in group for name in one.scripts),
        )  # fmt: skip


def _setup(one: Snapshot) -> tuple[object, ...]:
    return one.host, one.pool, one.sapi, one.version, one.options, one.extensions, one.libraries
