"""How memory was misused: the kind of access, and the member of a structure that could not be had.

Builds differ in addresses and registers, seldom in these.
"""

from __future__ import annotations

from triage.model import Fault

_NEAR = 0x10000
_TOP = 1 << 64
EXECUTE = "execute"


def access(fault: Fault | None) -> str | None:
    """`read null`, `write wild`, `execute`: the kind of access, and whether it was near NULL."""
    if fault is None:
        return None
    if fault.kind == EXECUTE:
        return EXECUTE
    return f"{fault.kind} {'wild' if _from_null(fault.address) is None else 'null'}"


def reach(fault: Fault | None) -> str | None:
    """How far behind a pointer the program reached for how many bytes: `18/8`, the first in hexadecimal."""
    if fault is None or fault.operand is None or fault.kind == EXECUTE:
        return None
    far = _from_null(fault.address)
    if far is None:
        if fault.operand.base is None:
            return None
        far = fault.operand.displacement
    return f"{far:x}/{fault.operand.size}"


def _from_null(address: int) -> int | None:
    """How far from NULL an address near it is."""
    if address < _NEAR:
        return address
    return address - _TOP if address >= _TOP - _NEAR else None
