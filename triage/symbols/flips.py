"""Program code in the core held against its file: a wrong bit in memory, or code somebody patched.

The kernel leaves code out of a core unless it was written to, or unless coredump_filter asks for it.
What is there and belongs to a proven file must be equal to it, byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterator

from triage.corefile import CoreFile
from triage.corefile.modules import MappedModule
from triage.corefile.movable import Files
from triage.corefile.twins import Twins
from triage.model import Flip
from triage.symbols.elffile import ElfFile
from triage.symbols.finder import Finder

_PIECE = 1 << 20
_MOST_MODULES = 20


def flips(core: CoreFile, finder: Finder) -> tuple[Flip, ...]:
    """The first difference of each module whose code differs, with the number of places."""
    twins = finder.kept(Twins)
    code = twins.alike(core, "code", lambda files: tuple(_code(files, finder)))
    _, modules, bases = twins.files(core)
    # Nearly always there is none: code that nobody wrote to is left out of the core.
    dumped = core.memory.dumped_among([(bases[number] + start, bases[number] + end) for number, start, end in code])
    changed = sorted({modules[code[at][0]] for at in dumped}, key=lambda module: module.start)
    found = (_first(core, finder, module) for module in changed)
    return tuple(flip for flip in found if flip is not None)[:_MOST_MODULES]


def _code(files: Files, finder: Finder) -> Iterator[tuple[int, int, int]]:
    """Where code of proven files lies: `(number of the file, start, end)`, as distances from its base."""
    for number, module in enumerate(files.modules):
        located = finder.locate(module)
        if located.file is not None and located.verified:
            for start, length in located.file.code():
                yield number, start, start + length


def _first(core: CoreFile, finder: Finder, module: MappedModule) -> Flip | None:
    file = finder.locate(module).file
    if file is None:
        return None
    places: list[tuple[int, int, int]] = []
    for code, length in file.code():
        for at in range(code, code + length, _PIECE):
            places += _differences(core, file, module, at, min(_PIECE, code + length - at))
    if not places:
        return None
    address, expected, actual = places[0]
    bits = (expected ^ actual).bit_count()
    return Flip(module=module.path, address=address, expected=expected, found=actual, bits=bits, count=len(places))


def _differences(
    core: CoreFile, file: ElfFile, module: MappedModule, at: int, size: int
) -> list[tuple[int, int, int]]:
    """`(address, the file's byte, the core's byte)` where the two differ, in what the kernel dumped."""
    start = at + module.base
    found: list[tuple[int, int, int]] = []
    while size > 0:
        dumped = core.memory.dumped(start, size)
        if not dumped:
            region = core.memory.region_at(start)
            step = min(size, region.end - start) if region is not None else size
        else:
            step = len(dumped)
            own = file.read(start - module.base, step)
            if own is not None and own != dumped:
                found += [(start + n, a, b) for n, (a, b) in enumerate(zip(own, dumped, strict=True)) if a != b]
        start, size = start + step, size - step
    return found
