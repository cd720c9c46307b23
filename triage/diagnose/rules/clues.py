"""What the value tells that was taken for an address: text, a marker of freed memory, a number, a freed block."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator

from triage.diagnose.case import FAULTS, Case
from triage.diagnose.wording import distance_from_null, is_copy, plain
from triage.model import AccessKind, Confidence, Finding, Topic

_TEXT = 7
_REPEATED = 7
_WORD = 8
_PAGE, _TAIL = 4096, 256


def wrong_value(case: Case) -> Finding | None:
    """The first of: one byte repeated, text, half an address, a fraction."""
    if case.signal is None or case.signal.name not in FAULTS or case.signal.sender is not None:
        return None
    for name, value in _suspects(case):
        for look in (_poison, _text, _truncated, _double):
            finding = look(case, name, value)
            if finding is not None:
                return finding
    return None


def _suspects(case: Case) -> Iterator[tuple[str, int]]:
    """`(where it was, value)` of what was taken for an address: the base of the refused access, a jump's goal."""
    fault = case.fault
    if fault is None:
        return
    if fault.operand is None:
        yield "the address that was called", fault.address
        return
    if fault.operand.base is not None and fault.operand.base != "rip" and fault.operand.base_value is not None:
        yield fault.operand.base, fault.operand.base_value
    if fault.load is not None:
        raw = case.memory.read(fault.load.address, _WORD)
        if raw is not None:
            yield f"the memory at {fault.load.address:#x}", int.from_bytes(raw, "little")


def _poison(case: Case, name: str, value: int) -> Finding | None:
    """One byte repeated: allocators and debugging tools fill freed or fresh memory so."""
    raw = value.to_bytes(_WORD, "little")
    byte = max(set(raw), key=raw.count)
    if raw.count(byte) < _REPEATED or byte in (0, 0xFF):
        return None
    return Finding(
        rule="poison",
        topic=Topic.CLUE,
        title=f"The address was made of one byte repeated ({byte:#04x}): a filler for memory that is not in use",
        confidence=Confidence.LIKELY,
        evidence=(f"{name} held {value:#018x}",),
        explanation=(
            "Allocators and memory checkers fill blocks with a fixed byte when they are given back, or before they "
            "are first used. So the address was read from a block that had been freed, or was never filled in."
        ),
        next_steps=("Is MALLOC_PERTURB_, a debugging allocator or a checker active in this process?",),
    )


def _text(case: Case, name: str, value: int) -> Finding | None:
    """Eight readable characters where an address should be."""
    raw = value.to_bytes(_WORD, "little")
    printable = sum(32 <= byte < 127 for byte in raw)
    if printable < _TEXT or (printable < _WORD and raw[-1] != 0):
        return None
    shown = masked(raw.rstrip(b"\0").decode("latin-1"))
    return Finding(
        rule="text-as-pointer",
        topic=Topic.CLUE,
        title=f"Text stood where an address should be: {shown}",
        confidence=Confidence.LIKELY,
        evidence=(
            f"{name} held {value:#018x}, which reads as the characters {shown}"
            + ("" if shown.startswith('"') else " (letters shown as a, digits as 0: it may be a secret)"),
        ),
        explanation=(
            "A string was written over something that was no string: it was longer than the room for it, or it went "
            "into memory that had been given to somebody else. What the text looks like often tells where it comes "
            "from."
        ),
        next_steps=("Which of your data looks like this: a name, a header, a path? Look for code that handles it.",),
    )


def masked(text: str) -> str:
    """Plain words as they are, in quotes; anything else by its shape, since it may be part of a secret."""
    if all(char.isalpha() or char in " _-./\\" for char in text) or len(set(text)) == 1:
        return f'"{text}"'
    return "".join("a" if char.isalpha() else "0" if char.isdigit() else char for char in text)


def _truncated(case: Case, name: str, value: int) -> Finding | None:
    """An address that lost its upper half: with another mapping's upper half it leads into that mapping."""
    if not 1 << 16 <= value < 1 << 32 or case.region(value) is not None:
        return None
    uppers = {address >> 32 << 32 for address in case.registers.values() if case.region(address) is not None}
    homes = sorted(upper for upper in uppers if upper and case.region(upper | value) is not None)
    if not homes:
        return None
    return Finding(
        rule="truncated-pointer",
        topic=Topic.CLUE,
        title="The address seems to have lost its upper half",
        confidence=Confidence.GUESS,
        evidence=(f"{name} held {value:#x}; {homes[0] | value:#x} would be memory that is there",),
        explanation=(
            "On 64-bit machines an address has eight bytes. C code that was built against a wrong or missing header "
            "passes on only four of them. That is typical of an extension that was compiled wrongly."
        ),
        next_steps=("Rebuild or update the extension or library the innermost frames belong to.",),
    )


def _double(case: Case, name: str, value: int) -> Finding | None:
    """The bit pattern of a sane fraction."""
    number = struct.unpack("<d", value.to_bytes(_WORD, "little"))[0]
    if not math.isfinite(number) or not 1e-6 < abs(number) < 1e15 or not _round(value):
        return None
    return Finding(
        rule="float-as-pointer",
        topic=Topic.CLUE,
        title=f"The address reads as the number {number:g}: a float may have been taken for an address",
        confidence=Confidence.GUESS,
        evidence=(f"{name} held {value:#018x}, the bits of the floating point number {number!r}",),
        explanation=(
            f"A {case.language} float and an address take the same room. Code that takes the one for the other has "
            "mixed up the type of a value."
        ),
    )


def _round(value: int) -> bool:
    """Whether the number has few digits: the last bytes of its bits are zero, as in 1.5 or 300.0."""
    return value & 0xFFFF_FFFF == 0 and value >> 52 != 0 and distance_from_null(value) is None


def ran_off_the_end(case: Case) -> Finding | None:
    """A filling or copying write came to the end of memory it may write to, from inside of that memory."""
    fault, top = case.fault, next(case.native(), None)
    if fault is None or fault.kind is not AccessKind.WRITE or top is None or not is_copy(top):
        return None
    here = case.region(fault.address)
    border = here.start if here is not None else fault.address & ~(_PAGE - 1)
    before = case.region(border - 1)
    if fault.address - border >= _PAGE or before is None or not before.flags & 2 or before.path is not None:
        return None
    tail = case.memory.read(border - _TAIL, _TAIL)
    if not tail or len(set(tail)) != 1:
        return None  # what lies before the border was not written by this very filling, or it cannot be seen
    return Finding(
        rule="ran-off-the-end",
        topic=Topic.CLUE,
        title=f"{plain(top.function or '')}() wrote until its memory ended: it was told far too large a size",
        confidence=Confidence.LIKELY,
        evidence=(
            f"the write was refused at {fault.address:#x}, where memory that can be written ends ({border:#x})",
            f"the {_TAIL} bytes before that border all hold {tail[0]:#04x}, as if filled up to there",
        ),
        explanation=(
            "The size was too large, negative, or counted in the wrong unit. Everything between the block it was "
            "meant for and the border is overwritten, so whatever else is found damaged is its doing."
        ),
        next_steps=("Look at the function that called it, and at the size it asks for.",),
    )


def freed_block(case: Case) -> Finding | None:
    """The refused access used, or read its address from, a block that the interpreter has given back."""
    fault = case.fault
    if fault is None or case.signal is None or case.signal.name not in FAULTS:
        return None
    places = []
    if fault.load is not None:
        places.append((fault.load.address, f"{fault.load.register} was read from {fault.load.address:#x}"))
    if fault.operand is not None and fault.operand.base_value is not None:
        places.append((fault.operand.base_value, f"{fault.operand.base} pointed to {fault.operand.base_value:#x}"))
    for address, how in places:
        block = case.heap_place(address)
        if block is not None and block.free:
            return Finding(
                rule="freed-block",
                topic=Topic.CLUE,
                title="The address came from memory that PHP had already given back (use after free)",
                confidence=Confidence.LIKELY,
                evidence=(
                    f"{how}: {block.offset} bytes into a block of {block.size} bytes at {block.start:#x}, which is "
                    "on PHP's list of free blocks",
                ),
                explanation=(
                    "Code kept the address of something after it was freed, and used it again. Until somebody else "
                    "gets the block it seems to work: that is why such crashes come under load only."
                ),
                next_steps=(
                    "A replay under valgrind names who freed it: USE_ZEND_ALLOC=0 valgrind -q "
                    "--undef-value-errors=no php …",
                ),
            )
    return None


def impossible_value(case: Case) -> Finding | None:
    """A PHP variable whose type number is none of PHP's."""
    broken = [
        (frame, item) for frame in case.script() for item in frame.arguments if item.type.startswith("no PHP type")
    ]
    if not broken:
        return None
    frame, item = broken[0]
    name = f"${item.name}" if item.name else "an argument"
    return Finding(
        rule="impossible-value",
        topic=Topic.CLUE,
        title=f"A PHP variable holds something that is no PHP value: {name} of {frame.function}()",
        confidence=Confidence.LIKELY,
        evidence=(f"{name} of {frame.function}(): {item.type}",),
        explanation=(
            "Every PHP variable has a type number from a short list. This one has another, so its memory was "
            "overwritten, or freed and used for something else."
        ),
    )
