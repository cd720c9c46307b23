"""Machine code around a frame, from the file of its module; no core and no GDB are needed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import capstone

from triage.corefile.modules import MappedModule
from triage.model import Crash, Frame, Module
from triage.symbols import Finder
from triage.symbols.elffile import ElfFile

_BEFORE, _AFTER, _SHOWN = 48, 48, 4  # bytes read before and after the place, instructions shown on each side
_LONGEST_FUNCTION = 1 << 16
_MACHINES = {
    62: (capstone.CS_ARCH_X86, capstone.CS_MODE_64),
    183: (capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM),
}  # by e_machine of the ELF header


@dataclass(frozen=True, slots=True)
class CodeLine:
    """One instruction at `offset` within the module (an ELF virtual address); `here` marks the frame's place."""

    offset: int
    text: str
    here: bool


def code_around(crash: Crash, frame: Frame, finder: Finder) -> list[CodeLine] | str:
    """The instructions about a native frame's address, in AT&T syntax; or why they cannot be shown.

    The file is taken only if its build-id is the one that crashed.
    """
    module = next((one for one in crash.modules if one.path == frame.module), None)
    if module is None or frame.offset is None:
        return "which file this code is from is not known"
    file = finder.locate(_mapped(module)).file
    if file is None:
        return f"the very file that ran ({module.path}) is not on this machine"
    machine = _disassembler(file)
    if machine is None:
        return "this machine's code cannot be disassembled here"
    found = _lines(machine, file, frame.offset)
    return found if found else "the code at this place could not be read as instructions"


def _mapped(module: Module) -> MappedModule:
    return MappedModule(
        path=module.path, start=module.start, end=module.end, base=module.base, build_id=module.build_id,
        deleted=module.deleted,
    )  # fmt: skip


def _disassembler(file: ElfFile) -> capstone.Cs | None:
    with file.path.open("rb") as stream:
        kind = _MACHINES.get(int.from_bytes(stream.read(20)[18:20], "little"))
    if kind is None:
        return None
    machine = capstone.Cs(*kind)
    if kind[0] == capstone.CS_ARCH_X86:
        machine.syntax = capstone.CS_OPT_SYNTAX_ATT
    return machine


def _lines(machine: capstone.Cs, file: ElfFile, offset: int) -> list[CodeLine]:
    """x86 instructions cannot be read backwards: read from the function's start, else from the first of all
    beginnings from which an instruction begins at `offset`."""
    start = file.function_start(offset)
    begun = [start] if start is not None and offset - start < _LONGEST_FUNCTION else []
    for first in (*begun, *range(offset - _BEFORE, offset + 1)):
        raw = file.read(first, offset + _AFTER - first) or file.read(first, offset + 1 - first)
        lines = list(_decoded(machine, raw, first, offset)) if raw else []
        at = next((number for number, line in enumerate(lines) if line.here), None)
        if at is not None:
            return lines[max(0, at - _SHOWN) : at + _SHOWN + 1]
    return []


def _decoded(machine: capstone.Cs, raw: bytes, start: int, offset: int) -> Iterator[CodeLine]:
    for one in machine.disasm(raw, start):
        yield CodeLine(one.address, f"{one.mnemonic} {one.op_str}".rstrip(), here=one.address == offset)
