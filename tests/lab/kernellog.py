"""What the kernel said, or would have said, of real crashes.

The real line is read with dmesg. Where that may not be read, or the kernel held its tongue (it says at
most ten in five seconds), the line is made in the kernel's own format from the core: registers, siginfo,
mappings and the bytes at the instruction.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from triage.corefile import CoreFile, open_core
from triage.symbols import Finder

_BEFORE, _BYTES = 42, 64  # arch/x86/kernel/dumpstack.c, show_opcodes()
_PAGE = 4096


def said(pid: int) -> list[str]:
    """The kernel's own lines about a process, with the code line after each; empty when there are none."""
    done = subprocess.run(["dmesg"], capture_output=True, text=True, errors="replace", check=False)
    lines = done.stdout.splitlines()
    found = [at for at, line in enumerate(lines) if f"[{pid}]: segfault at" in line or f"[{pid}] " in line]
    return [line for at in found for line in lines[at : at + 2] if at == lines.index(line) or "Code: " in line]


def made(path: Path, number: int) -> list[str]:
    """The two lines made from the core at `path`."""
    with open_core(path) as core:
        core.memory.use_files(Finder().backing(core.modules))
        registers = core.notes.threads[0].registers
        ip, sp, signal = registers["rip"], registers["rsp"], core.notes.signal
        assert signal is not None
        name = Path(core.executable.path).name[:15] if core.executable else "?"
        pid = core.notes.threads[0].id
        where = _where(core, ip)
        stamp = f"[{number:5d}.000000] "
        if signal.code == 0x80:  # SI_KERNEL: no page fault but a general protection fault
            head = f"traps: {name}[{pid}] general protection fault ip:{ip:x} sp:{sp:x} error:0{where}"
        elif signal.number == 4:
            head = f"traps: {name}[{pid}] trap invalid opcode ip:{ip:x} sp:{sp:x} error:0{where}"
        elif signal.number == 8:
            head = f"traps: {name}[{pid}] trap divide error ip:{ip:x} sp:{sp:x} error:0{where}"
        else:
            head = f"{name}[{pid}]: segfault at {signal.address or 0:x} ip {ip:016x} sp {sp:016x} error 4{where}"
        return [stamp + head, stamp + _code(core, ip)]


def _where(core: CoreFile, ip: int) -> str:
    mapping = core.memory.file_at(ip)
    if mapping is None:
        return ""
    offset = ip - mapping.start + mapping.offset
    name = Path(mapping.path).name
    return f" in {name}[{offset:x},{mapping.start:x}+{mapping.end - mapping.start:x}]"


def _code(core: CoreFile, ip: int) -> str:
    code = core.memory.read(ip - _BEFORE, _BYTES)
    if code is None:
        return "Code: Unable to access opcode bytes at RIP 0x0."
    return "Code: " + " ".join(f"<{byte:02x}>" if at == _BEFORE else f"{byte:02x}" for at, byte in enumerate(code))
