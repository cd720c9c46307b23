"""From an input to a core file that can be mapped, whatever it is wrapped in."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from triage import clock
from triage.corefile import elf
from triage.corefile.sources import abrt, apport, collected, packed, streams, systemd
from triage.corefile.sources.journal import Journal
from triage.corefile.sources.scratch import Scratch
from triage.corefile.sources.settle import still_written
from triage.corefile.sources.trust import Trust, world_writable
from triage.corefile.sources.unpack import Bounds, write_sparse
from triage.errors import InputError
from triage.model import Origin

BEING_WRITTEN = "being-written"
_HEAD = 64
_TABLE = 1 << 14  # few cores have a longer table of segments
_EPOCH = re.compile(r"(?<!\d)(1\d{9})(?!\d)")
_DAY = 86400


@dataclass(frozen=True, slots=True)
class Opened:
    """A core ready to be mapped: `file` is to be opened, `origin` what came with it, `remarks` for people."""

    file: Path
    origin: Origin
    remarks: tuple[str, ...] = ()
    sysroot: Path | None = None
    """The folder with the crashed machine's files, where the input brought them along."""
    debug_dir: Path | None = None
    record: str | None = None
    """JSON of the crash as it was read where the input was made, when the core cannot give it again."""


@contextmanager
def opened(
    path: Path, scratch: Scratch, trust: Trust, bounds: Bounds | None = None, journal: Journal | None = None
) -> Iterator[Opened]:
    """The core in the input at `path`, for the length of a `with` block.

    Raises:
        InputError: `being-written` when it is not finished yet; else why there is no core in it.
        EnvironmentLacks: when nothing can be unpacked on this machine.
    """
    lost = abrt.missing(path)
    if lost is not None:
        raise lost
    with ExitStack() as at_end:
        descriptor = trust.open(path)
        at_end.callback(os.close, descriptor)
        head = os.pread(descriptor, _HEAD, 0)
        origin = _told(path, descriptor, journal or Journal())
        if apport.is_report(head):
            stream = at_end.enter_context(os.fdopen(os.dup(descriptor), "rb"))
            told, wrapping, core = apport.read_report(stream)
            yield _unpacked(descriptor, core, wrapping, told, at_end, scratch, bounds)
            return
        kind = streams.compression(head)
        if kind is not None:
            stream = at_end.enter_context(os.fdopen(os.dup(descriptor), "rb"))
            if kind == "zstd" and packed.is_pack(descriptor):
                yield _pack(stream, at_end, scratch, bounds or Bounds())
                return
            yield _unpacked(descriptor, stream, kind, origin, at_end, scratch, bounds)
            return
        if _short(descriptor) and still_written(descriptor):
            raise _unfinished()
        yield Opened(_name(path, descriptor, trust), origin)


def _pack(stream: BinaryIO, at_end: ExitStack, scratch: Scratch, bounds: Bounds) -> Opened:
    folder = scratch.folder()
    at_end.callback(shutil.rmtree, folder, ignore_errors=True)
    found = packed.unpack(stream, folder, bounds)
    return Opened(found.core, found.origin, found.remarks, folder / "root", folder / "debug", found.record)


def _name(path: Path, descriptor: int, trust: Trust) -> Path:
    """How to open the very file that was looked at: where others can swap names, through our descriptor."""
    if trust.everywhere or not world_writable(path.parent):
        return path
    return Path(f"/proc/{os.getpid()}/fd/{descriptor}")


def _unfinished() -> InputError:
    return InputError(BEING_WRITTEN, "it is still being written: left for the next run")


def _short(descriptor: int) -> bool:
    """Whether the file ends before its own headers say, or before there are any."""
    head = os.pread(descriptor, _TABLE, 0)
    try:
        header = elf.read_header(head)
    except InputError as error:
        return error.code in ("empty", "truncated")
    table = header.segments_at + header.segment_count * header.segment_size
    if table > len(head):
        head = os.pread(descriptor, min(table, 8 << 20), 0)
    segments = elf.read_columns(head, header)
    return len(segments.types) < header.segment_count or os.fstat(descriptor).st_size < segments.end


def _unpacked(
    descriptor: int,
    stream: BinaryIO,
    kind: str,
    origin: Origin,
    at_end: ExitStack,
    scratch: Scratch,
    bounds: Bounds | None,
) -> Opened:
    target = scratch.file()
    at_end.callback(target.unlink, missing_ok=True)
    try:
        amiss = write_sparse(streams.unpacked(stream, kind), target, bounds or Bounds())
    except InputError as error:
        if error.code in ("empty", "truncated", "not-a-core") and still_written(descriptor):
            raise _unfinished() from error
        if error.code == "empty":
            raise InputError("truncated", f"cut off: nothing can be unpacked from this {kind} file") from error
        raise
    if amiss is not None and still_written(descriptor):
        raise _unfinished()
    remarks = (f"the {kind} stream it came in ends early: {amiss}",) if amiss else ()
    return Opened(target, replace(origin, compression=kind), remarks)


def _told(path: Path, descriptor: int, journal: Journal) -> Origin:
    """What is known beside the core itself."""
    name = path.name
    found = systemd.told(name, descriptor, journal, str(path)) or abrt.told(path) or collected.told(path)
    if found is not None and found.time is not None:
        return found
    time, time_from = _time(name, os.fstat(descriptor).st_mtime)
    if found is None:
        return Origin(kind="file", time=time, time_from=time_from)
    return replace(found, time=time, time_from=time_from)


def _time(name: str, changed: float) -> tuple[datetime | None, str | None]:
    """When a core was written, and what tells it: its name, or that the file was `changed` then."""
    hint = _EPOCH.search(name)
    if hint is not None and changed - 3650 * _DAY < int(hint[1]) <= changed + _DAY:
        return clock.from_epoch(int(hint[1])), "name"
    time = clock.told(changed)  # some file systems keep times that no calendar has
    return time, "mtime" if time else None
