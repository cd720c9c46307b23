"""Sentences that several rules need: the access in words, an address in words."""

from __future__ import annotations

from triage.diagnose.case import EXECUTE, WRITE, Case, file_name
from triage.diagnose.places import in_place
from triage.model import AccessKind, Fault, Frame

NEAR_NULL = 64 * 1024
TOP = 1 << 64
LAYERS = {"output": "PHP's output layer", "garbage-collection": "PHP's garbage collector",
          "compile": "PHP's compiler", "session": "PHP's session handling"}  # fmt: skip
PROCESSOR_COPIES = ("memcpy", "memmove", "memset", "strlen", "strcpy", "memcmp", "strcmp", "memchr", "strchr")


def distance_from_null(address: int) -> int | None:
    """Bytes above or below NULL, when within 64 KiB of it."""
    distance = address if address < NEAR_NULL else address - TOP
    return distance if -NEAR_NULL <= distance < NEAR_NULL else None


def near_null(distance: int) -> str:
    """The same in words."""
    if distance == 0:
        return "0 (NULL itself)"
    return f"{abs(distance)} bytes {'below' if distance < 0 else 'above'} NULL ({distance % TOP:#x})"


def access(fault: Fault) -> str:
    """`a write of 8 bytes to [rdi - 0x8]`."""
    operand = fault.operand
    if operand is None:
        return "fetching an instruction" if fault.kind is AccessKind.EXECUTE else f"a {fault.kind.value}"
    way = {"write": "to", "read": "from"}.get(fault.kind.value, "at")
    size = f" of {operand.size} byte{'s' if operand.size != 1 else ''}" if operand.size else ""
    return f"a {fault.kind.value}{size} {way} {operand.text}"


def instruction(case: Case) -> tuple[str, ...]:
    """The instruction and what its registers held, as evidence."""
    if case.instruction is None:
        return ()
    lines = [f"the instruction was `{case.instruction.text}`"]
    fault = case.fault
    if fault is not None and fault.operand is not None and fault.operand.base is not None:
        value = fault.operand.base_value or 0
        lines[0] += f": {access(fault)}, with {fault.operand.base} = {value:#x}"
    if fault is not None and fault.load is not None:
        lines.append(f"{fault.load.register} was read from memory at {fault.load.address:#x} by `{fault.load.text}`")
    return tuple(lines)


def where(case: Case) -> str:
    """` inside memcpy(), called from zend_stack_push() of PHP's output layer`; empty without names."""
    native = [frame for frame in case.frames if frame.kind == "native"]
    if not native or native[0].function is None:
        return ""
    text = f" inside {plain(native[0].function)}()"
    caller = next((frame for frame in native[1:] if frame.function), None)
    if is_copy(native[0]) and caller is not None:
        text += f", called from {plain(caller.function or '')}()"
    return text + _layer(case)


def _layer(case: Case) -> str:
    """` of PHP's output layer`, where the functions nearest to the fault tell a part of PHP."""
    for frame in case.frames[:4]:
        for place, words in LAYERS.items():
            if frame.kind == "native" and frame.function and in_place(frame.function, place):
                return f" ({words})"
    return ""


def plain(function: str) -> str:
    """`memcpy` for `__memcpy_avx_unaligned_erms`."""
    bare = function.lstrip("_")
    return next((name for name in PROCESSOR_COPIES if bare.startswith(name)), function)


def is_copy(frame: Frame) -> bool:
    """Whether a frame is one of the C library's routines that copy or compare bytes for others."""
    name = frame.function or ""
    return plain(name) in PROCESSOR_COPIES and "libc" in (frame.module or "libc")


def mapping(case: Case, address: int) -> str:
    """What lies at an address, in words."""
    region = case.region(address)
    if region is None:
        return f"nothing is mapped at {address:#x}"
    rights = "".join(
        letter if region.flags & bit else "-" for letter, bit in (("r", 4), ("w", WRITE), ("x", EXECUTE))
    )
    what = file_name(region.path) if region.path else "memory of no file"
    return f"{address:#x} lies in {what}, mapped with the rights {rights}"
