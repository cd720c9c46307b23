"""What an instruction does to memory: our decoding against the processor's own error code."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.lab.native import SOURCES
from tests.unit.memory import Bytes
from triage.corefile.instruction import accessed, decode
from triage.model import AccessKind

_REGISTERS = "rax rbx rcx rdx rsi rdi rbp rsp r8 r9 r10 r11 r12 r13 r14 r15".split()
_WRITE = 2  # bit 1 of x86's page-fault error code


def test_reads_and_writes_are_what_the_processor_says(tmp_path: Path) -> None:
    program = tmp_path / "access"
    subprocess.run(["gcc", "-w", "-o", str(program), str(SOURCES / "access.c")], check=True)
    said = subprocess.run([str(program)], capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(said) > 70
    wrong = []
    for line in said:
        name, rest = line.split("\t")
        error, address, _, pc, code, *values = rest.split()
        registers = dict(zip(_REGISTERS, (int(value, 16) for value in values), strict=True))
        memory = Bytes({int(pc, 16): bytes.fromhex(code)})
        decoded = decode(memory, "x86_64", registers, int(pc, 16))
        assert decoded is not None, name
        operand = accessed(decoded.operands, int(address, 16))
        writes = operand is not None and operand.kind is not AccessKind.READ
        if operand is None or writes != bool(int(error) & _WRITE):
            wrong.append(f"{name}: decoded as {decoded.text}, {operand}, error code {error}")
    assert not wrong, "\n".join(wrong)
