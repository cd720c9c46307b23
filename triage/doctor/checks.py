"""PASS, WARN or FAIL for everything that decides whether a crash leaves a usable core, each with its fix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from triage.doctor import keeper
from triage.doctor.check import Check, Grade
from triage.doctor.fixes import Fixes
from triage.doctor.host import Host
from triage.doctor.pools import Pool, on, pools
from triage.doctor.predict import LEAST, Prediction, predict
from triage.doctor.processes import UNLIMITED, Process
from triage.text import plural, size

_PRIVATE, _SHARED, _HEADERS = 1, 2, 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The checks of the machine, of a pool or of a master. `prediction` is what the kernel would do."""

    title: str
    checks: tuple[Check, ...]
    pid: int | None = None
    processes: int = 0
    prediction: Prediction | None = None

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return all(check.grade is not Grade.FAIL for check in self.checks)


def examine(processes: Sequence[Process], host: Host) -> list[Report]:
    """One report for each master and each pool; workers of a pool that differ get reports of their own."""
    masters = {process.pid: process for process in processes if process.role == "master"}
    found: dict[tuple[object, ...], list[tuple[Process, Prediction]]] = {}
    for process in processes:
        prediction = predict(process, host)
        alike = (process.configuration, process.role, process.pool, prediction.dumps, prediction.reasons)
        found.setdefault((*alike, process.parent if process.role == "worker" else process.pid), []).append(
            (process, prediction)
        )
    return [_report(group, masters.get(group[0][0].parent), host) for group in found.values()]


def _report(group: list[tuple[Process, Prediction]], master: Process | None, host: Host) -> Report:
    process, prediction = group[0]
    found = pools(Path(process.configuration)) if process.configuration else {}
    pool = found.get(process.pool or "")
    return Report(
        title=_title(process, len(group)),
        checks=tuple(_checks(process, prediction, Fixes(process, pool, master, host), pool, host)),
        pid=process.pid,
        processes=len(group),
        prediction=prediction,
    )


def _title(process: Process, count: int) -> str:
    name = process.executable.rsplit("/", 1)[-1]
    where = f", container {process.container}" if process.container else ""
    if process.role == "master":
        return f"{name} master, pid {process.pid} ({process.configuration}{where})"
    return f"{name} pool {process.pool}, {plural(count, 'worker')} such as pid {process.pid}{where}"


def _checks(process: Process, prediction: Prediction, fixes: Fixes, pool: Pool | None, host: Host) -> Iterator[Check]:
    yield _dumpable(process, prediction, fixes, pool, host)
    yield _limit(process, fixes, pool, host)
    yield _target(process, prediction, fixes, host)
    yield from _room(process, prediction, fixes, host)
    yield from _filter(process, fixes)
    yield from _replaced(process, fixes)
    yield from _container(process, host)


def machine(host: Host, processes: Sequence[Process]) -> Iterator[Check]:
    """What holds for all processes at once."""
    pattern = host.pattern
    if not (pattern.is_pipe or pattern.is_socket or pattern.is_absolute):
        group = next((process for process in processes if process.role == "worker"), None)
        fixes = Fixes(group, None, None, host) if group is not None else None
        yield Check(
            name="core_pattern",
            grade=Grade.FAIL,
            says=f"kernel.core_pattern is {pattern.text!r}, no fixed folder: the core of a request goes to the "
            "folder of the script it runs, if the worker may write there, and the web server may hand it out",
            fix=fixes.folder() if fixes is not None else (),
        )
    else:
        yield Check(name="core_pattern", grade=Grade.PASS, says=f"kernel.core_pattern is {pattern.text}")
    if host.contained:
        says = (
            "this is a container: kernel.core_pattern belongs to the host, and a folder in it is lost with the "
            "container unless a volume is mounted there"
        )
        yield Check(name="container", grade=Grade.WARN, says=says)


def _dumpable(process: Process, prediction: Prediction, fixes: Fixes, pool: Pool | None, host: Host) -> Check:
    if process.dumpable:
        return Check(name="dumpable", grade=Grade.PASS, says="the kernel may dump it as its own user")
    if "not-dumpable" in prediction.reasons:
        waits = pool is not None and on(pool.settings.get("process.dumpable"))
        why = "it gave up root's rights when it became its pool's user, and fs.suid_dumpable is 0"
        late = " (process.dumpable is set in its file: php-fpm has not been restarted since)" if waits else ""
        return Check(
            name="dumpable",
            grade=Grade.FAIL,
            says=f"the kernel dumps nothing of it: {why}{late}",
            fix=fixes.dumpable(),
        )
    return Check(
        name="dumpable",
        grade=Grade.WARN,
        says="only root can read its cores: fs.suid_dumpable is 2. A process that was started before that was set "
        "still leaves none",
        fix=fixes.dumpable(),
    )


def _limit(process: Process, fixes: Fixes, pool: Pool | None, host: Host) -> Check:
    if host.pattern.is_pipe and process.limit != 1:
        return Check(name="core limit", grade=Grade.PASS, says="cores go to a program: the limit does not count")
    if process.limit < LEAST:
        asked = pool.settings.get("rlimit_core") if pool is not None else None
        refused = fixes.limit_refused and asked not in (None, "0")
        says = f"the process's own limit is {process.limit}: the kernel writes no core"
        if refused:
            says += (
                f". rlimit_core = {asked} is in its file, but the hard limit is {process.hard} and php-fpm has no "
                "right to raise it (CAP_SYS_RESOURCE); it fails without a word in the log"
            )
        return Check(name="core limit", grade=Grade.FAIL, says=says, fix=fixes.limit())
    if process.limit < process.resident:
        says = f"cores are cut off at {size(process.limit)}; one would need about {size(process.resident)}"
        return Check(name="core limit", grade=Grade.FAIL, says=says, fix=fixes.limit())
    if process.file_limit < process.resident:
        says = f"files are cut off at {size(process.file_limit)} (RLIMIT_FSIZE), it needs {size(process.resident)}"
        return Check(name="core limit", grade=Grade.FAIL, says=says, fix=("LimitFSIZE=infinity in its unit",))
    shown = "none" if process.limit == UNLIMITED else size(process.limit)
    return Check(name="core limit", grade=Grade.PASS, says=f"no limit that matters ({shown})")


def _target(process: Process, prediction: Prediction, fixes: Fixes, host: Host) -> Check:
    if host.pattern.is_pipe:
        return keeper.check(host, process)
    place = prediction.place
    if place is None:
        return Check(
            name="core folder", grade=Grade.WARN, says=f"cores go to the socket {host.pattern.text}: not looked into"
        )
    if "relative-suid" in prediction.reasons:
        says = f"kernel.core_pattern is {host.pattern.text!r}: with fs.suid_dumpable = 2 only a fixed folder is used"
        return Check(name="core folder", grade=Grade.FAIL, says=says, fix=fixes.folder())
    if place.unknown:
        says = f"its core would go to {place.file}; whether that works cannot be told: {place.unknown}"
        return Check(name="core folder", grade=Grade.WARN, says=says, fix=("run triage doctor as root",))
    if place.problem:
        says = f"its core would go to {place.file}, but {place.problem}"
        fix = fixes.folder() if host.pattern.is_absolute else ("see core_pattern, below",)
        return Check(name="core folder", grade=Grade.FAIL, says=says, fix=fix)
    if not host.pattern.is_absolute:
        says = f"while idle its core would go to {place.file}; during a request elsewhere (see core_pattern)"
        return Check(name="core folder", grade=Grade.WARN, says=says)
    return Check(name="core folder", grade=Grade.PASS, says=f"its core would go to {place.file}")


def _room(process: Process, prediction: Prediction, fixes: Fixes, host: Host) -> Iterator[Check]:
    place = prediction.place
    if place is None or place.free is None:
        return
    if place.free < process.resident:
        says = f"{size(place.free)} are free in {place.folder}; a core needs about {size(process.resident)}"
        yield Check(name="disk", grade=Grade.FAIL, says=says, fix=(f"make room in {place.folder}",))
    else:
        says = f"{size(place.free)} are free; a core needs about {size(process.resident)}"
        yield Check(name="disk", grade=Grade.PASS, says=says)


def _filter(process: Process, fixes: Fixes) -> Iterator[Check]:
    if not process.filter & _PRIVATE:
        says = f"coredump_filter is {process.filter:#x}: cores would not hold PHP's memory at all"
        yield Check(name="contents", grade=Grade.FAIL, says=says, fix=fixes.filter())
    elif not process.filter & _HEADERS:
        says = f"coredump_filter is {process.filter:#x}: cores would not tell which builds of the files were running"
        yield Check(name="contents", grade=Grade.FAIL, says=says, fix=fixes.filter())
    elif not process.filter & _SHARED:
        says = f"coredump_filter is {process.filter:#x}: opcache's shared memory, and names in it, would be missing"
        yield Check(name="contents", grade=Grade.WARN, says=says, fix=fixes.filter())
    else:
        yield Check(name="contents", grade=Grade.PASS, says=f"coredump_filter is {process.filter:#x}")


def _replaced(process: Process, fixes: Fixes) -> Iterator[Check]:
    if process.replaced:
        names = ", ".join(process.replaced[:3]) + (" …" if len(process.replaced) > 3 else "")
        yield Check(
            name="files",
            grade=Grade.WARN,
            says=f"it still runs files that were updated or removed since it started ({names}): their names are lost "
            "to a backtrace, and mixed versions crash by themselves",
            fix=fixes.restart(),
        )
    else:
        yield Check(name="files", grade=Grade.PASS, says="it runs the files that are on the disk")


def _container(process: Process, host: Host) -> Iterator[Check]:
    if not process.container or host.contained:
        return
    if host.pattern.is_pipe:
        says = "it runs in a container: the program that takes its cores runs on the host, where they are kept"
    else:
        says = (
            "it runs in a container, and kernel.core_pattern belongs to the host: the core goes to a folder inside "
            "the container and is lost with it, unless a volume is mounted there"
        )
    yield Check(name="container", grade=Grade.WARN, says=says)
