"""Thread-safe builds (ZTS): each thread has globals of its own, in a record that names the thread.

TSRM keeps for each thread a record of its resources, with the thread's pthread_t, which is the
address its thread register holds; since 7.4 the globals lie straight behind the record, at
distances PHP keeps in variables. Source of the record's order: php-src, TSRM/TSRM.c.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from triage.corefile import CoreFile
from triage.runtimes.php.roots.words import places

_MOST_DATA = 256 * 1024 * 1024
_MOST_RESOURCES = 4096


@dataclass(frozen=True, slots=True)
class ThreadRecord:
    """One thread's record at `address`; `storage` is its table of resources, by number less one."""

    thread: int
    address: int
    storage: int


def records(core: CoreFile) -> Mapping[int, tuple[ThreadRecord, ...]]:
    """Records that may be a thread's, by thread id. What they hold must be verified."""
    marks = {state.registers.get("fs_base", 0): state.id for state in core.notes.threads}
    found: dict[int, list[ThreadRecord]] = {}
    for mark, thread in marks.items():
        for record in _search(core, mark, thread) if mark else ():
            found.setdefault(thread, []).append(record)
    return {thread: tuple(several) for thread, several in found.items()}


def _search(core: CoreFile, mark: int, thread: int) -> Iterator[ThreadRecord]:
    for address, data, at in places(core, mark, most=_MOST_DATA):
        if at < 16:
            continue
        storage, count = struct.unpack_from("<Qi", data, at - 16)
        if 0 < count < _MOST_RESOURCES and storage % 8 == 0 and core.memory.read(storage, count * 8):
            yield ThreadRecord(thread, address - 16, storage)
