"""A core without the memory of the request: what a native backtrace needs, and nothing a user typed in.

Kept are the notes, the read-only pages of mapped files, and of each thread's stack and each module's own
variables the words that are addresses: return addresses and saved registers, no text. Left out are heaps,
shared memory, the command line and the environment: their ranges stay announced, with nothing in them.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from typing import IO

from triage.corefile import CoreFile, elf, notes
from triage.corefile.elf import Buffer, Segment
from triage.corefile.linkmap import loader_ranges
from triage.corefile.mapped import mapped

_ENTRY = struct.Struct("<IIQQQQQQ")
_ALIGN = 4096
_STACK = 8 << 20
_PSARGS, _PSARGS_SIZE = 56, 80  # in NT_PRPSINFO (struct elf_prpsinfo, 64-bit)


def without_memory(core: CoreFile, out: IO[bytes]) -> int:
    """Write the stripped core; returns its size in bytes."""
    with mapped(core.path) as data:
        header = elf.read_header(data)
        segments = list(elf.read_segments(data, header))
        table = elf.HEADER_SIZE + len(segments) * _ENTRY.size
        at = table
        rows, pieces = [], []
        ranges = sorted(loader_ranges(core.memory, core.notes.auxv))
        for segment in segments:
            kept = _with_ranges(core, segment, _kept(core, segment, data), ranges)
            at = -(-at // _ALIGN) * _ALIGN if segment.type == elf.PT_LOAD else at
            rows.append(_ENTRY.pack(segment.type, segment.flags, at, segment.address, 0, len(kept),
                                    segment.memory_size, segment.align))  # fmt: skip
            pieces.append((at, kept))
            at += len(kept)
        head = bytearray(data[: elf.HEADER_SIZE])
        struct.pack_into("<Q", head, 32, elf.HEADER_SIZE)  # e_phoff
        out.write(bytes(head) + b"".join(rows))
        for place, kept in pieces:
            out.seek(place)
            out.write(kept)
        out.truncate(at)
        return at


def _kept(core: CoreFile, segment: Segment, data: Buffer) -> bytes:
    raw = data[segment.offset : segment.offset + segment.file_size]
    if segment.type == elf.PT_NOTE:
        return _without_arguments(raw, segment.align)
    if segment.type != elf.PT_LOAD or not raw:
        return b""
    if core.memory.file_at(segment.address) is not None:
        if not segment.flags & elf.PF_W:
            return raw
        return _addresses(core, raw) if _is_code_data(core, segment) else b""
    return _stacks(core, segment, raw)


def _with_ranges(core: CoreFile, segment: Segment, kept: bytes, ranges: list[tuple[int, int]]) -> bytes:
    """The loader's own list put back, without which a debugger knows no library."""
    if segment.type != elf.PT_LOAD:
        return kept
    end = segment.address + segment.file_size
    inside = [(at, size) for at, size in ranges if segment.address <= at and at + size <= end]
    if not inside:
        return kept
    whole = bytearray(kept.ljust(max(at + size for at, size in inside) - segment.address, b"\0"))
    for at, size in inside:
        place = at - segment.address
        whole[place : place + size] = core.memory.read(at, size) or bytes(size)
    return bytes(whole)


def _is_code_data(core: CoreFile, segment: Segment) -> bool:
    """A module's own variables (the loader's lists among them); not a data file that is mapped."""
    return core.module_at(segment.address) is not None


def _stacks(core: CoreFile, segment: Segment, raw: bytes) -> bytes:
    """The parts above stack pointers, up to the strings of the command line and the environment; else nothing."""
    pointers = sorted(_pointers(core))
    inside = [sp - segment.address for sp in pointers if segment.address <= sp < segment.address + len(raw)]
    if not inside:
        return b""
    end = min(len(raw), inside[-1] + _STACK)
    strings = core.notes.auxv.get(31)  # AT_EXECFN: the last of the strings
    if strings is not None and segment.address <= strings < segment.address + len(raw):
        first = _first_string(core)
        end = min(end, (first if first is not None else strings) - segment.address)
    return bytes(inside[0]) + _addresses(core, raw[inside[0] : end])


def _addresses(core: CoreFile, raw: bytes) -> bytes:
    """The words that lie in a mapped range; all others are 0. Eight letters of a text never do."""
    words = array("Q", raw[: len(raw) // 8 * 8])
    regions = core.memory.regions()
    starts = [region.start for region in regions]
    low, high = starts[0], regions[-1].end
    for at, word in enumerate(words):
        if word and not (low <= word < high and word < regions[bisect_right(starts, word) - 1].end):
            words[at] = 0
    return words.tobytes().ljust(len(raw), b"\0")


def _first_string(core: CoreFile) -> int | None:
    """Where the strings begin: the first argument lies lowest, right above the auxiliary vector."""
    random = core.notes.auxv.get(25)  # AT_RANDOM lies between the vector and the strings
    return random + 16 if random is not None else None


def _pointers(core: CoreFile) -> Iterator[int]:
    _, name = notes.PC_SP.get(core.machine or "", ("", ""))
    for thread in core.notes.threads:
        if name in thread.registers:
            yield thread.registers[name] & ~0xFF


def _without_arguments(raw: bytes, align: int) -> bytes:
    """The notes, the 80 bytes of the command line blanked."""
    changed = bytearray(raw)
    at = 0
    step = 8 if align == 8 else 4
    while at + 12 <= len(changed):
        name, body, kind = struct.unpack_from("<III", changed, at)
        begin = at + 12 + -(-name // step) * step
        if kind == notes.NT_PRPSINFO and body >= _PSARGS + _PSARGS_SIZE and begin + body <= len(changed):
            changed[begin + _PSARGS : begin + _PSARGS + _PSARGS_SIZE] = bytes(_PSARGS_SIZE)
        at = begin + -(-body // step) * step
    return bytes(changed)
