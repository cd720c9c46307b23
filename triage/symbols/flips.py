"""Program code in the core held against its file: a wrong bit in memory, or code somebody patched.

The kernel leaves code out of a core unless it was written to, or unless coredump_filter asks for it.
What is there and belongs to a proven file must be equal to it, byte for byte.
"""

from __future__ import annotations

from triage.corefile import CoreFile
from triage.corefile.modules import MappedModule
from triage.model import Flip
from triage.symbols.elffile import ElfFile
from triage.symbols.finder import Finder

_PIECE = 1 << 20
_MOST_MODULES = 20


def flips(core: CoreFile, finder: Finder) -> tuple[Flip, ...]:
    """The first difference of each module whose code differs, with the number of places."""
    found = []
    for module in core.modules:
        flip = _first(core, finder, module)
        if flip is not None:
            found.append(flip)
    return tuple(found[:_MOST_MODULES])


def _first(core: CoreFile, finder: Finder, module: MappedModule) -> Flip | None:
    located = finder.locate(module)
    if located.file is None or not located.verified:
        return None
    places: list[tuple[int, int, int]] = []
    for code, length in located.file.code():
        if not core.memory.is_dumped(code + module.base, code + module.base + length):
            continue  # nearly always: code that nobody wrote to is left out
        for at in range(code, code + length, _PIECE):
            size = min(_PIECE, code + length - at)
            places += _differences(core, located.file, module, at, size)
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
