"""php-fpm's own record of a worker, from the scoreboard it shares with its master.

The scoreboard is found by what it must hold: a record with this process's number, in use, begun
before it took its last request, and that before the crash. Source of the record's order: php-src,
sapi/fpm/fpm/fpm_scoreboard.h (7.0 to 8.5).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence

from triage import clock
from triage.corefile import CoreFile
from triage.corefile.elf import PF_W
from triage.corefile.protocol import Region
from triage.model import Worker

_TITLE = re.compile(r"^php-fpm: pool (\S+)")
_STAGES = {
    1: "accepting", 2: "reading headers", 3: "getting request informations", 4: "running",
    5: "ending", 6: "finishing", 7: "being created",
}  # fmt: skip
_MOST = 1 << 20
_FIRST_YEAR = 946_684_800
_REQUESTS, _STAGE, _ACCEPTED = 8, 16, 56  # behind the process's number; `_START` before it
_START, _USED = 8, 16


def worker(core: CoreFile, shared: Sequence[Region], *, at_crash: float) -> Worker | None:
    """This php-fpm worker, `None` for any other process.

    `shared` are its regions of shared memory, `at_crash` is in seconds since 1970.
    """
    title = _TITLE.match(" ".join(core.arguments))
    if title is None:
        return None
    process = core.notes.process
    record = _record(core, shared, process.pid, at_crash) if process is not None else None
    if record is None:
        return Worker(pool=title[1])
    started, requests, stage, accepted = record
    return Worker(
        pool=title[1],
        started=clock.from_epoch(started),
        requests=requests,
        stage=_STAGES.get(stage),
        request_started=clock.from_epoch(accepted) if accepted else None,
    )


def _record(core: CoreFile, shared: Sequence[Region], pid: int, at_crash: float) -> tuple[int, int, int, int] | None:
    """`(begun, requests taken, stage, last request taken)` of the worker's record."""
    for region in shared:
        if not region.flags & PF_W or region.end - region.start >= _MOST:
            continue
        data = core.memory.dumped(region.start, region.end - region.start) or b""
        at = data.find(struct.pack("<i", pid))
        while at >= 0:
            found = _read(data, at, at_crash)
            if found is not None:
                return found
            at = data.find(struct.pack("<i", pid), at + 4)
    return None


def _read(data: bytes, at: int, at_crash: float) -> tuple[int, int, int, int] | None:
    if at < _USED or at % 8 or at + _ACCEPTED + 8 > len(data):
        return None
    used, started = struct.unpack_from("<i4xQ", data, at - _USED)
    (requests,) = struct.unpack_from("<Q", data, at + _REQUESTS)
    (stage,) = struct.unpack_from("<I", data, at + _STAGE)
    (accepted,) = struct.unpack_from("<Q", data, at + _ACCEPTED)
    latest = int(at_crash) + 1
    sound = used == 1 and stage in _STAGES and requests < 1 << 40
    in_time = _FIRST_YEAR < started <= latest and (accepted == 0 or started <= accepted <= latest)
    return (started, requests, stage, accepted) if sound and in_time else None
