"""A running process read as if it were a core: no stop, no dump, a few pages of its memory only.

The process goes on meanwhile, so what is read may change under the reader: the checks that guard against
damaged cores guard here too, and a reader that wants to be sure reads twice.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from triage.corefile.core import CoreFile
from triage.corefile.elf import PF_R, PF_W, PF_X, PT_LOAD, Segment, columns_of
from triage.corefile.mappings import FileMapping
from triage.corefile.memory import CoreMemory
from triage.corefile.modules import AT_SYSINFO_EHDR, find_modules
from triage.corefile.notes import Notes, ProcessInfo, ThreadState
from triage.errors import InputError

_LINE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) ([0-9a-f]+) \S+ \d+ *(.*)")
_KERNEL = ("[vvar]", "[vsyscall]", "[vvar_vclock]")
_USER_END = 1 << 47


class _Window:
    """Another process's memory as a buffer: its offsets are addresses. Unreadable places are empty."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __len__(self) -> int:
        return _USER_END

    def __getitem__(self, key: slice) -> bytes:
        start = key.start or 0
        try:
            return os.pread(self._descriptor, max(0, (key.stop or 0) - start), start)
        except OSError:
            return b""


@contextmanager
def open_live(pid: int) -> Iterator[CoreFile]:
    """A running process for the length of a `with` block.

    Raises:
        InputError: `gone` when it has ended, `not-allowed` when this user may not read it.
    """
    folder = Path("/proc") / str(pid)
    try:
        descriptor = os.open(folder / "mem", os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError as error:
        raise InputError("not-allowed", f"process {pid} may not be read", help="Run this as root.") from error
    except OSError as error:
        raise InputError("gone", f"process {pid} has ended") from error
    try:
        yield _read(pid, folder, descriptor)
    except (FileNotFoundError, ProcessLookupError) as error:
        raise InputError("gone", f"process {pid} has ended") from error
    finally:
        os.close(descriptor)


def _read(pid: int, folder: Path, descriptor: int) -> CoreFile:
    window = _Window(descriptor)
    loads, files = _maps((folder / "maps").read_text(errors="surrogateescape"))
    auxv = (folder / "auxv").read_bytes()
    vector = dict(struct.iter_unpack("<QQ", auxv[: len(auxv) // 16 * 16]))
    memory = CoreMemory(window, columns_of(loads), files)
    title = (folder / "cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ").decode("utf-8", "backslashreplace")
    process = ProcessInfo(pid, (folder / "comm").read_text().strip(), title, folder.stat().st_uid)
    notes = Notes(threads=(ThreadState(pid, 0, {}),), process=process, auxv=vector, files=files)
    modules = tuple(find_modules(memory, files, vector.get(AT_SYSINFO_EHDR)))
    return CoreFile(folder, 0, 0, os.uname().machine, notes, memory, modules, f"live-{pid}")


def _maps(text: str) -> tuple[list[Segment], tuple[FileMapping, ...]]:
    loads, files = [], []
    for line in text.splitlines():
        found = _LINE.match(line)
        if found is None or found[5] in _KERNEL:
            continue
        start, end, offset = int(found[1], 16), int(found[2], 16), int(found[4], 16)
        if end > _USER_END or not found[3].startswith("r"):
            continue
        flags = PF_R | (PF_W if "w" in found[3] else 0) | (PF_X if "x" in found[3] else 0)
        loads.append(Segment(PT_LOAD, flags, start, start, end - start, end - start, 0))
        if found[5].startswith("/"):
            files.append(FileMapping(start, end, offset, found[5]))
    return loads, tuple(files)
