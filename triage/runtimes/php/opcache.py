"""opcache's shared memory: whether the core has it, and the cache's own counters in it.

The counters' record is found by what it must hold: the cache's hash table has one of a known
list of sizes, both of its pointers lead into the shared memory, and it began before the crash.
Source of the order of fields: php-src, ext/opcache/ZendAccelerator.h (7.0 to 8.5).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from triage import clock
from triage.corefile import CoreFile
from triage.corefile.elf import PF_W
from triage.corefile.protocol import Region
from triage.corefile.twins import Twins
from triage.model import Opcache

SHARED = ("/dev/zero (deleted)", "/SYSV", "/memfd:opcache")
_SEARCHED = 1 << 20  # the record is among the first things opcache puts there
_SIZES = (
    *(5, 11, 19, 53, 107, 223, 463, 983, 1979, 3907, 7963, 16229, 32531, 65407, 130987, 262237, 524521, 1048793),
)
_COUNTERS = "<6Q2Q3I"
_SPAN = 160
_MOST_AT = 68  # behind six counters, two pointers and the number of entries
_FIRST_YEAR = 946_684_800  # 2000-01-01: no PHP 7 process began before


class KnownPlace:
    """How far into the shared memory the record was found last: there it is looked for first."""

    def __init__(self) -> None:
        self.offset = 0


def opcache(core: CoreFile, shared: Sequence[Region], known: KnownPlace, *, at_crash: float) -> Opcache | None:
    """The code cache of this process, `None` when it has none.

    `shared` are its regions of shared memory, `at_crash` is in seconds since 1970.
    """
    regions = caches(shared)
    found = max(regions, key=lambda region: region.end - region.start, default=None)
    if found is None:
        return None
    size = sum(r.end - r.start for r in regions if r.path == found.path)
    there = core.memory.dumped(found.start + known.offset, _SPAN) or b""
    if _is_sized(there, 0) and _is_table(there, 0, found):
        record = _read(there, 0, size, at_crash)
        if record is not None:
            return record
    raw = core.memory.dumped(found.start, min(found.end - found.start, _SEARCHED))
    if not raw:
        return Opcache(shared=size, dumped=False)
    for at in _candidates(raw, found):
        record = _read(raw, at, size, at_crash)
        if record is not None:
            known.offset = at
            return record
    return Opcache(shared=size, dumped=True)


def shared_regions(core: CoreFile, twins: Twins) -> list[Region]:
    """Shared memory that belongs to no file: opcache's, when opcache is on, and php-fpm's scoreboard."""
    starts = twins.same(core, "shared memory", lambda: _starts(core))
    found = dict.fromkeys(region for region in map(core.memory.region_at, starts) if region is not None)
    return [region for region in found if region.path is not None and region.path.startswith(SHARED)]


def _starts(core: CoreFile) -> list[int]:
    paths = {mapping.path for mapping in core.notes.files}
    shared = {path for path in paths if path.startswith(SHARED)}
    return sorted(mapping.start for mapping in core.notes.files if mapping.path in shared) if shared else []


def caches(shared: Sequence[Region]) -> list[Region]:
    """Those that are large enough to be opcache's."""
    return [region for region in shared if region.flags & PF_W and region.end - region.start >= _SEARCHED]


def _candidates(raw: bytes, region: Region) -> Iterator[int]:
    """Offsets at which the record may begin."""
    for size in _SIZES:
        pattern = struct.pack("<I", size)
        at = raw.find(pattern)
        while at >= 0:
            start = at - _MOST_AT
            if start >= 0 and start % 8 == 0 and _is_table(raw, start, region):
                yield start
            at = raw.find(pattern, at + 4)


def _is_sized(raw: bytes, start: int) -> bool:
    """Whether the table at an offset has one of the sizes there are."""
    return start + _SPAN <= len(raw) and struct.unpack_from("<I", raw, start + _MOST_AT)[0] in _SIZES


def _is_table(raw: bytes, start: int, region: Region) -> bool:
    if start + _SPAN > len(raw):
        return False
    *_, table, entries, used, most, direct = struct.unpack_from(_COUNTERS, raw, start)
    inside = all(region.start < pointer < region.end and pointer % 8 == 0 for pointer in (table, entries))
    return inside and table < entries and direct <= used <= most


def _read(raw: bytes, start: int, size: int, at_crash: float) -> Opcache | None:
    hits, misses, _, memory, hashes, manual, _, _, used, most, _ = struct.unpack_from(_COUNTERS, raw, start)
    # Between the table and the times newer versions keep one or two sizes; the first time is the start.
    for times in (start + 80, start + 88, start + 96):
        began, restarted, forced = struct.unpack_from("<3Q", raw, times)
        enabled, pending = raw[times + 24], raw[times + 25]
        in_progress = raw[times + 33]
        sound = _FIRST_YEAR < began <= at_crash + 86_400 and max(restarted, forced) <= at_crash + 86_400
        if sound and enabled <= 1 and pending <= 1 and in_progress <= 1:
            return Opcache(
                shared=size, dumped=True, scripts=used, most_scripts=most, hits=hits, misses=misses,
                memory_restarts=memory, hash_restarts=hashes, manual_restarts=manual,
                started=clock.from_epoch(began), restarted=clock.from_epoch(restarted) if restarted else None,
                restart_pending=bool(pending), restart_in_progress=bool(in_progress),
            )  # fmt: skip
    return None
