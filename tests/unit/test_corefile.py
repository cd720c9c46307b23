"""A good core read whole; damaged and foreign files refused with their code."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.memory import Bytes
from triage.corefile import CoreFile, open_core, read_core
from triage.corefile.mappings import FileMapping
from triage.corefile.memory import MAX_READ
from triage.corefile.modules import MappedModule
from triage.corefile.notes import Notes, ProcessInfo, ThreadState
from triage.corefile.protocol import Region, c_string
from triage.errors import InputError
from triage.model import Signal

from . import makecore
from .makecore import (
    AARCH64,
    HEAP,
    LIBRARY,
    LIBRARY_ID,
    PAGE,
    PF_R,
    PF_W,
    PF_X,
    PROGRAM,
    PROGRAM_ID,
    STACK,
    X86_64,
    Core,
    Load,
    auxv,
    elf_page,
    good,
    nt_file,
    prpsinfo,
    prstatus,
    siginfo,
    siginfo_sent,
)


def parse(core: Core) -> CoreFile:
    return read_core(Path("/var/crash/core.1"), core.build())


@pytest.fixture
def core(tmp_path: Path) -> Iterator[CoreFile]:
    path = tmp_path / "core.good"
    path.write_bytes(good().build())
    with open_core(path) as opened:
        yield opened


def registers(names: tuple[str, ...] = X86_64, **values: int) -> dict[str, int]:
    return {name: values.get(name, 0) for name in names}


def test_notes_of_a_good_core(core: CoreFile) -> None:
    program, library = "/usr/bin/php8.2", "/usr/lib/libz.so.1.2.13 (deleted)"
    at_execfn = core.notes.auxv[31]
    assert replace(core.notes, files=tuple(core.notes.files)) == Notes(
        threads=(
            ThreadState(4243, 11, registers(rip=PROGRAM + 0x1100, rsp=STACK + 16, r14=0xFEED, rax=2**64 - 1)),
            ThreadState(4244, 0, registers(rip=LIBRARY + 0x10, rsp=0x7F20_0000_0000)),
        ),
        process=ProcessInfo(pid=4242, name="php", arguments="php x.php", uid=33, parent=1),
        signal=Signal(number=11, name="SIGSEGV", code=1, code_name="SEGV_MAPERR", address=0x18),
        auxv={3: PROGRAM + 64, 6: PAGE, 9: PROGRAM + 0x1040, 31: at_execfn, 0: 0},
        files=(
            FileMapping(PROGRAM, PROGRAM + PAGE, 0, program),
            FileMapping(PROGRAM + PAGE, PROGRAM + 4 * PAGE, PAGE, program),
            FileMapping(LIBRARY, LIBRARY + 4 * PAGE, 0, library),
        ),
        broken=(),
    )
    assert c_string(core.memory, at_execfn) == b"/usr/bin/php8.2"


def test_modules_of_a_good_core(core: CoreFile) -> None:
    program = MappedModule(
        path="/usr/bin/php8.2",
        start=PROGRAM,
        end=PROGRAM + 4 * PAGE,
        base=PROGRAM,
        build_id=PROGRAM_ID.hex(),
        deleted=False,
    )
    library = MappedModule(
        path="/usr/lib/libz.so.1.2.13",
        start=LIBRARY,
        end=LIBRARY + 4 * PAGE,
        base=LIBRARY,
        build_id=LIBRARY_ID.hex(),
        deleted=True,
    )
    assert core.modules == (program, library)
    assert core.executable == program
    assert [core.module_at(a) for a in (PROGRAM - 1, PROGRAM, LIBRARY - 1, LIBRARY, LIBRARY + 4 * PAGE)] == [
        None,
        program,
        None,
        library,
        None,
    ]


def test_the_file_itself(core: CoreFile) -> None:
    data = good().build()
    assert (core.size, core.expected_size, core.truncated, core.machine) == (len(data), len(data), False, "x86_64")


def test_arguments_come_whole_from_the_stack(core: CoreFile) -> None:
    assert core.arguments == ("php", "-d", "memory_limit=1G", "/srv/www/index.php", "café")


def test_arguments_longer_than_the_kernels_80_bytes() -> None:
    words = (b"php", b"a" * 400, b"", b"b" * 300, b"end")
    assert parse(good(arguments=words)).arguments == ("php", "a" * 400, "", "b" * 300, "end")


def test_arguments_as_the_kernel_cut_them_when_the_stack_is_missing() -> None:
    whole = good()
    without = replace(whole, loads=[load for load in whole.loads if load.address != STACK])
    assert parse(without).arguments == ("php", "x.php")
    bare = replace(without, notes=[prstatus()])
    assert parse(bare).arguments == ()


def test_memory_reads(core: CoreFile) -> None:
    read = core.memory.read
    assert read(HEAP, 4) == b"AAAA"
    assert read(HEAP + PAGE - 3, 6) == b"AAABBB"  # across two adjoining segments
    assert read(HEAP, 2 * PAGE) == b"A" * PAGE + b"B" * PAGE
    assert read(HEAP - 1, 2) is None
    assert read(HEAP + 2 * PAGE - 1, 2) is None  # the second page of that segment was not dumped
    assert read(HEAP + 2 * PAGE, 1) is None
    assert read(HEAP + 3 * PAGE, 1) is None
    assert read(STACK + PAGE - 1, 2) is None
    assert read(0, 8) is None
    assert read(2**64 - 4, 8) is None
    assert read(2**64, 8) is None
    assert read(-8, 8) is None
    assert read(HEAP, 0) == b""
    assert read(HEAP, -1) is None
    assert read(HEAP, MAX_READ + 1) is None


def test_regions(core: CoreFile) -> None:
    program, library = "/usr/bin/php8.2", "/usr/lib/libz.so.1.2.13 (deleted)"
    every = [
        Region(PROGRAM, PROGRAM + PAGE, PF_R, program),
        Region(PROGRAM + PAGE, PROGRAM + 4 * PAGE, PF_R | PF_X, program),
        Region(HEAP, HEAP + PAGE, PF_R | PF_W, None),
        Region(HEAP + PAGE, HEAP + 3 * PAGE, PF_R | PF_W, None),
        Region(LIBRARY, LIBRARY + 4 * PAGE, PF_R | PF_X, library),
        Region(STACK, STACK + PAGE, PF_R | PF_W, None),
    ]
    assert core.memory.regions() == every
    assert core.memory.region_at(HEAP + PAGE - 1) == every[2]
    assert core.memory.region_at(HEAP + PAGE) == every[3]
    assert core.memory.region_at(HEAP + 3 * PAGE) is None
    assert core.memory.region_at(0) is None
    assert core.memory.region_after(0) == every[0]
    assert core.memory.region_after(PROGRAM) == every[1]
    assert core.memory.region_after(STACK) is None


def test_left_out_pages_come_from_the_proven_file_only(core: CoreFile) -> None:
    asked: list[FileMapping] = []
    program = bytes(PAGE) + b"C" * PAGE + b"D" * (PAGE // 2)

    def backing(mapping: FileMapping) -> bytes | None:
        asked.append(mapping)
        return program if mapping.path == "/usr/bin/php8.2" else None

    assert core.memory.read(PROGRAM + PAGE, 4) is None  # nobody gave files yet
    core.memory.use_files(backing)
    assert core.memory.read(PROGRAM + PAGE, 4) == b"CCCC"
    assert core.memory.read(PROGRAM + 2 * PAGE - 2, 4) == b"CCDD"
    assert core.memory.read(PROGRAM + PAGE - 2, 4) == b"\0\0CC"  # dumped page, then the file
    assert core.memory.read(PROGRAM + 2 * PAGE + PAGE // 2 - 1, 2) is None  # the file ends there
    assert core.memory.read(LIBRARY + PAGE, 4) is None  # not proven
    assert core.memory.read(LIBRARY, 4) == b"\x7fELF"  # dumped: no file needed
    before = len(asked)
    assert core.memory.read(HEAP + 2 * PAGE, 4) is None  # writable: never from a file
    assert len(asked) == before
    assert core.memory.dumped(PROGRAM + PAGE, 4) is None
    assert core.memory.dumped(HEAP + PAGE - 2, 100) == b"AA"


def test_a_writable_mapping_of_a_file_is_never_filled_from_it() -> None:
    core = parse(
        Core(
            notes=[prstatus(), nt_file([(HEAP, HEAP + PAGE, 0, b"/data")])],
            loads=[Load(HEAP, memory_size=PAGE, flags=PF_R | PF_W)],
        )
    )
    core.memory.use_files(lambda mapping: b"X" * PAGE)
    assert core.memory.read(HEAP, 1) is None


@pytest.mark.parametrize(
    ("given", "signal"),
    [
        (
            siginfo(11, 2, 0x1000),
            Signal(number=11, name="SIGSEGV", code=2, code_name="SEGV_ACCERR", address=0x1000),
        ),
        (
            siginfo(11, 0x80, 0),
            Signal(number=11, name="SIGSEGV", code=0x80, code_name="SI_KERNEL", address=0),
        ),
        (
            siginfo(7, 2, 2**64 - 8),
            Signal(number=7, name="SIGBUS", code=2, code_name="BUS_ADRERR", address=2**64 - 8),
        ),
        (siginfo(8, 1, 64), Signal(number=8, name="SIGFPE", code=1, code_name="FPE_INTDIV", address=64)),
        (
            siginfo_sent(11, 0, 77),
            Signal(number=11, name="SIGSEGV", code=0, code_name="SI_USER", sender=77, sender_user=0),
        ),
        (
            siginfo_sent(6, -6, 4242),
            Signal(number=6, name="SIGABRT", code=-6, code_name="SI_TKILL", sender=4242, sender_user=0),
        ),
        (siginfo(99, 1, 3), Signal(number=99, name="signal 99", code=1)),
        (b"", Signal(number=11, name="SIGSEGV")),  # no NT_SIGINFO: the number from NT_PRSTATUS
    ],
)
def test_signal(given: bytes, signal: Signal) -> None:
    assert parse(Core(notes=[prstatus(), given] if given else [prstatus()])).notes.signal == signal


def test_no_signal_in_a_core_taken_from_a_living_process() -> None:
    assert parse(Core(notes=[prstatus(signal=0)])).notes.signal is None


def test_a_timer_is_no_sender() -> None:
    signal = parse(Core(notes=[prstatus(signal=14), siginfo_sent(14, -2, 5)])).notes.signal
    assert signal == Signal(number=14, name="SIGALRM", code=-2)


def test_aarch64() -> None:
    core = parse(Core(machine=makecore.EM_AARCH64, notes=[prstatus(registers={"pc": 8, "x27": 9}, names=AARCH64)]))
    assert core.machine == "aarch64"
    assert core.notes.threads == (ThreadState(4242, 11, registers(AARCH64, pc=8, x27=9)),)


def test_a_machine_nobody_knows_still_gives_threads() -> None:
    core = parse(Core(machine=999, notes=[prstatus(7, 6)]))
    assert (core.machine, core.notes.threads) == (None, (ThreadState(7, 6, {}),))


def test_notes_of_other_owners_are_passed_over() -> None:
    foreign = makecore.note(makecore.NT_PRSTATUS, bytes(400), owner=b"EVIL\0")
    assert len(parse(Core(notes=[foreign, prstatus(1), foreign])).notes.threads) == 1


def test_process_names_without_terminators() -> None:
    info = parse(Core(notes=[prstatus(), prpsinfo(name=b"n" * 16, arguments=b"\xff" + b"a" * 79)])).notes.process
    assert info == ProcessInfo(pid=4242, name="n" * 16, arguments="\\xff" + "a" * 79, uid=33, parent=1)


def test_a_program_loaded_at_a_fixed_address_keeps_its_own_addresses() -> None:
    core = parse(
        Core(
            notes=[prstatus(), auxv({9: 0x400100}), nt_file([(0x400000, 0x404000, 0, b"/usr/bin/php")])],
            loads=[Load(0x400000, elf_page(b"\xab" * 20, first_address=0x400000, kind=2), flags=PF_R)],
        )
    )
    assert core.executable == MappedModule(
        path="/usr/bin/php",
        start=0x400000,
        end=0x404000,
        base=0,
        build_id="ab" * 20,
        deleted=False,
    )


def test_mapped_files_that_are_no_elf_are_no_modules() -> None:
    files = [(HEAP, HEAP + PAGE, 0, b"/usr/lib/locale/locale-archive"), (LIBRARY, LIBRARY + PAGE, 0, b"/gone.so")]
    assert parse(Core(notes=[prstatus(), nt_file(files)], loads=[Load(HEAP, b"A" * PAGE)])).modules == ()


def test_one_file_loaded_twice_gives_two_modules() -> None:
    page = elf_page(LIBRARY_ID)
    files = [(LIBRARY + at * PAGE, LIBRARY + (at + 1) * PAGE, 0, b"/x.so") for at in range(2)]
    core = parse(Core(notes=[prstatus(), nt_file(files)], loads=[Load(LIBRARY, page * 2, flags=PF_R)]))
    assert [module.start for module in core.modules] == [LIBRARY, LIBRARY + PAGE]


def test_identity_is_of_the_crash_and_not_of_the_file(tmp_path: Path) -> None:
    whole = good()
    same = parse(whole).id
    assert parse(whole).id == same
    assert len(same) == 16
    assert int(same, 16) >= 0
    copy = tmp_path / "elsewhere"
    copy.write_bytes(whole.build() + bytes(100))
    with open_core(copy) as again:
        assert again.id == same
    other_notes = replace(whole, notes=[prstatus(4299), *whole.notes[1:]])
    stack = whole.loads[-1]
    other_stack = replace(whole, loads=[*whole.loads[:-1], replace(stack, data=stack.data[:-1] + b"!")])
    other_heap = replace(
        whole,
        loads=[replace(load, data=b"Z" * len(load.data)) if load.address == HEAP else load for load in whole.loads],
    )
    assert parse(other_notes).id != same
    assert parse(other_stack).id != same
    assert parse(other_heap).id == same


def test_every_truncation_is_either_read_and_said_or_refused(tmp_path: Path) -> None:
    data = good().build()
    path = tmp_path / "core.cut"
    codes: set[str] = set()
    whole = parse(good())
    for length in [*range(0, 64 + 7 * 56 + 8, 3), *range(500, len(data), 97), len(data) - 1]:
        path.write_bytes(data[:length])
        try:
            with open_core(path) as cut:
                assert cut.truncated
                assert cut.notes.threads[0] == whole.notes.threads[0]
                assert cut.memory.read(STACK + PAGE - 1, 1) is None
                assert cut.arguments in ((), ("php", "x.php"), whole.arguments)
                codes.add("read")
        except InputError as error:
            codes.add(error.code)
    assert codes == {"empty", "not-a-core", "truncated", "read"}


def test_a_core_cut_in_its_memory_keeps_what_is_there(tmp_path: Path) -> None:
    data = good().build()
    path = tmp_path / "core.cut"
    path.write_bytes(data[: -2 * PAGE])
    with open_core(path) as cut:
        assert (cut.truncated, cut.size, cut.expected_size) == (True, len(data) - 2 * PAGE, len(data))
        assert cut.memory.read(HEAP, 2 * PAGE) == b"A" * PAGE + b"B" * PAGE
        assert [cut.memory.read(at, 8) for at in (LIBRARY, STACK)] == [None, None]
        assert [module.path for module in cut.modules] == ["/usr/bin/php8.2"]
        assert cut.arguments == ("php", "x.php")


def refused(path: Path) -> tuple[str, str]:
    with pytest.raises(InputError) as caught, open_core(path):
        pass
    return caught.value.code, caught.value.message


def test_files_that_are_no_cores(tmp_path: Path) -> None:
    def file(name: str, data: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "nowhere")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        found = {
            "empty": refused(file("empty", b"")),
            "text": refused(file("text", b"hello\n" * 100)),
            "random": refused(file("random", bytes(range(256)) * 40)),
            "cut header": refused(file("header", b"\x7fELF\x02\x01\x01")),
            "32 bit": refused(file("elf32", b"\x7fELF\x01\x01\x01".ljust(64, b"\0"))),
            "big endian": refused(file("be", b"\x7fELF\x02\x02\x01".ljust(64, b"\0"))),
            "program": refused(file("program", Core(type=2).build())),
            "library": refused(file("library", Core(type=3, notes=[prstatus()]).build())),
            "odd type": refused(file("odd", Core(type=0xFE00).build())),
            "no threads": refused(file("no-threads", Core(notes=[prpsinfo()]).build())),
            "no segments": refused(file("no-segments", Core(segment_count=0).build())),
            "folder": refused(tmp_path),
            "fifo": refused(fifo),
            "socket": refused(tmp_path / "socket"),
            "device": refused(Path("/dev/null")),
            "dangling": refused(dangling),
            "loop": refused(loop),
            "missing": refused(tmp_path / "missing"),
            "file as folder": refused(tmp_path / "empty" / "core"),
            "long name": refused(tmp_path / ("x" * 300)),
        }
    assert found == {
        "empty": ("empty", "the file is empty"),
        "text": ("not-a-core", "not a core dump: the file does not begin with the ELF magic"),
        "random": ("not-a-core", "not a core dump: the file does not begin with the ELF magic"),
        "cut header": ("truncated", "only 7 bytes: cut off inside the ELF header"),
        "32 bit": ("unsupported", "only 64-bit little-endian cores can be read"),
        "big endian": ("unsupported", "only 64-bit little-endian cores can be read"),
        "program": ("not-a-core", "not a core dump but a program"),
        "library": ("not-a-core", "not a core dump but a program or shared library"),
        "odd type": ("not-a-core", "not a core dump but an ELF file of type 65024"),
        "no threads": (
            "damaged",
            "no thread state (NT_PRSTATUS) in the core's notes: not a usable core dump",
        ),
        "no segments": (
            "truncated",
            "cut off before the thread states: 120 bytes are there, not even the segment table is whole",
        ),
        "folder": ("directory", "not a regular file but a directory"),
        "fifo": ("fifo", "not a regular file but a named pipe (FIFO): reading it could wait for ever"),
        "socket": ("socket", "not a regular file but a socket or an unconnected device"),
        "device": ("device", "not a regular file but a device"),
        "dangling": ("dangling-link", "a symbolic link whose target does not exist"),
        "loop": ("link-loop", "a symbolic link that leads back to itself"),
        "missing": ("missing", "no such file"),
        "file as folder": ("unreadable", "Not a directory"),
        "long name": ("unreadable", "File name too long"),
    }


def test_a_link_to_a_core_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(good().build())
    (tmp_path / "link").symlink_to("real")
    with open_core(tmp_path / "link") as core:
        assert core.id == parse(good()).id


def test_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "core.secret"
    path.write_bytes(good().build())
    path.chmod(0)
    if os.geteuid() != 0:
        assert refused(path) == ("unreadable", "permission denied")
        return
    # Root may read everything, so a child becomes nobody and says what it met.
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        said = b"opened"
        try:
            os.setgroups([])
            os.setgid(65534)
            folder = os.open(tmp_path, os.O_RDONLY)  # the way there is not nobody's to walk
            os.fchdir(folder)
            os.setuid(65534)
            with open_core(Path(path.name)):
                pass
        except InputError as error:
            said = f"{error.code}|{error.message}|{error.help}".encode()
        finally:
            os.write(writer, said)
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    assert said == b"unreadable|permission denied|Run triage as the owner of the core, or as root."


def open_descriptors() -> list[int]:
    found = []
    for descriptor in range(256):
        try:
            os.fstat(descriptor)
        except OSError:
            continue
        found.append(descriptor)
    return found


def test_nothing_stays_open_after_a_refusal_or_a_read(tmp_path: Path) -> None:
    path = tmp_path / "core"
    path.write_bytes(good().build())
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "fifo")
    before = open_descriptors()
    for _ in range(3):
        for name in ("empty", "fifo", ".", "missing"):
            refused(tmp_path / name)
        with open_core(path) as core:
            core.memory.read(HEAP, 8)
    assert open_descriptors() == before


def test_c_string() -> None:
    memory = Bytes({0x1000: b"x" * 100 + b"\0" + bytes(27), 0x2000: b"no end".ljust(64, b"!")})
    assert c_string(memory, 0x1000) == b"x" * 100
    assert c_string(memory, 0x1063) == b"x"
    assert c_string(memory, 0x1064) == b""
    assert c_string(memory, 0x2000) is None
    assert c_string(memory, 0x3000) is None
    assert c_string(memory, 0x1000, limit=64) is None


def test_c_string_never_exceeds_its_limit() -> None:
    assert c_string(Bytes({0x1000: b"x" * 50 + bytes(14)}), 0x1000, limit=10) is None


def test_an_auxiliary_vector_of_one_entry() -> None:
    one = makecore.note(makecore.NT_AUXV, struct.pack("<QQ", 31, STACK + 64))
    core = parse(Core(notes=[prstatus(), prpsinfo(), one], loads=[Load(STACK, bytes(PAGE))]))
    assert core.arguments == ("php", "x.php")
