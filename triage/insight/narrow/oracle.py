"""Whether a command crashes, and where: by the notes at the beginning of its core, in milliseconds, no GDB."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from triage.corefile import elf, notes
from triage.corefile.elf import ET_CORE, PT_NOTE
from triage.errors import EnvironmentLacks, InputError
from triage.insight.sandbox import Ran, Sandbox, give, run

_PATTERN = Path("/proc/sys/kernel/core_pattern")
_GENERATED = ("/dev/zero", "/memfd:", "[anon")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a process died: signal number, module, and the offset of the instruction in the module's file.

    Code made at run time is `module` "JIT", whose offsets mean nothing: 0.
    """

    signal: int
    module: str
    offset: int

    @property
    def text(self) -> str:
        """`SIGSEGV at opcache.so+0x1a2b`."""
        return f"{notes.signal_name(self.signal)} at {self.module}" + (f"+{self.offset:#x}" if self.offset else "")


def place_of(core: Path) -> Place | None:
    """The place in a core that may be cut off behind its notes; `None` when even those are not whole."""
    data = core.read_bytes()
    try:
        header = elf.read_header(data)
        segments = list(elf.read_segments(data, header))
    except InputError:
        return None
    if header.type != ET_CORE:
        return None
    parts = [segment for segment in segments if segment.type == PT_NOTE]
    found: list[elf.Note] = []
    for part in parts:
        found.extend(elf.read_notes(data[part.offset : part.offset + part.file_size], part.align))
    read = notes.decode(found, header.machine)
    names = notes.PC_SP.get(header.machine or "")
    if not read.threads or names is None or read.signal is None:
        return None
    counter = read.threads[0].registers.get(names[0], 0)
    mapping = next((one for one in read.files if one.start <= counter < one.end), None)
    if mapping is None or mapping.path.startswith(_GENERATED):
        return Place(read.signal.number, "JIT" if mapping is not None else "no file", 0)
    return Place(read.signal.number, mapping.path.rsplit("/", 1)[-1], counter - mapping.start + mapping.offset)


class Oracle:
    """Runs a command in a folder of its own and tells where it died. Use as a context manager.

    Raises:
        EnvironmentLacks: where the kernel hands cores to another program.
    """

    def __init__(self, sandbox: Sandbox, environment: Mapping[str, str], files: Sequence[Path] = ()) -> None:
        """`files` are copied into the folder for each run."""
        self._sandbox = sandbox
        self._environment = environment
        self._files = files
        self._folder = Path()
        self.runs = 0

    def __enter__(self) -> Self:
        needs_core_files()
        self._folder = Path(tempfile.mkdtemp(prefix="triage-narrow-"))
        self._folder.chmod(0o711)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def run(self, argv: Sequence[str]) -> tuple[Ran, Place | None]:
        """One run: how it ended, and where it died."""
        room = Path(tempfile.mkdtemp(dir=self._folder))
        try:
            for file in self._files:
                shutil.copy(file, room)
            give(room, self._sandbox.user)
            self.runs += 1
            ran = run(argv, room, self._environment, self._sandbox)
            if ran.signal is None:
                return ran, None
            cores = [path for path in room.glob("core*") if path.is_file()]
            return ran, next(filter(None, map(place_of, cores)), None) or Place(ran.signal, "unknown place", 0)
        finally:
            shutil.rmtree(room, ignore_errors=True)


def needs_core_files() -> None:
    """Raises EnvironmentLacks where a crash leaves no file beside the process."""
    pattern = _PATTERN.read_text().strip() if _PATTERN.is_file() else "core"
    if pattern.startswith(("|", "/")) or not pattern.startswith("core"):
        raise EnvironmentLacks(
            f"the kernel puts cores elsewhere (core_pattern is {pattern!r})",
            help="On a test machine, as root: sysctl -w kernel.core_pattern=core",
        )
