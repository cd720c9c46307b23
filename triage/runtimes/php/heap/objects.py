"""PHP's list of all objects against the heap: an object in use must not lie in a free block."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from triage.model import Confidence, HeapFault
from triage.runtimes.php.fibers import objects
from triage.runtimes.php.heap.bins import BINS
from triage.runtimes.php.heap.check import Walked
from triage.runtimes.php.reader import Reader

_MOST_FAULTS = 5
_MOST_COUNT = 1 << 30


def check_objects(
    reader: Reader, executor: int, walked: Walked, in_module: Callable[[int], bool]
) -> tuple[HeapFault, ...]:
    """Objects that are in use and broken, at most five. `in_module` tells addresses in loaded files."""
    found: list[HeapFault] = []
    code: dict[int, bool] = {}
    for address in objects(reader, executor):
        fault = _examine(reader, address, walked, in_module, code)
        if fault is not None:
            found.append(fault)
            if len(found) == _MOST_FAULTS:
                break
    return tuple(found)


def _examine(
    reader: Reader, address: int, walked: Walked, in_module: Callable[[int], bool], code: dict[int, bool]
) -> HeapFault | None:
    slot = walked.chunks.slot(address)
    size = BINS[slot[1]].size if slot else None
    if slot is not None and slot[0] in walked.lists.free:
        return HeapFault(
            what="object",
            verdict="use-after-free",
            confidence=Confidence.LIKELY,
            slot=address,
            bin=size,
            evidence=("the list of objects has it in use, but its block is in the list of free blocks",),
        )
    reasons = tuple(_wrong(reader, address, in_module, code))
    if not reasons:
        return None
    return HeapFault(
        what="object", verdict=None, confidence=Confidence.LIKELY, slot=address, bin=size, evidence=reasons
    )


def _wrong(reader: Reader, address: int, in_module: Callable[[int], bool], code: dict[int, bool]) -> Iterator[str]:
    """What no live object can have. `code` keeps of handlers whether they lead to code."""
    head, entry, handlers = reader.fields(address, "object", "gc", "ce", "handlers")
    if head is None or handlers is None:
        yield "the list of objects leads to memory that is not there"
        return
    count, kind = head & 0xFFFF_FFFF, head >> 32
    if kind & 0xF != reader.layout.constant("IS_OBJECT"):
        yield f"its type is {kind & 0xF}, not that of an object"
    if count >= _MOST_COUNT:  # zero is no fault: the garbage collector counts down while it works
        yield f"its refcount is {count:#x}"
    if not entry or address % 8 or reader.class_name(entry) is None:
        yield "its class pointer leads to no class"
    if handlers not in code:
        release = reader.field(handlers, "object_handlers", "free_obj")
        code[handlers] = release is not None and in_module(release)
    if not code[handlers]:
        yield f"its handlers ({handlers:#x}) lead to no code"
