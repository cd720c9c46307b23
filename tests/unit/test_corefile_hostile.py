"""Cores made to hurt: whatever a file says of itself, reading it ends soon, small and in words."""

from __future__ import annotations

import random
import struct
import time
from dataclasses import replace
from pathlib import Path

import pytest

from triage.corefile import CoreFile, open_core, read_core
from triage.corefile.linkmap import loaded_names
from triage.errors import InputError

from . import guarded, makecore
from .makecore import HEADER, HEAP, PAGE, SEGMENT, STACK, Core, Load, good, note, nt_file, prstatus

SOON = 1.0
MB = 1 << 20


def touch(core: CoreFile) -> None:
    """Ask a core everything a caller may ask."""
    assert isinstance(core.truncated, bool)
    assert core.executable is None or core.executable in core.modules
    assert all(isinstance(argument, str) for argument in core.arguments)
    list(loaded_names(core.memory, core.notes.auxv))
    for region in core.memory.regions()[:100]:
        for address in (region.start - 1, region.start, region.end - 1, region.end):
            found = core.memory.read(address, 16)
            assert found is None or len(found) == 16
            core.memory.region_at(address)
            core.memory.region_after(address)
            core.memory.dumped(address, 16)
            core.module_at(address)


def outcome(path: Path) -> str:
    """`read`, or the code of the refusal; fails when it takes long."""
    begun = time.process_time()
    try:
        with open_core(path) as core:
            touch(core)
        code = "read"
    except InputError as error:
        code = error.code
    assert time.process_time() - begun < SOON
    return code


def parse(core: Core) -> CoreFile:
    return read_core(Path("/core"), core.build())


HUGE = 2**64 - 1
THREAD = prstatus(registers={"rip": 0x10, "rsp": STACK})
HOSTILE: dict[str, tuple[str, Core]] = {
    "more segments than the file holds": ("read", Core(notes=[THREAD], segment_count=60_000)),
    "segment table beyond the end": ("truncated", Core(notes=[THREAD], segments_at=HUGE)),
    "segment table over the header": ("damaged", Core(notes=[THREAD], segments_at=0)),
    "segment records of another size": ("truncated", Core(notes=[THREAD], segment_size=32)),
    "no size of segment records": ("truncated", Core(notes=[THREAD], segment_size=0)),
    "notes beyond the end": ("truncated", Core(notes=[THREAD], note_offset=HUGE)),
    "notes larger than the file": ("read", Core(notes=[THREAD], note_size=2**63)),
    "offset and size that wrap round": ("truncated", Core(notes=[THREAD], note_offset=HUGE - 8, note_size=HUGE)),
    "extended count without a section": ("truncated", Core(notes=[THREAD], segment_count=0xFFFF)),
    "extended count at the end of time": (
        "read",
        Core(notes=[THREAD], segment_count=0xFFFF, sections_at=HUGE),
    ),
    "note with a name of 4 GiB": ("damaged", Core(notes=[struct.pack("<III", 2**32 - 1, 0, 1) + bytes(64)])),
    "note with a body of 4 GiB": ("damaged", Core(notes=[struct.pack("<III", 5, 2**32 - 1, 1) + b"CORE\0"])),
    "sizes whose sum wraps 32 bits": ("damaged", Core(notes=[struct.pack("<III", 2**31, 2**31, 1) + bytes(64)])),
    "a good note before a broken one": ("read", Core(notes=[THREAD, struct.pack("<III", HUGE & 0xFFFFFFFF, 0, 1)])),
    "thread state too short": ("damaged", Core(notes=[note(1, bytes(111))])),
    "thread state without registers": ("read", Core(notes=[note(1, bytes(112))])),
    "thread state of no bytes beside a good one": ("read", Core(notes=[note(1, b""), THREAD])),
    "2**60 mapped files": ("read", Core(notes=[THREAD, nt_file([(0, PAGE, 0, b"/a")], count=2**60)])),
    "2**64-1 mapped files": ("read", Core(notes=[THREAD, nt_file([], count=HUGE)])),
    "list of mapped files of 3 bytes": ("read", Core(notes=[THREAD, note(makecore.NT_FILE, b"abc")])),
    "mapped files that end before they start": ("read", Core(notes=[THREAD, nt_file([(HUGE, 0, 0, b"/a")])])),
    "segments at the end of memory": ("read", Core(notes=[THREAD], loads=[Load(HUGE - 7, b"x" * PAGE)])),
    "segments that wrap round": ("read", Core(notes=[THREAD], loads=[Load(HUGE - 7, b"x", memory_size=HUGE)])),
    "offset of a segment beyond the file": (
        "read",
        Core(notes=[THREAD], loads=[Load(HEAP, memory_size=PAGE, file_size=PAGE, offset=HUGE)]),
    ),
    "odd auxiliary vector": ("read", Core(notes=[THREAD, note(makecore.NT_AUXV, b"x" * 31)])),
    "short siginfo": ("read", Core(notes=[THREAD, note(makecore.NT_SIGINFO, b"x" * 23)])),
    "short process info": ("read", Core(notes=[THREAD, note(makecore.NT_PRPSINFO, b"x" * 135)])),
}


@pytest.mark.parametrize(("expected", "core"), HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_core(expected: str, core: Core, tmp_path: Path) -> None:
    path = tmp_path / "core"
    path.write_bytes(core.build())
    assert outcome(path) == expected


def test_damaged_notes_are_named() -> None:
    core = parse(Core(notes=[note(1, b""), THREAD, nt_file([(0, PAGE, 0, b"/a")], count=2**60)]))
    assert core.notes.broken == ("NT_PRSTATUS", "NT_FILE")
    assert core.notes.files == ()
    assert len(core.notes.threads) == 1


def test_a_last_path_without_terminator_is_no_reason_to_lose_the_list() -> None:
    body = struct.pack("<QQ", 1, PAGE) + struct.pack("<QQQ", HEAP, HEAP + PAGE, 2) + b"/usr/lib/x.so"
    files = parse(Core(notes=[THREAD, note(makecore.NT_FILE, body)])).notes.files
    assert [(file.start, file.end, file.offset, file.path) for file in files] == [
        (HEAP, HEAP + PAGE, 2 * PAGE, "/usr/lib/x.so")
    ]


def test_paths_that_are_no_text() -> None:
    core = parse(Core(notes=[THREAD, nt_file([(0, PAGE, 0, b"/caf\xe9\x1b[2J")])]))
    assert core.notes.files[0].path.encode("utf-8", "surrogateescape") == b"/caf\xe9\x1b[2J"


def test_fewer_paths_than_mappings_is_a_broken_list() -> None:
    body = struct.pack("<QQ", 3, PAGE) + bytes(72) + b"/only\0"
    core = parse(Core(notes=[THREAD, note(makecore.NT_FILE, body)]))
    assert (core.notes.files, core.notes.broken) == ((), ("NT_FILE",))


def test_more_than_65535_segments() -> None:
    """The kernel's PN_XNUM escape: the true count is in the first section header."""
    count = 66_000
    notes_at = HEADER + SEGMENT * count
    sections_at = notes_at + len(THREAD)
    table = [makecore.segment(makecore.PT_NOTE, offset=notes_at, file_size=len(THREAD))]
    table += [
        makecore.segment(makecore.PT_LOAD, address=HEAP + at * PAGE, memory_size=PAGE) for at in range(count - 2)
    ]
    last = HEAP + count * PAGE
    table.append(
        makecore.segment(makecore.PT_LOAD, address=last, offset=sections_at + 64, file_size=4, memory_size=PAGE)
    )
    stated = Core(segment_count=0xFFFF, sections_at=sections_at)
    data = b"".join([makecore.header(stated, 0xFFFF), *table, THREAD, makecore.first_section(count), b"LAST"])
    begun = time.process_time()
    core = read_core(Path("/core"), data)
    assert core.memory.read(last, 4) == b"LAST"
    assert len(core.memory.regions()) == count - 1
    assert time.process_time() - begun < 2 * SOON


def test_overlapping_segments_answer_from_one_of_them() -> None:
    core = parse(Core(notes=[THREAD], loads=[Load(HEAP, b"A" * PAGE), Load(HEAP + 16, b"B" * 32)]))
    assert core.memory.read(HEAP, 16) == b"A" * 16
    assert core.memory.read(HEAP + 16, 32) in (b"A" * 32, b"B" * 32)
    assert core.memory.read(HEAP + PAGE, 1) is None
    touch(core)


def test_a_segment_gives_no_bytes_beyond_its_own_end() -> None:
    liar = Load(HEAP, b"A" * 32, memory_size=16)
    core = parse(Core(notes=[THREAD], loads=[liar, Load(HEAP + 16, b"B" * 16)]))
    assert core.memory.read(HEAP, 32) == b"A" * 16 + b"B" * 16


def test_a_loader_list_that_bites_its_tail_ends() -> None:
    table = HEAP
    rows = makecore.segment(6, address=0) + makecore.segment(2, address=0x200, memory_size=32)
    page = bytearray(PAGE)
    page[:112] = rows
    struct.pack_into("<4Q", page, 0x200, 21, HEAP + 0x300, 0, 0)  # DT_DEBUG
    struct.pack_into("<Q", page, 0x308, HEAP + 0x400)  # r_debug.r_map
    struct.pack_into("<4Q", page, 0x400, 0x1111, HEAP + 0x600, 0, HEAP + 0x500)
    struct.pack_into("<4Q", page, 0x500, 0x2222, HEAP + 0x610, 0, HEAP + 0x400)
    page[0x600:0x606], page[0x610:0x616] = b"/a.so\0", b"/b.so\0"
    core = parse(Core(notes=[THREAD, makecore.auxv({3: table, 4: 56, 5: 2})], loads=[Load(HEAP, bytes(page))]))
    assert list(loaded_names(core.memory, core.notes.auxv)) == [(0x1111, "/a.so"), (0x2222, "/b.so")]


def test_500_cores_with_random_damage(tmp_path: Path) -> None:
    """Flipped bytes: read or refused, nothing else, and each soon."""
    chance = random.Random(20260301)
    whole = good().build()
    ends = HEADER + 7 * SEGMENT + sum(map(len, good().notes))
    path = tmp_path / "core"
    counts: dict[str, int] = {}
    for turn in range(500):
        data = bytearray(whole)
        # Half of the turns hit the headers and notes only, where a byte decides most.
        reach = ends if turn % 2 else len(data)
        for _ in range(chance.choice((1, 2, 5, 20, 100))):
            data[chance.randrange(reach)] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        path.write_bytes(data)
        try:
            code = outcome(path)
        except (InputError, AssertionError):
            raise
        except Exception as error:
            raise AssertionError(f"turn {turn}: {type(error).__name__}: {error}") from error
        counts[code] = counts.get(code, 0) + 1
    assert counts["read"] > 100
    assert set(counts) <= {"read", "not-a-core", "unsupported", "truncated", "damaged"}


OPEN = """
from pathlib import Path
from triage.corefile import open_core
from triage.errors import InputError
try:
    with open_core(Path(sys.argv[1])) as core:
        print(core.size, core.truncated, len(core.memory.regions()))
        for at in map(int, sys.argv[2:]):
            print(core.memory.read(at, 4))
except InputError as error:
    print(error.code)
"""


def sparse(path: Path, data: bytes, size: int) -> Path:
    with path.open("wb") as file:
        file.write(data)
        file.truncate(size)
    return path


def test_a_sparse_core_of_10_gib_costs_what_is_read(tmp_path: Path) -> None:
    size, offset = 10 * 2**30, 1 << 20
    load = Load(HEAP, memory_size=size - offset, file_size=size - offset, offset=offset)
    path = sparse(tmp_path / "core", Core(notes=[THREAD], loads=[load]).build(), size)
    with path.open("r+b") as file:
        file.seek(-4, 2)
        file.write(b"LAST")
    last = HEAP + size - offset - 4
    done = guarded.run(OPEN, path, str(HEAP), str(last), str(last + 1), heap=200 * MB)
    assert done.output == f"{size} False 1\nb'\\x00\\x00\\x00\\x00'\nb'LAST'\nNone\n", done.errors
    assert done.peak is not None
    assert 5 * MB < done.peak < 200 * MB
    assert done.seconds is not None
    assert done.seconds < 5


def zeros_as_notes(size: int) -> tuple[bytes, int]:
    return Core(notes=[THREAD], note_size=size).build(), size


def zeros_as_paths(size: int) -> tuple[bytes, int]:
    list_ = struct.pack("<IIIQ", 5, size, makecore.NT_FILE, 0)[:12] + b"CORE\0\0\0\0" + struct.pack("<QQ", 0, PAGE)
    return Core(notes=[THREAD, list_], note_size=size + 4096).build(), size + 8192


def zeros_as_segments(size: int) -> tuple[bytes, int]:
    core = Core(notes=[THREAD], segment_count=0xFFFF)
    sections_at = len(core.build())
    data = replace(core, sections_at=sections_at).build() + makecore.first_section(2**32 - 1)
    return data, size


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(zeros_as_notes(16 * MB), id="16 MB of zeros as notes"),
        pytest.param(zeros_as_paths(32 * MB), id="32 MB of zeros as paths in NT_FILE"),
        pytest.param(zeros_as_segments(64 * MB), id="2**32-1 segments in a hole of 64 MB"),
    ],
)
def test_holes_where_the_headers_should_be_are_cheap(made: tuple[bytes, int], tmp_path: Path) -> None:
    path = sparse(tmp_path / "core", *made)
    done = guarded.run(OPEN, path, seconds=4, heap=120 * MB)
    assert done.peak is not None, done.errors[-300:]
    assert done.seconds is not None
    assert (done.peak < 200 * MB, done.seconds < 2) == (True, True)
