"""The two ELF structures a core needs, read in place: the file header and the program headers.

pyelftools walks these through a stream, segment by segment; a core may have 100,000 of them
and is mapped, so they are unpacked straight from the map (gABI, "ELF Header", "Program Header").
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import accumulate
from operator import add
from typing import Any, NamedTuple, Protocol, cast

from triage.corefile.latest import Latest
from triage.errors import InputError

ET_CORE = 4
PT_LOAD, PT_DYNAMIC, PT_NOTE, PT_GNU_EH_FRAME = 1, 2, 4, 0x6474E550
PF_X, PF_W, PF_R = 1, 2, 4
PN_XNUM = 0xFFFF
MACHINES = {62: "x86_64", 183: "aarch64", 3: "i386", 40: "arm", 243: "riscv64", 22: "s390x", 21: "ppc64"}
TYPES = {1: "a relocatable object", 2: "a program", 3: "a program or shared library", 4: "a core dump"}
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
HEADER_SIZE = _HEADER.size
_SEGMENT = struct.Struct("<IIQQ8xQQQ")  # without the physical address
_NOTE = struct.Struct("<III")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_AT_ONCE = 1024 * _SEGMENT.size
_OFFSET, _ADDRESS, _FILE_SIZE, _MEMORY_SIZE = 1, 2, 4, 5  # which word of eight bytes in a program header
_WORDS = _SEGMENT.size // 8


class Buffer(Protocol):
    """Anything sliceable by byte position: a map, bytes."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: slice, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Header:
    """What the file header says. `machine` is a name such as `x86_64`, or `None` when unknown."""

    type: int
    machine: str | None
    segments_at: int
    segment_count: int
    segment_size: int


class Segment(NamedTuple):
    """One program header; sizes and offsets in bytes."""

    type: int
    flags: int
    offset: int
    address: int
    file_size: int
    memory_size: int
    align: int


_new = tuple.__new__  # a third of the time that calling a NamedTuple takes
_as_segment = cast(Callable[[tuple[Any, ...]], Segment], partial(tuple.__new__, Segment))
"""The same as `Segment._make`, several times as fast: a core has hundreds of segments."""


def read_header(data: Buffer) -> Header:
    """Read the ELF header.

    Raises:
        InputError: `empty`, `not-elf`, `truncated` or `unsupported` (32-bit, big-endian).
    """
    if len(data) == 0:
        raise InputError("empty", "the file is empty", help=_EMPTY_HELP)
    if data[:4] != b"\x7fELF":
        raise InputError("not-a-core", "not a core dump: the file does not begin with the ELF magic")
    if len(data) < _HEADER.size:
        raise InputError("truncated", f"only {len(data)} bytes: cut off inside the ELF header")
    ident = data[:16]
    if ident[4] != 2 or ident[5] != 1:
        raise InputError("unsupported", "only 64-bit little-endian cores can be read")
    fields = _HEADER.unpack(data[: _HEADER.size])
    count = fields[10]
    if count == PN_XNUM:
        count = _extended_count(data, fields[6])
    return Header(fields[1], MACHINES.get(fields[2]), fields[5], count, fields[9])


_EMPTY_HELP = "The disk was full or the core limit was 0 when the process died."


def _extended_count(data: Buffer, sections_at: int) -> int:
    """More than 65,534 segments: the true count is in the first section header's sh_info."""
    raw = data[sections_at : sections_at + _SECTION.size]
    if len(raw) < _SECTION.size:
        return PN_XNUM
    return int(_SECTION.unpack(raw)[7])


def read_segments(data: Buffer, header: Header) -> Iterator[Segment]:
    """Yield the program headers that lie within the data; a cut-off table just ends early."""
    for raw in _tables(data, header):
        yield from map(_as_segment, _SEGMENT.iter_unpack(raw))


def _tables(data: Buffer, header: Header) -> Iterator[bytes]:
    """The same as they lie in the file, a thousand at a time."""
    if header.segment_size != _SEGMENT.size:
        return
    end = header.segments_at + header.segment_count * _SEGMENT.size
    for start in range(header.segments_at, end, _AT_ONCE):  # a damaged header may announce any number
        raw = data[start : min(start + _AT_ONCE, end)]
        whole = len(raw) // _SEGMENT.size * _SEGMENT.size
        hole = _hole(raw, whole)
        yield raw[: whole if hole is None else hole]
        if hole is not None:
            return
        if len(raw) < min(_AT_ONCE, end - start):
            return


def _hole(raw: bytes, size: int) -> int | None:
    """Where a header of nothing but zeros begins, a hole in the file: the kernel writes no empty segments."""
    if 0 not in raw[: size : _SEGMENT.size]:  # the first byte of each header's type
        return None
    nothing = bytes(_SEGMENT.size)
    places = range(0, size, _SEGMENT.size)
    return next((at for at in places if raw[at : at + _SEGMENT.size] == nothing), None)


Row = tuple[int, int, int, int, int, int]
"""A program header as the columns have it."""


@dataclass(frozen=True)
class Columns:
    """Program headers, column by column: a core has hundreds, and of most of them little is asked."""

    types: Sequence[int]
    flags: Sequence[int]
    offsets: Sequence[int]
    addresses: list[int]
    file_sizes: Sequence[int]
    memory_sizes: Sequence[int]

    def chosen(self, choose: Callable[[Sequence[int]], Sequence[int]]) -> Columns:
        """Some of them; `choose` is asked for each column."""
        small = choose(self.types), choose(self.flags), choose(self.offsets)
        return Columns(*small, list(choose(self.addresses)), choose(self.file_sizes), choose(self.memory_sizes))

    def rows(self) -> Iterator[Row]:
        """All of them one by one."""
        return zip(
            self.types, self.flags, self.offsets, self.addresses, self.file_sizes, self.memory_sizes, strict=True
        )

    def of_type(self, kind: int) -> list[int]:
        """Which of them are of one type."""
        found = [-1]
        for _ in range(self.types.count(kind)):
            found.append(self.types.index(kind, found[-1] + 1))
        return found[1:]

    @cached_property
    def end(self) -> int:
        """Where the last of them ends in the file."""
        offsets, sizes = self.offsets[1:], self.file_sizes[1:]
        if offsets and list(accumulate(sizes[:-1], initial=offsets[0])) == list(offsets):
            # Behind the notes the kernel writes one after the other.
            return max(offsets[-1] + sizes[-1], self.offsets[0] + self.file_sizes[0])
        return max(map(add, self.offsets, self.file_sizes), default=0)


_COLUMNS: Latest[Columns] = Latest()


def read_columns(data: Buffer, header: Header) -> Columns:
    """The program headers that lie within the data; the very same object for the same headers."""
    return _COLUMNS.of(b"".join(_tables(data, header)), _columns)


def _columns(raw: bytes) -> Columns:
    halves, words = array("I", raw), array("Q", raw)
    types, flags = halves[0 :: 2 * _WORDS], halves[1 :: 2 * _WORDS]
    offsets, addresses = words[_OFFSET::_WORDS], words[_ADDRESS::_WORDS].tolist()
    return Columns(types, flags, offsets, addresses, words[_FILE_SIZE::_WORDS], words[_MEMORY_SIZE::_WORDS])


def columns_of(segments: Iterable[Segment]) -> Columns:
    """The same of headers that were read one by one."""
    return turned(
        [(one.type, one.flags, one.offset, one.address, one.file_size, one.memory_size) for one in segments]
    )


def turned(rows: Sequence[Row]) -> Columns:
    """Rows as columns."""
    return Columns(*([row[at] for row in rows] for at in range(6)))


def alignment(data: Buffer, header: Header, at: int) -> int:
    """How one of the segments is aligned."""
    start = header.segments_at + at * _SEGMENT.size
    return int(_SEGMENT.unpack(data[start : start + _SEGMENT.size])[-1])


class Note(NamedTuple):
    """One ELF note: the owner's name, its type, and its bytes."""

    owner: bytes
    type: int
    body: bytes


def read_notes(data: bytes, align: int = 4) -> Iterator[Note]:
    """Yield the notes of a note segment; stops at the first one that does not fit."""
    step = 8 if align == 8 else 4
    at, size = 0, len(data)
    while at + _NOTE.size <= size:
        name_size, body_size, kind = _NOTE.unpack_from(data, at)
        if name_size == body_size == kind == 0:
            return  # a hole in the file, or padding: no kernel writes such a note
        name_at = at + _NOTE.size
        body_at = name_at + (name_size + step - 1 & -step)
        end = body_at + body_size
        if end > size:
            return
        owner = data[name_at : name_at + name_size].rstrip(b"\0")
        yield _new(Note, (owner, kind, data[body_at:end]))
        at = body_at + (body_size + step - 1 & -step)


def build_id(notes: bytes, align: int = 4) -> str | None:
    """The GNU build-id in a note segment's bytes, as hex."""
    for note in read_notes(notes, align):
        if note.owner == b"GNU" and note.type == 3 and 0 < len(note.body) <= 64:
            return note.body.hex()
    return None
