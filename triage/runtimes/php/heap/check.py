"""The heap check: chunks, page maps, lists of free blocks, huge blocks, strings, and the sums."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from triage.model import Confidence, HeapCheck, HeapFault
from triage.runtimes.php.heap.bins import BINS, CHUNK, PAGE
from triage.runtimes.php.heap.chunks import Chunks
from triage.runtimes.php.heap.freelists import BadLink, FreeLists
from triage.runtimes.php.heap.neighbours import Blocks
from triage.runtimes.php.heap.shape import Shape
from triage.runtimes.php.heap.verdict import judge
from triage.runtimes.php.reader import Reader
from triage.text import size as in_words

_MOST_HUGE = 100_000
_LARGEST_STEP = CHUNK  # the sum may be off by one block when the process died inside its allocator


@dataclass(frozen=True, slots=True)
class Walked:
    """The parts of a heap that was walked: for other checks that must know which blocks are free."""

    chunks: Chunks
    lists: FreeLists
    blocks: Blocks


def check_heap(reader: Reader, shape: Shape | str, busy: tuple[int, ...] = ()) -> tuple[HeapCheck, Walked | None]:
    """Walk the heap that `calibrate` found; `(result, parts)`, no parts when it could not be walked.

    `busy` are the registers of a process that was stopped from outside: the allocator may have
    been at work on a block that one of them points to, whose list is then only half made. The
    sums are not compared then.
    """
    if isinstance(shape, str):
        return HeapCheck(state="unknown", reason=shape), None
    lacking = HeapCheck(state="unknown", reason="parts of the heap are not in the core"), None
    chunks = Chunks(reader.memory, shape)
    if chunks.missing or not chunks.by_address:
        return lacking
    raw = reader.memory.read(shape.heap + shape.free_slots, 8 * len(BINS)) or bytes(8 * len(BINS))
    lists = FreeLists(chunks, shape, struct.unpack(f"<{len(BINS)}Q", raw))
    if lists.missing:
        return lacking
    walked = Walked(chunks, lists, Blocks(reader, chunks, lists.free))
    huge, trouble = _huge(reader, shape)
    blocks, in_use = _in_use(walked)
    links = [link for link in lists.bad if not _at_work(link, chunks, busy)]
    faults = [*_chunk_faults(chunks), *trouble, *_link_faults(links, walked)]
    if not faults and not busy:
        faults = list(_sum_fault(in_use + huge, shape))
    state = "damaged" if faults else "intact"
    return (
        HeapCheck(
            state=state, chunks=len(chunks.by_address), blocks=blocks, bytes=in_use + huge, faults=tuple(faults)
        ),
        walked,
    )


def _in_use(walked: Walked) -> tuple[int, int]:
    """`(live small blocks, bytes of small and large blocks in use)`."""
    live = [count - free for count, free in zip(walked.chunks.made, walked.lists.counts, strict=True)]
    large = sum(pages.large for pages in walked.chunks.by_address.values())
    return sum(live), sum(count * row.size for count, row in zip(live, BINS, strict=True)) + large * PAGE


def _huge(reader: Reader, shape: Shape) -> tuple[int, list[HeapFault]]:
    """`(bytes in huge blocks, faults)`."""
    address = reader.number(shape.heap + shape.huge_list)
    total, seen = 0, set[int]()
    while address and len(seen) < _MOST_HUGE:
        raw = reader.memory.read(address, 24)
        block, length, following = struct.unpack("<3Q", raw) if raw else (1, 0, 0)
        if raw is None or address in seen or block % CHUNK or length % PAGE or not length:
            text = "the list of huge blocks leads to something that is no entry of it"
            return total, [_fault("huge-list", address, text)]
        seen.add(address)
        total += length
        address = following
    return total, []


def _chunk_faults(chunks: Chunks) -> Iterator[HeapFault]:
    if chunks.trouble is not None:
        yield _fault("chunk", chunks.trouble[0], chunks.trouble[1])
    for address, pages in chunks.by_address.items():
        if pages.broken:
            yield _fault("page-map", address, pages.broken)


def _fault(what: str, address: int | None, text: str) -> HeapFault:
    return HeapFault(what=what, verdict=None, confidence=Confidence.PROVED, slot=address, bin=None, evidence=(text,))


def _at_work(link: BadLink, chunks: Chunks, busy: tuple[int, ...]) -> bool:
    """Whether a register points into the very run of pages the broken link is in."""
    run = chunks.run(link.slot) if link.slot is not None else None
    return run is not None and any(chunks.run(address) == run for address in busy)


def _link_faults(links: Sequence[BadLink], walked: Walked) -> Iterator[HeapFault]:
    for link in links:
        verdict = judge(link, walked.lists, walked.chunks, walked.blocks)
        yield HeapFault(
            what="free-list",
            verdict=verdict.kind,
            confidence=verdict.confidence,
            slot=link.slot,
            bin=BINS[link.bin].size,
            evidence=(*verdict.because, *_surroundings(link, walked)),
        )


def _surroundings(link: BadLink, walked: Walked) -> Iterator[str]:
    """What lies on both sides of the broken block."""
    if link.slot is None:
        yield f"the list of free blocks of {BINS[link.bin].size} bytes begins with {link.value:#x}, which is none"
        return
    if link.expected is not None:
        yield f"its link was {link.expected:#x} before, by the copy that PHP keeps, and is {link.value:#x} now"
    before = walked.blocks.at(link.slot - 1)
    after = walked.blocks.at(link.slot + BINS[link.bin].size)
    for place, block in (("before", before), ("after", after)):
        if block is not None:
            yield f"the block {place} it ({block.start:#x}) is {block.what}"


def _sum_fault(counted: int, shape: Shape) -> Iterator[HeapFault]:
    """The heap's own sum against what was walked."""
    difference = abs(counted - shape.size)
    if difference > _LARGEST_STEP:
        text = f"{in_words(counted)} were found in use, but the heap's own count says {in_words(shape.size)}"
        yield _fault("accounting", None, text)
