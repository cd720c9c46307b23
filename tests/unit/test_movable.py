"""Evidence of one process held against another one in which everything lies elsewhere."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.corefile.elf import PF_R, PF_W, PT_LOAD, Segment, columns_of
from triage.corefile.evidence import Noting
from triage.corefile.memory import CoreMemory
from triage.corefile.modules import MappedModule
from triage.corefile.movable import Files, Movable, Shift, Unmoved, files_of, movable
from triage.corefile.protocol import Region

_SIZE = 0x1000
_FILE, _HEAP, _STACK = 0x10_0000, 0x20_0000, 0x30_0000
Work = Callable[[CoreMemory], object]


class Process:
    """A file with a variable that leads to the heap, from where a chain of `(next, value)` goes on."""

    def __init__(self, file: int = _FILE, heap: int = _HEAP, stack: int = _STACK) -> None:
        self.file, self.heap, self.stack = file, heap, stack
        self.raw = {file: bytearray(_SIZE), heap: bytearray(_SIZE), stack: bytearray(_SIZE)}
        self.put(file + 0x40, heap + 0x100)
        self.put(heap + 0x100, heap + 0x200, 0x1111)
        self.put(heap + 0x200, stack + 0x80, 0x2222)
        self.put(stack + 0x80, file + 0x400, 0x3333)
        self.put(file + 0x400, 0, 0x4444)

    def put(self, address: int, *words: int) -> None:
        """Write words."""
        base = max(base for base in self.raw if base <= address)
        struct.pack_into(f"<{len(words)}Q", self.raw[base], address - base, *words)

    @property
    def memory(self) -> CoreMemory:
        """All of it."""
        data, loads = b"", list[Segment]()
        for base, raw in sorted(self.raw.items()):
            loads.append(Segment(PT_LOAD, PF_R | PF_W, len(data), base, len(raw), len(raw), 1))
            data += raw
        return CoreMemory(data, columns_of(loads), [])

    @property
    def files(self) -> Files:
        """The one file."""
        return files_of([MappedModule("/bin/x", self.file, self.file + _SIZE, self.file, "ab", False)])

    def values(self, memory: CoreMemory) -> list[int]:
        """What the chain says."""
        found, at = list[int](), self.file + 0x40
        (at,) = struct.unpack("<Q", memory.read(at, 8) or bytes(8))
        while at and len(found) < 9:
            cell = memory.read(at, 16)
            if cell is None:
                return [*found, -1]
            at, value = struct.unpack("<QQ", cell)
            found.append(value)
        return found

    def noted(self, work: Work | None = None) -> Movable:
        """What the answer is made of here."""
        noting = Noting(self.memory)
        (work or self.values)(noting)
        found = movable(noting, self.files)
        assert found is not None
        return found

    def fits(self, evidence: Movable) -> Shift | None:
        """Whether that holds here."""
        return evidence.holds(self.memory, self.files)


def elsewhere() -> Process:
    return Process(0x7777_0000_0000, 0x5555_0000_1230, 0x7FFF_0000_0010)


def test_what_differs_in_addresses_alone_is_the_same() -> None:
    shift = elsewhere().fits(Process().noted())
    assert shift is not None
    assert shift.moved(_FILE + 5) == 0x7777_0000_0005
    assert shift.moved(_HEAP + 0x200) == 0x5555_0000_1430
    assert shift.moved(_STACK) == 0x7FFF_0000_0010
    assert shift.moved(42) == 42


@pytest.mark.parametrize("place", [0x108, 0x10F, 0x208])
def test_one_byte_that_is_no_address_and_differs(place: int) -> None:
    other = elsewhere()
    other.raw[other.heap][place] ^= 1
    assert other.fits(Process().noted()) is None


def test_one_address_that_leads_elsewhere() -> None:
    for words in ((0x210,), (0x100,)):
        other = elsewhere()
        other.put(other.heap + 0x100, other.heap + words[0])
        assert other.fits(Process().noted()) is None


def test_what_was_moved_by_less_than_an_allocation_is_not_the_same() -> None:
    assert Process(heap=_HEAP + 8).fits(Process().noted()) is None
    assert Process(heap=_HEAP + 16).fits(Process().noted()) is not None


def test_an_area_is_moved_as_a_whole() -> None:
    """Two addresses that lead into one area have to agree on how far it was moved."""

    def both(own: CoreMemory) -> object:
        return own.read(_FILE + 0x40, 8), own.read(_FILE + 0x60, 8)

    one, other, third = Process(), elsewhere(), elsewhere()
    one.put(_FILE + 0x60, _HEAP + 0x300)
    other.put(other.file + 0x60, other.heap + 0x300)
    third.put(third.file + 0x60, third.heap + 0x340)
    evidence = one.noted(both)
    assert other.fits(evidence) is not None
    assert third.fits(evidence) is None


def test_many_addresses_into_one_area() -> None:
    places = range(0, 64 * 8, 8)
    one, other = Process(), elsewhere()
    for process in (one, other):
        process.put(process.file + 0x800, *(process.heap + place for place in places))
    evidence = one.noted(lambda own: own.read(_FILE + 0x800, 64 * 8))
    assert other.fits(evidence) is not None
    other.put(other.file + 0x808, other.heap)
    assert other.fits(evidence) is None


def test_what_nobody_read_may_differ() -> None:
    other = elsewhere()
    other.put(other.heap + 0x110, 0xDEAD)
    other.put(other.heap + 0x180, 0xBEEF)
    assert other.fits(Process().noted()) is not None


def test_reads_that_gave_nothing_count_as_well() -> None:
    evidence = Process().noted(lambda own: (own.read(_FILE + 0x40, 8), own.read(_HEAP + 0xFFC, 8)))
    other = elsewhere()
    assert other.fits(evidence) is not None
    other.raw[other.heap] += bytes(16)
    assert other.fits(evidence) is None


def test_what_is_mapped_where_counts_as_well() -> None:
    def asking(own: CoreMemory) -> object:
        return own.read(_FILE + 0x40, 8), own.region_at(_HEAP + 0x10), own.is_dumped(_HEAP, _HEAP + 8)

    evidence = Process().noted(asking)
    other = elsewhere()
    assert other.fits(evidence) is not None
    other.raw[other.heap] += bytes(_SIZE)
    assert other.fits(evidence) is None


def test_an_answer_with_all_regions_in_it_is_not_moved() -> None:
    noting = Noting(Process().memory)
    noting.regions()
    assert movable(noting, Process().files) is None


def test_what_no_address_leads_to_cannot_be_found_again() -> None:
    noting = Noting(Process().memory)
    noting.read(_HEAP, 8)
    assert movable(noting, Process().files) is None


def test_an_area_nothing_led_to_has_no_place() -> None:
    shift = elsewhere().fits(Process().noted(lambda own: own.read(_FILE + 0x40, 8)))
    assert shift is not None
    with pytest.raises(Unmoved):
        shift.moved(_STACK)


def test_too_much_is_not_kept() -> None:
    process = Process()
    process.raw[_FILE] += bytes(1 << 17)
    noting = Noting(process.memory)
    noting.read(_FILE, 1 << 17)
    assert movable(noting, process.files) is None


def test_evidence_that_holds_is_evidence_of_the_other_process() -> None:
    def asking(own: CoreMemory) -> object:
        return own.read(_FILE + 0x40, 8), own.read(_HEAP + 0xFFC, 8), own.region_at(_HEAP)

    other = elsewhere()
    evidence = Process().noted(asking)
    shift = other.fits(evidence)
    assert shift is not None
    there = evidence.there(other.memory, shift)
    assert there.holds(other.memory)
    assert there.lacking == ((other.heap + 0xFFC, 8),)
    assert [answer for _, _, answer in there.told] == [Region(other.heap, other.heap + _SIZE, PF_R | PF_W, None)]
    other.put(other.file + 0x40, other.heap)
    assert not there.holds(other.memory)


@given(
    st.integers(1, 1 << 20), st.integers(1, 1 << 20), st.integers(1, 1 << 20),
    st.sampled_from(["file", "heap", "stack"]), st.integers(0, _SIZE - 1), st.integers(0, 255),
)  # fmt: skip
def test_what_holds_gives_the_same_answer(file: int, heap: int, stack: int, where: str, at: int, byte: int) -> None:
    """Whatever is changed, where the evidence holds the work done anew says the same."""
    other = Process(0x7000_0000_0000 + (file << 12), 0x5000_0000_0000 + (heap << 4), 0x7FF0_0000_0000 + (stack << 4))
    other.raw[getattr(other, where)][at] = byte
    one = Process()
    if other.fits(one.noted()) is not None:
        assert other.values(other.memory) == one.values(one.memory)
