"""Small ELF cores built byte by byte, good ones and hostile ones.

core = Core(notes=[prstatus(pid=42, registers={"rip": 0x1000}), siginfo(11, 1, 0x8)],
            loads=[Load(0x1000, b"abc", memory_size=4096)])
path.write_bytes(core.build())
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

PF_X, PF_W, PF_R = 1, 2, 4
PT_LOAD, PT_NOTE, PT_GNU_EH_FRAME = 1, 4, 0x6474E550
NT_PRSTATUS, NT_PRPSINFO, NT_AUXV, NT_SIGINFO, NT_FILE = 1, 3, 6, 0x53494749, 0x46494C45
AT_PHDR, AT_PAGESZ, AT_ENTRY, AT_EXECFN = 3, 6, 9, 31
HEADER, SEGMENT = 64, 56
PAGE = 4096

# The kernel's order in user_regs_struct (arch/x86/include/uapi/asm/ptrace.h), written out anew so
# that a slip in the program's own list shows.
X86_64 = (
    "r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi",
    "orig_rax", "rip", "cs", "eflags", "rsp", "ss", "fs_base", "gs_base", "ds", "es", "fs", "gs",
)  # fmt: skip
AARCH64 = (*(f"x{number}" for number in range(31)), "sp", "pc", "pstate")
EM_X86_64, EM_AARCH64 = 62, 183


def note(kind: int, body: bytes, *, owner: bytes = b"CORE\0") -> bytes:
    """One ELF note, padded to four bytes as the kernel pads."""
    head = struct.pack("<III", len(owner), len(body), kind)
    return head + _padded(owner) + _padded(body)


def _padded(raw: bytes) -> bytes:
    return raw + bytes(-len(raw) % 4)


def prstatus(
    pid: int = 4242,
    signal: int = 11,
    registers: Mapping[str, int] | None = None,
    names: Sequence[str] = X86_64,
) -> bytes:
    """NT_PRSTATUS: one thread with the registers given, the others 0."""
    head = bytearray(112)
    struct.pack_into("<h", head, 12, signal)
    struct.pack_into("<i", head, 32, pid)
    values = [(registers or {}).get(name, 0) for name in names]
    return note(NT_PRSTATUS, bytes(head) + struct.pack(f"<{len(names)}Q", *values) + bytes(8))


def prpsinfo(pid: int = 4242, name: bytes = b"php", arguments: bytes = b"php x.php ", uid: int = 33) -> bytes:
    """NT_PRPSINFO; `name` is cut at 16 and `arguments` at 80 bytes, without a terminator then."""
    body = struct.pack("<4BIQIIiiii16s80s", 0, ord("R"), 0, 0, 0, 0, uid, 33, pid, 1, 1, 1, name, arguments)
    return note(NT_PRPSINFO, body)


def siginfo(number: int, code: int, address: int = 0) -> bytes:
    """NT_SIGINFO of a fault at `address`."""
    return note(NT_SIGINFO, struct.pack("<iiiiQ", number, 0, code, 0, address) + bytes(104))


def siginfo_sent(number: int, code: int, sender: int, uid: int = 0) -> bytes:
    """NT_SIGINFO of a signal that a process sent."""
    return note(NT_SIGINFO, struct.pack("<iiiiii", number, 0, code, 0, sender, uid) + bytes(104))


def auxv(pairs: Mapping[int, int]) -> bytes:
    """NT_AUXV."""
    return note(NT_AUXV, auxv_words(pairs))


def auxv_words(pairs: Mapping[int, int]) -> bytes:
    """The auxiliary vector as it lies on the stack, with its AT_NULL."""
    words = b"".join(struct.pack("<QQ", key, value) for key, value in pairs.items())
    return words + bytes(16)


def nt_file(mappings: Iterable[tuple[int, int, int, bytes]], *, count: int | None = None) -> bytes:
    """NT_FILE from `(start, end, offset in bytes, path)`; `count` may lie."""
    rows = list(mappings)
    body = struct.pack("<QQ", len(rows) if count is None else count, PAGE)
    body += b"".join(struct.pack("<QQQ", start, end, offset // PAGE) for start, end, offset, _ in rows)
    return note(NT_FILE, body + b"".join(path + b"\0" for *_, path in rows))


@dataclass(frozen=True, slots=True)
class Load:
    """A PT_LOAD: `data` is what the kernel dumped of it, `memory_size` how large it was mapped."""

    address: int
    data: bytes = b""
    memory_size: int | None = None
    flags: int = PF_R | PF_W
    offset: int | None = None
    file_size: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """What goes into one core file. Everything after `loads` is there to tell lies with."""

    notes: Sequence[bytes] = ()
    loads: Sequence[Load] = ()
    machine: int = EM_X86_64
    type: int = 4
    segment_count: int | None = None
    segment_size: int = SEGMENT
    segments_at: int = HEADER
    sections_at: int = 0
    note_offset: int | None = None
    note_size: int | None = None
    extra: Sequence[bytes] = field(default_factory=tuple)

    def build(self) -> bytes:
        """The bytes of the file: header, program headers, notes, then the loads' data in order."""
        notes = b"".join(self.notes)
        count = 1 + len(self.loads) + len(self.extra)
        at = HEADER + count * SEGMENT
        table = [
            segment(
                PT_NOTE,
                offset=at if self.note_offset is None else self.note_offset,
                file_size=len(notes) if self.note_size is None else self.note_size,
            )
        ]
        at += len(notes)
        for load in self.loads:
            size = len(load.data) if load.memory_size is None else load.memory_size
            table.append(
                segment(
                    PT_LOAD,
                    flags=load.flags,
                    offset=at if load.offset is None else load.offset,
                    address=load.address,
                    file_size=len(load.data) if load.file_size is None else load.file_size,
                    memory_size=size,
                )
            )
            at += len(load.data)
        stated = count if self.segment_count is None else self.segment_count
        head = header(self, stated)
        return b"".join([head, *table, *self.extra, notes, *(load.data for load in self.loads)])


def header(core: Core, count: int) -> bytes:
    """The ELF file header."""
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    return struct.pack(
        "<16sHHIQQQIHHHHHH",
        ident, core.type, core.machine, 1, 0, core.segments_at, core.sections_at, 0,
        HEADER, core.segment_size, count, 64, 0, 0,
    )  # fmt: skip


def segment(
    kind: int,
    *,
    flags: int = PF_R,
    offset: int = 0,
    address: int = 0,
    file_size: int = 0,
    memory_size: int | None = None,
    align: int = 4,
) -> bytes:
    """One program header."""
    size = file_size if memory_size is None else memory_size
    return struct.pack("<IIQQQQQQ", kind, flags, offset, address, 0, file_size, size, align)


def first_section(segment_count: int) -> bytes:
    """The section header that carries the true number of segments when e_phnum is PN_XNUM."""
    return struct.pack("<IIQQQQIIQQ", 0, 0, 0, 0, 0, 1, 0, segment_count, 0, 0)


def elf_page(build_id: bytes, *, first_address: int = 0, span: int = 4 * PAGE, kind: int = 3) -> bytes:
    """The first page of a mapped ELF file: headers and a note with its build-id."""
    id_note = note(3, build_id, owner=b"GNU\0")
    notes_at = HEADER + 3 * SEGMENT
    head = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\x02\x01\x01" + bytes(9), kind, EM_X86_64, 1, first_address, HEADER, 0, 0,
        HEADER, SEGMENT, 3, 64, 0, 0,
    )  # fmt: skip
    table = (
        segment(PT_LOAD, flags=PF_R | PF_X, address=first_address, file_size=span)
        + segment(PT_NOTE, offset=notes_at, address=first_address + notes_at, file_size=len(id_note))
        + segment(PT_GNU_EH_FRAME, offset=0x800, address=first_address + 0x800, file_size=16)
    )
    return (head + table + id_note).ljust(PAGE, b"\0")


# A good core that many tests start from: two threads, a program, a library, a stack.
PROGRAM, LIBRARY, HEAP, STACK = 0x55D0_0000_0000, 0x7F10_0000_0000, 0x55D0_1000_0000, 0x7FFC_0000_0000
PROGRAM_ID, LIBRARY_ID = bytes(range(20)), bytes(range(100, 120))
ARGUMENTS = (b"php", b"-d", b"memory_limit=1G", b"/srv/www/index.php", b"caf\xc3\xa9")


def stack_top(arguments: Sequence[bytes], environment: Sequence[bytes], pairs: dict[int, int]) -> bytes:
    """A stack's top page as the kernel lays it out, at STACK: argc, argv, envp, auxv, the strings."""
    strings_at = STACK + 2048
    pointers: list[int] = []
    strings = b""
    for text in (*arguments, *environment):
        pointers.append(strings_at + len(strings))
        strings += text + b"\0"
    pairs[AT_EXECFN] = strings_at + len(strings)
    strings += b"/usr/bin/php8.2\0"
    split = len(arguments)
    words = [len(arguments), *pointers[:split], 0, *pointers[split:], 0]
    block = struct.pack(f"<{len(words)}Q", *words) + auxv_words(pairs)
    assert 256 + len(block) <= 2048
    return (bytes(256) + block).ljust(2048, b"\0") + strings.ljust(2048, b"\0")


def good(*, arguments: Sequence[bytes] = ARGUMENTS) -> Core:
    """The good core; tests change parts of it with dataclasses.replace."""
    pairs = {AT_PHDR: PROGRAM + HEADER, AT_PAGESZ: PAGE, AT_ENTRY: PROGRAM + 0x1040}
    top = stack_top(arguments, (b"HOME=/root", b"LANG=C"), pairs)
    files = [
        (PROGRAM, PROGRAM + PAGE, 0, b"/usr/bin/php8.2"),
        (PROGRAM + PAGE, PROGRAM + 4 * PAGE, PAGE, b"/usr/bin/php8.2"),
        (LIBRARY, LIBRARY + 4 * PAGE, 0, b"/usr/lib/libz.so.1.2.13 (deleted)"),
    ]
    notes = (
        prstatus(4243, 11, {"rip": PROGRAM + 0x1100, "rsp": STACK + 16, "r14": 0xFEED, "rax": 2**64 - 1}),
        prpsinfo(),
        siginfo(11, 1, 0x18),
        auxv(pairs),
        nt_file(files),
        prstatus(4244, 0, {"rip": LIBRARY + 0x10, "rsp": 0x7F20_0000_0000}),
    )
    loads = (
        Load(PROGRAM, elf_page(PROGRAM_ID), flags=PF_R),
        Load(PROGRAM + PAGE, b"", memory_size=3 * PAGE, flags=PF_R | PF_X),
        Load(HEAP, b"A" * PAGE),
        Load(HEAP + PAGE, b"B" * PAGE, memory_size=2 * PAGE),
        Load(LIBRARY, elf_page(LIBRARY_ID), memory_size=4 * PAGE, flags=PF_R | PF_X),
        Load(STACK, top),
    )
    return Core(notes=notes, loads=loads)
