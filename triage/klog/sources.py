"""Log files and the running kernel's own log, as lines with time and host."""

from __future__ import annotations

import lzma
import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from triage import clock
from triage.corefile.mapped import open_regular
from triage.corefile.sources import streams
from triage.corefile.sources.journal import Journal
from triage.errors import InputError
from triage.klog.fpm import FpmExit, exits
from triage.klog.kernel import KernelFault, faults
from triage.text import number

_HEAD, _LONGEST = 1 << 16, 1 << 16
_SIGNS = re.compile(
    rb"segfault at [0-9a-f]+ ip |traps: .{1,64}\[\d+\] |exited on signal \d+ \(SIG|kernel: \[?|fpm is running"
)
_UPTIME = re.compile(r"^(?:<\d+>)?\[\s*(\d{1,12}\.\d{1,9})\] (.*)")
_DMESG = re.compile(r"^\[([A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4})\] (.*)")
_ISO = re.compile(r"^(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?) (\S+) kernel: (.*)")
_SYSLOG = re.compile(r"^([A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d) (\S+) kernel: (.*)")
_STAMP = re.compile(r"^\[\s*\d+\.\d+\] ")


@dataclass(frozen=True, slots=True)
class Said:
    """What one log tells."""

    faults: tuple[KernelFault, ...]
    exits: tuple[FpmExit, ...]


def is_log(path: Path) -> bool:
    """Whether a file looks like a kernel log or php-fpm's, plain or compressed."""
    try:
        with open(open_regular(path, follow=False), "rb") as stream:  # noqa: PTH123 — a descriptor
            head = b"".join(_some(_plain(stream), _HEAD))
    except (InputError, OSError, streams.Broken, lzma.LZMAError):
        return False
    return head[:4] != b"\x7fELF" and b"\0" not in head[:1024] and _SIGNS.search(head) is not None


def read_log(path: Path) -> Said:
    """Read a log file of any of these kinds. Raises InputError when it cannot be opened."""
    changed = path.stat().st_mtime
    with open(open_regular(path, follow=False), "rb") as stream:  # noqa: PTH123 — a descriptor
        lines = list(_lines(stream))
    return Said(
        faults=tuple(faults(_stamped(line, changed) for line in lines)),
        exits=tuple(exits(lines)),
    )


def read_kernel(journal: Journal | None = None) -> Said:
    """The running kernel's log: the journal, which goes back further, else its own buffer."""
    entries = list((journal or Journal()).entries(["_TRANSPORT=kernel"]))
    if entries:
        rows = [
            (
                clock.told((number(entry.get("__REALTIME_TIMESTAMP", "")) or 0) / 1e6),
                entry.get("_HOSTNAME"),
                entry.get("MESSAGE", ""),
            )
            for entry in entries
        ]
        return Said(tuple(faults(rows)), ())
    if shutil.which("dmesg") is None:
        return Said((), ())
    done = subprocess.run(["dmesg"], stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=30)
    text = done.stdout.decode("utf-8", "backslashreplace")
    return Said(tuple(faults(_stamped(line, time.time()) for line in text.splitlines())), ())


def _some(chunks: Iterable[bytes], size: int) -> Iterator[bytes]:
    for chunk in chunks:
        yield chunk[:size]
        size -= len(chunk)
        if size <= 0:
            return


def _plain(stream: BinaryIO) -> Iterator[bytes]:
    head = stream.read(8)
    stream.seek(0)
    kind = streams.compression(head)
    if kind is not None:
        yield from streams.unpacked(stream, kind)
        return
    while chunk := stream.read(streams.CHUNK):
        yield chunk


def _lines(stream: BinaryIO) -> Iterator[str]:
    """Lines of at most 64 KiB; a compressed log that is cut off ends early."""
    rest = b""
    with suppress(streams.Broken):
        for chunk in _plain(stream):
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                yield line[:_LONGEST].decode("utf-8", "backslashreplace")
            rest = rest[:_LONGEST]
    if rest:
        yield rest.decode("utf-8", "backslashreplace")


def _stamped(line: str, changed: float) -> tuple[datetime | None, str | None, str]:
    """`(time, host, message)` of a line in any of the usual forms."""
    for pattern, read in ((_ISO, _iso), (_SYSLOG, lambda text: _syslog(text, changed))):
        found = pattern.match(line)
        if found:
            return read(found[1]), found[2], _STAMP.sub("", found[3])
    found = _DMESG.match(line)
    if found:
        return clock.written(found[1], "%a %b %d %H:%M:%S %Y"), None, found[2]
    found = _UPTIME.match(line)
    if found:
        return _since_boot(float(found[1])), None, found[2]
    return None, None, line


def _iso(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text.replace(",", ".")).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _syslog(text: str, changed: float) -> datetime | None:
    """Without a year: the last such day before the file was changed."""
    before = (clock.told(changed) or clock.now()) + timedelta(days=1)
    for candidate in (before.year, before.year - 1):
        moment = clock.written(f"{candidate} {text}", "%Y %b %d %H:%M:%S")  # none: the 29th of February
        if moment is not None and moment <= before:
            return moment
    return None


def _since_boot(seconds: float) -> datetime | None:
    """True for the running kernel only: a log of another boot has other stamps as well, or none that can be told."""
    with suppress(OSError, ValueError, IndexError):
        boot = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime "))
        return clock.told(int(boot.split()[1]) + seconds)
    return None
