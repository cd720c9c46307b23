"""Memory found damaged: what the walk through the interpreter's heap proves."""

from __future__ import annotations

from triage.diagnose.case import Case
from triage.model import Confidence, Finding, HeapFault, Topic
from triage.text import plural

_KINDS = {
    "overflow": ("heap-overflow", "something wrote past the end of its block of memory (buffer overflow)"),
    "use-after-free": (
        "heap-stale-write",
        "something wrote into a block that was already given back (use after free)",
    ),
    "double-free": ("heap-double-free", "a block was given back twice (double free)"),
}
_MOST = 3


def heap_damaged(case: Case) -> Finding | None:
    """PHP's heap contradicts itself; the contradiction is proved, the kind of misuse is a reading of the bytes."""
    heap = case.runtime.heap if case.runtime is not None else None
    if heap is None or heap.state != "damaged" or not heap.faults:
        return None
    first = _most_telling(heap.faults)
    block = f"a block of {first.bin} bytes" if first.bin else "one of its records"
    return Finding(
        rule="heap-damaged",
        topic=Topic.DAMAGE,
        title="PHP's own memory is damaged",
        confidence=Confidence.PROVED if first.what in ("free-list", "page-map", "chunk") else Confidence.LIKELY,
        evidence=(
            f"the walk through PHP's memory ({plural(heap.chunks, 'chunk')}, {plural(heap.blocks, 'block')} in use) "
            f"found {plural(len(heap.faults), 'contradiction')}",
            *(_line(fault) for fault in heap.faults[:_MOST]),
        ),
        explanation=(
            f"Some code wrote where it had no right to; {block} shows it. That code may have run long before: "
            f"the stack "
            "shows who stumbled over the damage, not who made it."
        ),
        next_steps=(
            "A replay under valgrind names the code that did it: USE_ZEND_ALLOC=0 valgrind -q "
            "--undef-value-errors=no php …",
            "Switch off extensions that are not PHP's own, one at a time, on one server.",
        ),
    )


def kind_of_damage(case: Case) -> Finding | None:
    """Overflow, use after free or double free, where the bytes of the damaged block tell."""
    heap = case.runtime.heap if case.runtime is not None else None
    if heap is None or heap.state != "damaged":
        return None
    telling = [fault for fault in heap.faults if fault.verdict in _KINDS]
    if not telling:
        return None
    first = _most_telling(tuple(telling))
    rule, what = _KINDS[first.verdict or ""]
    return Finding(
        rule=rule,
        topic=Topic.DAMAGE,
        title=f"It looks as if {what}",
        confidence=first.confidence if first.confidence is not Confidence.PROVED else Confidence.LIKELY,
        evidence=first.evidence,
        explanation=(
            f"The damaged block has {first.bin} bytes: look for code that handles things of that size."
            if first.bin
            else "The damaged place has no size of its own."
        ),
    )


def _most_telling(faults: tuple[HeapFault, ...]) -> HeapFault:
    order = {Confidence.PROVED: 0, Confidence.LIKELY: 1, Confidence.GUESS: 2}
    return min(faults, key=lambda fault: (fault.verdict not in _KINDS, order[fault.confidence]))


def _line(fault: HeapFault) -> str:
    block = f", block of {fault.bin} bytes" if fault.bin else ""
    place = f" at {fault.slot:#x}" if fault.slot is not None else ""
    return f"{fault.what}{block}{place}: {fault.evidence[0] if fault.evidence else 'it contradicts itself'}"
