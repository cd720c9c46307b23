"""Where CPython keeps its state: `_PyRuntime`, and by what means it was found.

First by name (Debian's stripped binary exports it), then by the cookie that 3.13 and newer begin
it with, then by a search for an interpreter and a thread that point at each other. What does not
verify is not there.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from triage.corefile import CoreFile
from triage.corefile.elf import PF_W
from triage.corefile.modules import MappedModule
from triage.runtimes.first import first_read
from triage.runtimes.layout import Layout, known, load
from triage.runtimes.python.objects import Objects
from triage.runtimes.python.offsets import own_offsets
from triage.symbols import Finder

_LOOKS_LIKE_PYTHON = re.compile(r"/(?:lib)?python(?:\d(?:\.\d+)?)?t?d?(?:\.so[.\d]*)?$")
_MINOR = re.compile(r"(?:python|cpython-)(\d)\.?(\d+)")
_COOKIE = b"xdebugpy"
_MOST_SEARCHED = 16 << 20
_PACKAGE = __package__ or ""
_HIGHEST = 1 << 47
_RELEASES = {0xA: "a", 0xB: "b", 0xC: "rc"}


@dataclass(frozen=True, slots=True)
class Python:
    """CPython found in a core. `interpreter` is the main interpreter's state; `provenance` how it was found."""

    module: MappedModule
    runtime: int
    interpreter: int
    version: str
    layout: Layout
    provenance: str
    warnings: tuple[str, ...] = ()


def find_python(core: CoreFile, finder: Finder, *, without: frozenset[str] = frozenset()) -> Python | str | None:
    """CPython in this core; `None` when there is none; a sentence when there is but it cannot be read.

    `without` leaves out means of finding: `symbols`, `cookie`, `search`.
    """
    return first_read(_Search(core, finder, module, without).run() for module in _candidates(core))


def _candidates(core: CoreFile) -> list[MappedModule]:
    """A library before the program: with a shared libpython the program holds nothing."""
    found = [module for module in core.modules if _LOOKS_LIKE_PYTHON.search(module.path)]
    found.sort(key=lambda module: ".so" not in module.path)
    executable = core.executable
    if executable is not None and executable not in found:
        found.append(executable)
    return found


class _Search:
    """The search in one module."""

    def __init__(self, core: CoreFile, finder: Finder, module: MappedModule, without: frozenset[str]) -> None:
        self._core = core
        self._module = module
        self._without = without
        self._located = finder.locate(module)
        self._named = _LOOKS_LIKE_PYTHON.search(module.path) is not None

    def run(self) -> Python | str | None:
        runtime = self._by_name()
        if runtime is not None:
            return self._verified(runtime, "symbol") or self._lacking()
        if not self._named:
            return None
        for place in self._by_cookie():
            found = self._verified(place, "cookie")
            if found is not None:
                return found
        return self._by_search() or self._lacking()

    def _by_name(self) -> int | None:
        file = self._located.file
        if file is None or "symbols" in self._without:
            return None
        symbol = file.symbols.get("_PyRuntime")
        return symbol.address + self._module.base if symbol is not None else None

    def _writable(self) -> Iterator[tuple[int, bytes]]:
        """The module's own variables, as far as the core has them."""
        for region in self._core.memory.regions():
            if region.flags & PF_W and self._module.start <= region.start < self._module.end:
                raw = self._core.memory.read(region.start, min(region.end - region.start, _MOST_SEARCHED))
                if raw is not None:
                    yield region.start, raw

    def _by_cookie(self) -> Iterator[int]:
        for start, raw in self._writable() if "cookie" not in self._without else ():
            at = raw.find(_COOKIE)
            if at >= 0:
                yield start + at

    def _by_search(self) -> Python | None:
        """The first word that leads to an interpreter whose thread leads back to it."""
        for layout in self._guesses() if "search" not in self._without else ():
            objects = Objects(self._core.memory, layout)
            for start, raw in self._writable():
                words = struct.unpack_from(f"<{len(raw) // 8}Q", raw)
                for number, word in enumerate(words):
                    if word % 8 or not self._module.end <= word < _HIGHEST or not is_interpreter(objects, word):
                        continue
                    runtime = start + number * 8 - layout.offset("runtime_state", "interpreters_head")
                    found = self._identified(objects, runtime, word, "search")
                    if found is not None:
                        return found
        return None

    def _guesses(self) -> list[Layout]:
        """Layouts, the likeliest version first: the one the file names of this process speak of."""
        keys = list(known(_PACKAGE))
        told = _versions_told([self._module.path, *(module.path for module in self._core.modules)])
        keys.sort(key=lambda key: told.index(key) if key in told else len(told))
        likely = [key for key in keys if key in told]
        return [layout for key in likely or keys if (layout := load(_PACKAGE, key)) is not None]

    def _verified(self, runtime: int, means: str) -> Python | None:
        told = own_offsets(self._core.memory, runtime)
        layouts = [told] if told is not None else self._guesses()
        for layout in layouts:
            objects = Objects(self._core.memory, layout)
            head = objects.pointer(runtime, "runtime_state", "interpreters_head")
            if head is not None and is_interpreter(objects, head):
                found = self._identified(objects, runtime, _main(objects, head), means)
                if found is not None:
                    return found
        return None

    def _identified(self, objects: Objects, runtime: int, interpreter: int, means: str) -> Python | None:
        """Python with its exact version, when that version is the one the layout was measured for."""
        number = objects.integer(
            objects.get(objects.field(interpreter, "interpreter_state", "sysdict"), "hexversion")
        )
        if number is None or number >> 16 != (objects.layout.constant("PY_VERSION_HEX") or 0) >> 16:
            return None
        return Python(self._module, runtime, interpreter, _version(number), objects.layout, means)

    def _lacking(self) -> str | None:
        what = f"Python's own state was not read: {self._module.path}"
        if self._located.file is None:
            mismatch = self._located.symbols == "mismatch"
            why = "is of another build than the one that crashed" if mismatch else "is not on this machine"
            return (
                f"{what} {why} (build-id {self._module.build_id or 'unknown'}), and a search of its memory found "
                "no interpreter. Give its folder with --sysroot or --debug-dir."
            )
        if self._by_name() is None and "/lib" not in self._module.path:
            return None  # the thin program of a shared library
        return (
            f"{what} has no interpreter that holds together. It crashed while Python was starting or ending, its "
            f"memory is damaged, or it is a version never measured (known are {', '.join(known(_PACKAGE))})."
        )


def _versions_told(paths: Sequence[str]) -> list[str]:
    found = (_MINOR.search(path) for path in paths)
    return list(dict.fromkeys(f"{match[1]}.{match[2]}" for match in found if match))


def is_interpreter(objects: Objects, address: int) -> bool:
    """Whether the first thread of the interpreter at `address` says that it belongs to it."""
    thread = objects.pointer(address, "interpreter_state", "threads_head")
    if thread is None or objects.field(thread, "thread_state", "interp") != address:
        return False
    return objects.is_a(objects.field(address, "interpreter_state", "sysdict"), "dict")


def _main(objects: Objects, head: int) -> int:
    """The interpreter numbered 0: others are put before it in the list."""
    at, seen = head, 0
    while at and seen < 1000:
        if objects.field(at, "interpreter_state", "id") == 0:
            return at if is_interpreter(objects, at) else head
        at, seen = objects.pointer(at, "interpreter_state", "next") or 0, seen + 1
    return head


def _version(number: int) -> str:
    """`3.11.2`, `3.14.0rc2`: sys.hexversion in words."""
    level = _RELEASES.get(number >> 4 & 0xF, "")
    return f"{number >> 24}.{number >> 16 & 0xFF}.{number >> 8 & 0xFF}" + (f"{level}{number & 0xF}" if level else "")
