"""The notes the kernel writes into a core, decoded to plain records (Linux, x86-64 and aarch64).

Layouts are those of the kernel's `struct elf_prstatus`, `struct elf_prpsinfo` and `siginfo_t`.
"""

from __future__ import annotations

import signal as signals
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from triage.corefile.elf import Note
from triage.corefile.latest import Latest
from triage.corefile.mappings import FileMapping, Mappings, read_mappings
from triage.model import Signal

NT_PRSTATUS, NT_PRPSINFO, NT_AUXV = 1, 3, 6
NT_SIGINFO, NT_FILE = 0x53494749, 0x46494C45

_X86_64 = (
    "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss "
    "fs_base gs_base ds es fs gs"
).split()
_AARCH64 = [f"x{n}" for n in range(31)] + ["sp", "pc", "pstate"]
REGISTERS: Mapping[str, list[str]] = {"x86_64": _X86_64, "aarch64": _AARCH64}
PC_SP: Mapping[str, tuple[str, str]] = {"x86_64": ("rip", "rsp"), "aarch64": ("pc", "sp")}
_REGISTERS_AT = 112

_FAULTS = {"SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGTRAP"}
_CODES: Mapping[str, Mapping[int, str]] = {
    "SIGSEGV": {1: "SEGV_MAPERR", 2: "SEGV_ACCERR", 3: "SEGV_BNDERR", 4: "SEGV_PKUERR"},
    "SIGBUS": {1: "BUS_ADRALN", 2: "BUS_ADRERR", 3: "BUS_OBJERR", 4: "BUS_MCEERR_AR", 5: "BUS_MCEERR_AO"},
    "SIGILL": {1: "ILL_ILLOPC", 2: "ILL_ILLOPN", 3: "ILL_ILLADR", 4: "ILL_ILLTRP", 5: "ILL_PRVOPC"},
    "SIGSYS": {1: "SYS_SECCOMP"},
    "SIGFPE": {1: "FPE_INTDIV", 2: "FPE_INTOVF", 3: "FPE_FLTDIV", 4: "FPE_FLTOVF", 5: "FPE_FLTUND"},
}
_SENT = {0: "SI_USER", -1: "SI_QUEUE", -6: "SI_TKILL", 0x80: "SI_KERNEL"}
_FROM_PROCESS = (0, -1, -3, -6)  # SI_USER, SI_QUEUE, SI_MESGQ, SI_TKILL; the others hold a timer or a file


@dataclass(frozen=True, slots=True)
class ThreadState:
    """One NT_PRSTATUS: the thread's id, the signal it had pending, its general registers."""

    id: int
    signal: int
    registers: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ProcessInfo:
    """NT_PRPSINFO. `arguments` is the command line as the kernel cut it (80 bytes)."""

    pid: int
    name: str
    arguments: str
    uid: int
    parent: int = 0


@dataclass(frozen=True, slots=True)
class Notes:
    """All that the notes of one core tell. `broken` names notes that were there but unreadable."""

    threads: tuple[ThreadState, ...] = ()
    process: ProcessInfo | None = None
    signal: Signal | None = None
    auxv: Mapping[int, int] = field(default_factory=dict)
    files: Sequence[FileMapping] = ()
    broken: tuple[str, ...] = ()


_MAPPINGS: Latest[Mappings | None] = Latest()


def decode(notes: Iterable[Note], machine: str | None) -> Notes:
    """Decode the notes; the first NT_PRSTATUS is the thread that crashed (kernel order)."""
    threads: list[ThreadState] = []
    broken: list[str] = []
    single: dict[int, bytes] = {}
    for note in notes:
        if note.owner not in (b"CORE", b"LINUX"):
            continue
        if note.type == NT_PRSTATUS:
            state = _thread(note.body, machine)
            if state is None:
                broken.append("NT_PRSTATUS")
            else:
                threads.append(state)
        else:
            single.setdefault(note.type, note.body)
    # Workers of one master have the same list, and are known by having the same object.
    files = _MAPPINGS.of(single[NT_FILE], read_mappings) if NT_FILE in single else ()
    if files is None:
        broken.append("NT_FILE")
    fallback = threads[0].signal if threads else 0
    return Notes(
        threads=tuple(threads),
        process=_process(single.get(NT_PRPSINFO, b"")),
        signal=_signal(single.get(NT_SIGINFO, b""), fallback),
        auxv=_auxv(single.get(NT_AUXV, b"")),
        files=files or (),
        broken=tuple(broken),
    )


def _thread(body: bytes, machine: str | None) -> ThreadState | None:
    names = REGISTERS.get(machine or "", [])
    if len(body) < _REGISTERS_AT:
        return None
    number = struct.unpack_from("<h", body, 12)[0]
    pid = struct.unpack_from("<i", body, 32)[0]
    count = min(len(names), (len(body) - _REGISTERS_AT) // 8)
    values = struct.unpack_from(f"<{count}Q", body, _REGISTERS_AT)
    return ThreadState(pid, number, dict(zip(names, values, strict=False)))


def _process(body: bytes) -> ProcessInfo | None:
    if len(body) < 136:
        return None
    uid, _, pid, parent = struct.unpack_from("<IIii", body, 16)
    name, arguments = struct.unpack_from("16s80s", body, 40)
    return ProcessInfo(pid, _text(name), _text(arguments).rstrip(), uid, parent)


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("utf-8", "backslashreplace")


def _auxv(body: bytes) -> dict[int, int]:
    usable = len(body) // 16 * 16
    return dict(struct.iter_unpack("<QQ", body[:usable]))


@lru_cache(maxsize=128)
def signal_name(number: int) -> str:
    """`SIGSEGV` for 11; `signal 99` for a number without a name."""
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _signal(body: bytes, fallback: int) -> Signal | None:
    if len(body) < 24:
        return Signal(number=fallback, name=signal_name(fallback)) if fallback else None
    number, _, code = struct.unpack_from("<iii", body)
    name = signal_name(number)
    faulted = name in _FAULTS and 0 < code < 0x80
    kernel = name in _FAULTS and code == 0x80
    return Signal(
        number=number,
        name=name,
        code=code,
        code_name=_CODES.get(name, {}).get(code) or _SENT.get(code),
        address=struct.unpack_from("<Q", body, 16)[0] if faulted or kernel else None,
        sender=struct.unpack_from("<i", body, 16)[0] if code in _FROM_PROCESS else None,
        sender_user=struct.unpack_from("<I", body, 20)[0] if code in _FROM_PROCESS else None,
    )
