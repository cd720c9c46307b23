"""Answers kept with the memory they were found in."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from triage.corefile.elf import PF_R, PF_W, PT_LOAD, Segment, columns_of
from triage.corefile.evidence import Evidence, Found, Noting, Recalled, recall
from triage.corefile.memory import CoreMemory
from triage.corefile.protocol import c_string

_BASE = 0x1000


def memory(contents: bytes = b"", base: int = _BASE) -> CoreMemory:
    """One writable segment."""
    raw = contents.ljust(256, b"\0")
    return CoreMemory(raw, columns_of([Segment(PT_LOAD, PF_R | PF_W, 0, base, len(raw), len(raw), 1)]), [])


def counted(work: Callable[[CoreMemory], object]) -> tuple[Callable[[CoreMemory], object], list[int]]:
    calls: list[int] = []

    def counting(own: CoreMemory) -> object:
        calls.append(1)
        return work(own)

    return counting, calls


def head(own: CoreMemory) -> object:
    return own.read(_BASE, 4)


def test_an_answer_is_kept_from_the_second_time_on() -> None:
    work, calls = counted(head)
    recalled: Recalled[Evidence] = Recalled()
    assert [recall(recalled, "head", memory(b"same"), work) for _ in range(5)] == [b"same"] * 5
    assert len(calls) == 2  # the first is not noted: most processes have no twin


def test_a_byte_that_was_read_and_differs_makes_the_answer_anew() -> None:
    work, calls = counted(head)
    recalled: Recalled[Evidence] = Recalled()
    for text in (b"same", b"same", b"some", b"same", b"some"):
        assert recall(recalled, "head", memory(text), work) == text
    assert len(calls) == 3


def test_what_nobody_read_may_differ() -> None:
    work, calls = counted(head)
    recalled: Recalled[Evidence] = Recalled()
    for text in (b"sameA", b"sameB", b"sameC"):
        assert recall(recalled, "head", memory(text), work) == b"same"
    assert len(calls) == 2


def test_reads_that_gave_nothing_count_as_well() -> None:
    work, calls = counted(lambda own: own.read(0x9000, 4))
    recalled: Recalled[Evidence] = Recalled()
    assert [recall(recalled, "far", memory(), work) for _ in range(3)] == [None] * 3
    assert len(calls) == 2
    assert recall(recalled, "far", memory(b"here", base=0x9000), work) == b"here"


@pytest.mark.parametrize(
    "ask",
    [
        lambda own: own.region_at(_BASE),
        lambda own: own.region_after(0),
        lambda own: tuple(own.regions()),
        lambda own: own.dumped(_BASE, 4),
        lambda own: own.is_dumped(_BASE, _BASE + 4),
    ],
)
def test_what_is_mapped_where_counts_as_well(ask: Callable[[CoreMemory], object]) -> None:
    work, calls = counted(ask)
    recalled: Recalled[Evidence] = Recalled()
    first = [recall(recalled, "map", memory(), work) for _ in range(3)]
    assert first == [ask(memory())] * 3
    moved = memory(base=0x5000)
    assert recall(recalled, "map", moved, work) == ask(moved)
    assert len(calls) == 3


def test_of_a_text_only_the_text_counts() -> None:
    work, calls = counted(lambda own: c_string(own, _BASE + 2))
    recalled: Recalled[Evidence] = Recalled()
    for text in (b"..name\0x", b"..name\0y", b"!!name\0z"):
        assert recall(recalled, "name", memory(text), work) == b"name"
    assert len(calls) == 2
    assert recall(recalled, "name", memory(b"..names\0"), work) == b"names"


def test_gaps_are_compared_where_that_is_asked_for() -> None:
    def ends(own: CoreMemory) -> object:
        return own.read(_BASE, 2), own.read(_BASE + 6, 2)

    for gap, expected in ((0, 2), (8, 3)):
        work, calls = counted(ends)
        recalled: Recalled[Evidence] = Recalled()
        for text in (b"ab....yz", b"ab....yz", b"ab:::.yz"):
            assert recall(recalled, "ends", memory(text), work, gap=gap) == (b"ab", b"yz")
        assert len(calls) == expected


def test_nothing_is_noted_any_more_when_it_was_always_in_vain() -> None:
    recalled, notes = Recalled[Evidence](), list[bool]()

    def work(own: CoreMemory) -> object:
        notes.append(own.notes)
        return own.read(_BASE, 4)

    for at in range(20):
        recall(recalled, "head", memory(bytes([at]) * 4), work)
    assert sum(notes) == 8


def held(recalled: Recalled[Evidence], own: CoreMemory) -> Found[Evidence] | None:
    found = recalled.find("names", lambda evidence: evidence.holds(own) or None)
    return found[0] if found is not None else None


def test_an_answer_that_grew_is_held_with_all_its_evidence() -> None:
    recalled, known = Recalled[Evidence](), {"a": 1}
    held(recalled, memory(b"ab"))
    noting = Noting(memory(b"ab"))
    noting.read(_BASE, 1)
    recalled.keep("names", known, noting.evidence())
    found = held(recalled, memory(b"ac"))
    assert found is not None
    more = Noting(memory(b"ac"), found.evidence)
    more.read(_BASE + 1, 1)
    known["c"] = 2
    recalled.keep("names", known, more.evidence())
    assert held(recalled, memory(b"ab")) is None
    again = held(recalled, memory(b"ac"))
    assert again is not None
    assert again.answer is known


def test_what_is_kept_is_bounded() -> None:
    recalled: Recalled[Evidence] = Recalled()
    large = bytes(1 << 20)
    own = CoreMemory(large, columns_of([Segment(PT_LOAD, PF_R | PF_W, 0, _BASE, len(large), len(large), 1)]), [])
    for question in range(40):
        for _ in range(2):
            recall(recalled, question, own, lambda own: len(own.read(_BASE, 1 << 20) or b""))
    assert recalled._bytes <= 12 << 20
    assert len(recalled._kinds) < 40
