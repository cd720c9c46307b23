"""Small crashes to fill stores with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from triage.model import (
    Crash,
    Failure,
    Frame,
    Module,
    Outcome,
    Runtime,
    Signal,
    Signature,
    Status,
    Symbols,
    Thread,
)
from triage.store import InputStamp

START = datetime(2026, 1, 1, tzinfo=UTC)
STAMP = InputStamp(size=4096, mtime_ns=1_700_000_000_123_456_789, inode=2**64 - 1)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def crash(
    id_: str = "aa01",
    *,
    key: str | None = "v1:zend_execute",
    title: str = "zend_execute ← Shop\\Cart::total",
    core: str | None = None,
    time: datetime | None = START,
    host: str | None = "web-1",
    version: str | None = "8.2.7",
    status: Status = Status.OK,
) -> Crash:
    frame = Frame(kind="native", function="zend_execute", module="/usr/bin/php", offset=0x2040, address=0x55D040)
    return Crash(
        id=id_,
        core=core or f"/var/crash/core.{id_}",
        status=status,
        time=time,
        host=host,
        pid=4242,
        executable="/usr/bin/php8.2",
        build_id="c0ffee",
        arguments=("php", "index.php"),
        signal=Signal(number=11, name="SIGSEGV", code=1, address=0x10),
        runtime=None if version is None else Runtime(name="php", version=version, script="/srv/index.php"),
        threads=(Thread(id=7, name="php", crashed=True, depth=1, truncated=False, frames=(frame,)),),
        modules=(Module(path="/usr/bin/php", build_id=None, start=0x55B000, end=0x560000, symbols=Symbols.DYNAMIC),),
        signature=None if key is None else Signature(key=key, title=title, steps=("kept zend_execute",)),
        registers={"rip": 0x55D040},
        timing={"read": 0.25},
    )


def triaged(found: Crash) -> Outcome:
    return Outcome(core=found.core, status=found.status, crash=found)


def failed(core: str, code: str = "empty", message: str = "the file is empty") -> Outcome:
    return Outcome(core=core, status=Status.ERROR, failure=Failure(code=code, message=message))
