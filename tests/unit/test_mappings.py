"""The list of mapped files as columns, held against the same list gone through line by line."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from hypothesis import given
from hypothesis import strategies as st

from triage.corefile.elf import PF_R, PF_X, PT_LOAD, Segment, columns_of
from triage.corefile.latest import Latest
from triage.corefile.mappings import FileMapping, mappings_of, read_mappings
from triage.corefile.memory import CoreMemory

_PAGE = 4096


def body(files: Iterable[FileMapping], page: int = _PAGE) -> bytes:
    """An NT_FILE note's body."""
    rows = list(files)
    lines = b"".join(struct.pack("<3Q", one.start, one.end, one.offset // page) for one in rows)
    names = b"".join(one.path.encode("utf-8", "surrogateescape") + b"\0" for one in rows)
    return struct.pack("<2Q", len(rows), page) + lines + names


def line_by_line(files: Sequence[FileMapping]) -> list[tuple[str, int, int]]:
    """`Mappings.runs`, the plain way."""
    found: list[tuple[str, int, int]] = []
    path, begun, end = None, 0, 0
    for start, to, offset, name in sorted(files):
        if offset == 0 or name != path:
            if path is not None:
                found.append((path, begun, end))
            path, begun = name if offset == 0 else None, start
        end = to
    return [*found, (path, begun, end)] if path is not None else found


@st.composite
def lists_of_files(draw: st.DrawFn) -> list[FileMapping]:
    """Mappings that do not overlap, in any order."""
    at, found = 0x1000, []
    for _ in range(draw(st.integers(0, 12))):
        at += _PAGE * draw(st.integers(0, 2))
        end = at + _PAGE * draw(st.integers(1, 3))
        found.append(FileMapping(at, end, _PAGE * draw(st.integers(0, 2)), draw(st.sampled_from(["/a", "/b", "/é"]))))
        at = end
    return draw(st.permutations(found))


@given(lists_of_files())
def test_columns_tell_what_the_lines_do(files: list[FileMapping]) -> None:
    found, ordered = read_mappings(body(files)), sorted(files)
    assert found is not None
    assert (list(found), list(mappings_of(files))) == (ordered, ordered)
    assert found[1:3] == ordered[1:3]
    assert found.runs() == mappings_of(files).runs() == line_by_line(files)
    assert found.starting("/a", "/b") == [one.start for one in ordered if one.path in ("/a", "/b")]
    for address in range(0, 0x40000, _PAGE // 2):
        assert found.at(address) == next((one for one in ordered if one.start <= address < one.end), None)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3), st.booleans()), max_size=8), st.data())
def test_what_was_dumped_among_ranges(rows: list[tuple[int, int, bool]], data: st.DataObject) -> None:
    at, loads, dumped = 0x1000, [], set[int]()
    for gap, pages, there in rows:
        at += gap * _PAGE
        size = pages * _PAGE
        loads.append(Segment(PT_LOAD, PF_R | PF_X, 0, at, size if there else 0, size, _PAGE))
        dumped |= set(range(at, at + size, _PAGE)) if there else set()
        at += size
    memory = CoreMemory(bytes(3 * _PAGE), columns_of(loads), [])
    spans = st.tuples(st.integers(0, at // _PAGE + 1), st.integers(1, 4))
    ranges = [(first * _PAGE, (first + count) * _PAGE) for first, count in data.draw(st.lists(spans))]
    expected = [n for n, (a, b) in enumerate(ranges) if any(page in dumped for page in range(a, b, _PAGE))]
    assert memory.dumped_among(ranges) == expected
    assert [memory.is_dumped(a, b) for a, b in ranges] == [n in expected for n in range(len(ranges))]


def test_the_same_bytes_give_the_same_object() -> None:
    kept: Latest[list[bytes]] = Latest()
    first = kept.of(b"one", lambda raw: [raw])
    assert kept.of(b"two", lambda raw: [raw]) == [b"two"]
    assert kept.of(bytes(bytearray(b"one")), lambda raw: [raw, raw]) is first
    for at in range(40):
        kept.of(b"%d" % at, lambda raw: [raw])
    assert kept.of(b"one", lambda raw: [raw]) is not first  # the latest only are kept
    long = bytes(1 << 18)
    assert kept.of(long, lambda raw: [raw]) is not kept.of(long, lambda raw: [raw])
