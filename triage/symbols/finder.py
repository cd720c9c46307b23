"""From a module in the core to the file on the disk that is that very build.

A file counts only when its build-id equals the one in the core. A file of another build names
the wrong functions with full confidence, so it is reported and never used.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from triage.corefile.elf import Buffer
from triage.corefile.mappings import FileMapping
from triage.corefile.modules import VDSO, MappedModule, map_of
from triage.errors import InputError
from triage.model import Symbols
from triage.symbols.debuginfod import Debuginfod
from triage.symbols.elffile import ElfFile
from triage.symbols.index import Index
from triage.symbols.separate import debug_link, has_crc, places

DEBUG_FOLDER = Path("/usr/lib/debug")
_LINKS = 40
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Located:
    """What was found for one module. `file` is set only for the build that crashed.

    `verified` is false when the core holds no build-id to compare with. `debug` is the separate file
    with debug information that is filed under the module's build-id.
    """

    symbols: Symbols
    file: ElfFile | None
    verified: bool = True
    debug: Path | None = None


_KERNELS = Located(Symbols.DYNAMIC, None)
"""The vDSO: there is no file of it."""


class Finder:
    """Finds module files and remembers them for the next core."""

    def __init__(
        self, sysroot: Path | None = None, debug_dirs: tuple[Path, ...] = (), debuginfod: Debuginfod | None = None
    ) -> None:
        self._sysroot = sysroot
        self._folders = (*debug_dirs, *([resolve(sysroot, str(DEBUG_FOLDER))] if sysroot else []), DEBUG_FOLDER)
        self._indexes = tuple(Index(folder) for folder in debug_dirs)
        self._debuginfod = debuginfod or Debuginfod(())
        self._links: Path | None = None
        self._opened: dict[tuple[str, int, int], ElfFile | None] = {}
        self._located: dict[tuple[str, str | None], Located] = {}
        self._kept: dict[type[object], object] = {}

    def kept(self, kind: type[T]) -> T:
        """What another room keeps of builds for the next core: one object of its own making, for as long as this."""
        found = self._kept.get(kind)
        if found is None:
            found = self._kept[kind] = kind()
        if not isinstance(found, kind):
            raise TypeError(f"not a {kind}")
        return found

    @property
    def debug_dirs(self) -> tuple[Path, ...]:
        """Folders that have debug files under .build-id/, for the debugger."""
        return (*([self._links] if self._links else []), *self._folders)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What went wrong while files were looked for."""
        return tuple(self._debuginfod.failures)

    def locate(self, module: MappedModule) -> Located:
        """The file for `module`, and what names it offers."""
        if module.path == VDSO:
            return _KERNELS
        key = (module.path, module.build_id)
        found = self._located.get(key)
        if found is None:
            found = self._located[key] = self._search(module)
        return found

    def _search(self, module: MappedModule) -> Located:
        on_disk = self._open(resolve(self._sysroot, module.path))
        by_id = self._by_build_id(module.build_id)
        proven = on_disk if on_disk is not None and on_disk.build_id == module.build_id else by_id
        debug = self._debug_file(module.build_id, proven)
        if on_disk is None and by_id is None:
            return Located(Symbols.MISSING, None, debug=debug)
        if on_disk is not None and module.build_id in (None, on_disk.build_id):
            return Located(_grade(on_disk, debug), on_disk, module.build_id is not None, debug)
        if by_id is not None:
            return Located(_grade(by_id, debug), by_id, debug=debug)
        return Located(Symbols.MISMATCH, None, debug=debug)

    def _by_build_id(self, build_id: str | None) -> ElfFile | None:
        """The program itself: filed under its build-id, anywhere in a given folder, or from a server."""
        if build_id is None:
            return None
        for path in self._candidates(build_id, ""):
            found = self._open(path)
            if found is not None and found.build_id == build_id and not found.is_only_debug:
                return found
        fetched = self._debuginfod.fetch(build_id, "executable")
        found = self._open(fetched) if fetched else None
        return found if found is not None and found.build_id == build_id else None

    def _candidates(self, build_id: str, suffix: str) -> Iterator[Path]:
        for folder in self._folders:
            yield folder / ".build-id" / build_id[:2] / f"{build_id[2:]}{suffix}"
        for index in self._indexes:
            yield from index.paths(build_id)

    def _debug_file(self, build_id: str | None, program: ElfFile | None) -> Path | None:
        """The separate debug file of that build; one not filed by its build-id is linked where GDB looks."""
        if build_id is None:
            return None
        for folder in self._folders:
            filed = folder / ".build-id" / build_id[:2] / f"{build_id[2:]}.debug"
            if filed.is_file():
                return filed
        for path in self._elsewhere(build_id, program):
            found = self._open(path)
            own = program is not None and path == program.path
            if not own and found is not None and found.build_id == build_id and found.has_symtab:
                return self._filed(build_id, path)
        return None

    def _elsewhere(self, build_id: str, program: ElfFile | None) -> Iterator[Path]:
        for index in self._indexes:
            yield from index.paths(build_id)
        link = debug_link(program.section(".gnu_debuglink")) if program is not None else None
        if link is not None and program is not None:
            yield from (path for path in places(program.path, link, self._folders) if has_crc(path, link.crc))
        fetched = self._debuginfod.fetch(build_id, "debuginfo")
        if fetched is not None:
            yield fetched

    def _filed(self, build_id: str, path: Path) -> Path:
        if self._links is None:
            self._links = Path(tempfile.mkdtemp(prefix="triage-debug-"))
            self._links.chmod(0o755)  # links only, and GDB may be another user
            weakref.finalize(self, shutil.rmtree, self._links, ignore_errors=True)
        place = self._links / ".build-id" / build_id[:2] / f"{build_id[2:]}.debug"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(path.absolute())
        return path

    def _open(self, path: Path) -> ElfFile | None:
        try:
            stamp = path.stat()
        except OSError:
            return None
        key = (str(path), stamp.st_mtime_ns, stamp.st_ino)
        if key not in self._opened:
            try:
                self._opened[key] = ElfFile(path)
            except InputError:
                self._opened[key] = None  # not an ELF file or not readable: the same as not there
        return self._opened[key]

    def backing(self, modules: tuple[MappedModule, ...]) -> BackingFiles:
        """Contents of mapped files for `CoreMemory`, proven builds only."""
        return BackingFiles(self, modules)


class BackingFiles:
    """The `corefile.memory.Backing` of one core."""

    def __init__(self, finder: Finder, modules: tuple[MappedModule, ...]) -> None:
        self._finder = finder
        self._modules = map_of(modules)

    def __call__(self, mapping: FileMapping) -> Buffer | None:
        """The file behind `mapping`, when it is the build that crashed."""
        module = self._modules.at(mapping.start)
        located = self._finder.locate(module) if module is not None else None
        return located.file.contents if located and located.file and located.verified else None


def _grade(file: ElfFile, debug: Path | None) -> Symbols:
    if debug is not None or file.has_symtab or file.has_debug_info:
        return Symbols.FULL
    return Symbols.DYNAMIC if file.has_dynamic_symbols else Symbols.NONE


def resolve(sysroot: Path | None, path: str) -> Path:
    """`path` inside `sysroot`, every symbolic link followed as if the sysroot were `/`.

    Nothing a link says leads outside: a container's image may point anywhere.
    """
    if sysroot is None:
        return Path(path)
    root = sysroot.resolve()
    done: list[str] = []
    links = 0
    todo = [part for part in reversed(path.split("/")) if part not in ("", ".")]
    while todo:
        part = todo.pop()
        if part == "..":
            done = done[:-1]
            continue
        here = root.joinpath(*done, part)
        try:
            target = str(here.readlink()) if links < _LINKS else None
        except OSError:
            target = None
        if target is None:
            done.append(part)
            continue
        links += 1
        done = [] if target.startswith("/") else done
        todo.extend(piece for piece in reversed(target.split("/")) if piece not in ("", "."))
    return root.joinpath(*done)
