"""Which access the processor refused: the instruction's operands against what the kernel says.

For most faults the kernel tells the address. For an address no program can have (x86: bits 47 to 63
not all equal) and for a misaligned one it tells nothing (si_code SI_KERNEL); then the operand that
cannot be right is the one.
"""

from __future__ import annotations

from collections.abc import Mapping

from triage.corefile.instruction import accessed, follows_call
from triage.corefile.notes import PC_SP
from triage.corefile.protocol import AddressSpace
from triage.model import AccessKind, Fault, Instruction, Signal

_TOP = 1 << 64
_HALF = 1 << 47


def canonical(address: int) -> bool:
    """Whether an address can exist at all on x86-64 (48 bits)."""
    return address < _HALF or address >= _TOP - _HALF


def refused(
    signal: Signal | None,
    instruction: Instruction | None,
    registers: Mapping[str, int],
    machine: str | None,
    memory: AddressSpace,
) -> Fault | None:
    """The access that was refused; `None` for a signal that is about none, or when it cannot be told."""
    pc = registers.get(PC_SP.get(machine or "", ("", ""))[0])
    if signal is None or signal.name not in ("SIGSEGV", "SIGBUS") or signal.code is None or pc is None:
        return None
    if signal.code_name == "SI_KERNEL":
        return _untold(instruction, pc, memory)
    if signal.address is None or signal.sender is not None:
        return None
    if signal.address == pc:
        return Fault(kind=AccessKind.EXECUTE, address=pc, arrival=_arrival(registers, machine, pc, memory))
    if instruction is None:
        return None
    operand = accessed(instruction.operands, signal.address)
    return Fault(kind=operand.kind, address=signal.address, operand=operand) if operand is not None else None


def _untold(instruction: Instruction | None, pc: int, memory: AddressSpace) -> Fault | None:
    if not canonical(pc):
        return Fault(kind=AccessKind.EXECUTE, address=pc)
    if instruction is None:
        return None
    for operand in instruction.operands:
        if not canonical(operand.address):
            return Fault(kind=operand.kind, address=operand.address, operand=operand)
    if instruction.target is not None and not canonical(instruction.target):
        arrival = instruction.flow if instruction.flow in ("call", "return") else None
        return Fault(kind=AccessKind.EXECUTE, address=instruction.target, arrival=arrival)
    for operand in instruction.operands:
        if operand.aligned and operand.size and operand.address % operand.size and memory.region_at(operand.address):
            return Fault(kind=operand.kind, address=operand.address, operand=operand, misaligned=True)
    return None


def _arrival(registers: Mapping[str, int], machine: str | None, pc: int, memory: AddressSpace) -> str | None:
    """A call leaves the address behind it on the stack; a return leaves the address it took below the stack."""
    pointer = registers.get("rsp")
    if machine != "x86_64" or pointer is None:
        return None
    raw = memory.read(pointer, 8)
    back = int.from_bytes(raw, "little") if raw else 0
    region = memory.region_at(back)
    if region is not None and region.flags & 1 and follows_call(memory, machine, back):
        return "call"
    taken = memory.read(pointer - 8, 8)
    return "return" if taken == pc.to_bytes(8, "little") else None
