"""Kernel faults and php-fpm's words about its workers, joined and made into crash records.

A record says in its warnings what it lacks: there was no core. Its id comes from what the kernel said,
so that the same line in a rotated or compressed log is the same crash.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterator, Sequence
from datetime import timedelta

from triage.cluster.signature import sign
from triage.corefile.notes import signal_name
from triage.klog.fpm import FpmExit
from triage.klog.kernel import KernelFault, access
from triage.klog.resolve import Files, Resolved
from triage.klog.sources import Said
from triage.model import (
    Confidence,
    Crash,
    Finding,
    Frame,
    Module,
    Origin,
    Runtime,
    Signal,
    Signature,
    Status,
    Symbols,
    Thread,
    Worker,
)
from triage.text import clean

PREFIX = "kernel-log:"
"""What stands for a core's path in these records."""
_NEAR = timedelta(seconds=60)
_LOW = 0x10000


def records(said: Sequence[Said], files: Files) -> Iterator[Crash]:
    """One crash for each fault, and for each death of a php-fpm worker that the kernel said nothing about."""
    faults = [fault for one in said for fault in one.faults]
    exits = [end for one in said for end in one.exits]
    for fault in faults:
        end = next((end for end in exits if _same(fault, end)), None)
        if end is not None:
            exits.remove(end)
        yield _of_fault(fault, end, files.resolve(fault))
    for end in exits:
        yield _of_exit(end)


def _same(fault: KernelFault, end: FpmExit) -> bool:
    return fault.pid == end.pid and (fault.time is None or abs(fault.time - end.time) <= _NEAR)


def _identity(*parts: object) -> str:
    return hashlib.sha256("|".join(map(str, ("kernel-log", *parts))).encode()).hexdigest()[:16]


def _of_fault(fault: KernelFault, end: FpmExit | None, found: Resolved | None) -> Crash:
    second = int(fault.time.timestamp()) if fault.time is not None else None
    id_ = _identity(fault.pid, fault.ip, fault.sp, fault.address, second // 10 if second is not None else None)
    signal = Signal(number=fault.signal, name=signal_name(fault.signal), address=fault.address)
    frame = _frame(fault, found)
    thread = Thread(id=fault.pid, name=fault.name, crashed=True, depth=1, truncated=True, frames=(frame,))
    path = str(found.file.path) if found is not None else None
    build = found.file.build_id if found is not None else None
    return Crash(
        id=id_,
        core=PREFIX + id_,
        status=Status.PARTIAL,
        time=fault.time or (end.time if end is not None else None),
        host=fault.host or platform.node() or None,
        pid=fault.pid,
        executable=path if path is not None and fault.module and fault.module.startswith(fault.name[:15]) else None,
        build_id=None,
        arguments=(),
        signal=signal,
        runtime=_runtime(end),
        threads=(thread,),
        modules=_modules(fault, path, build),
        findings=(_finding(fault, found),),
        signature=sign(id_, signal, thread, {path: build} if path else {}),
        instruction=None,
        origin=Origin(kind="kernel-log", time=fault.time, time_from="kernel", host=fault.host, pid=fault.pid),
        warnings=tuple(_doubts(fault, found, end)),
    )


def _frame(fault: KernelFault, found: Resolved | None) -> Frame:
    if found is None:
        return Frame(kind="native", module=fault.module, offset=fault.offset, address=fault.ip, trust="context")
    return Frame(
        kind="native",
        function=found.function,
        module=str(found.file.path),
        offset=found.address,
        address=fault.ip,
        trust="context",
    )


def _modules(fault: KernelFault, path: str | None, build: str | None) -> tuple[Module, ...]:
    if path is None or fault.base is None or fault.size is None:
        return ()
    return (
        Module(path=path, build_id=build, start=fault.base, end=fault.base + fault.size, symbols=Symbols.DYNAMIC),
    )


def _runtime(end: FpmExit | None) -> Runtime | None:
    if end is None:
        return None
    return Runtime(name="php", sapi="fpm-fcgi", worker=Worker(pool=end.pool or "?"))


def _finding(fault: KernelFault, found: Resolved | None) -> Finding:
    where = clean(fault.module or "no file at all")
    line = f"the kernel said: ip {fault.ip:#x} in {where}"
    if fault.error is None:
        return Finding(
            rule="kernel-trap",
            title=f"The processor refused an instruction: {fault.trap}",
            confidence=Confidence.PROVED,
            evidence=(line,),
            explanation="No core was kept, so what led there is not known.",
        )
    tried = access(fault.error)
    address = fault.address or 0
    what = "address 0 or close to it: a pointer that was never set" if address < _LOW else f"address {address:#x}"
    jump = fault.module is None
    return Finding(
        rule="kernel-fault",
        title="The program jumped to a place that is no code" if jump else f"The program tried {tried} {what}",
        confidence=Confidence.PROVED,
        evidence=(line, f"error {fault.error:#x}: tried {tried} {address:#x}", *_proof(fault, found)),
        explanation="No core was kept: only the place where it died is known, not how it came there nor in which PHP "
        "code.",
        next_steps=("Have the next crash leave a core: triage doctor says what is missing for that.",),
    )


def _proof(fault: KernelFault, found: Resolved | None) -> Iterator[str]:
    if found is not None and found.proven:
        yield f"the {len(fault.code)} code bytes the kernel printed stand at that place in {found.file.path}"


def _doubts(fault: KernelFault, found: Resolved | None, end: FpmExit | None) -> Iterator[str]:
    yield "there is no core: this comes from the kernel's log alone"
    if fault.module is not None and found is None:
        yield (
            f"no file {clean(fault.module)} on this machine has the code the kernel printed: it was updated since, "
            "or the log comes from another machine (--sysroot)"
        )
    elif found is not None and not found.proven:
        yield f"the kernel printed no code bytes: that {found.file.path} is the file that crashed is not proven"
    if end is not None and end.dumped:
        yield "php-fpm says that a core was dumped: it is not among those triaged"


def _of_exit(end: FpmExit) -> Crash:
    """The kernel says nothing of abort(), and old lines are gone: the death still counts."""
    second = int(end.time.timestamp())
    id_ = _identity(end.pid, end.signal, second)
    pool = end.pool or "?"
    title = f"{end.name} in php-fpm's pool {pool}, no core and no word from the kernel"
    return Crash(
        id=id_,
        core=PREFIX + id_,
        status=Status.PARTIAL,
        time=end.time,
        host=platform.node() or None,
        pid=end.pid,
        executable=None,
        build_id=None,
        arguments=(),
        signal=Signal(number=end.signal, name=end.name),
        runtime=_runtime(end),
        threads=(),
        modules=(),
        signature=Signature(key=f"v1:fpm-log|{end.name}|{pool}", title=title),
        origin=Origin(kind="kernel-log", time=end.time, time_from="report", pid=end.pid),
        warnings=("there is no core: this comes from php-fpm's log alone",),
    )
