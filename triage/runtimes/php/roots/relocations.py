"""Addresses of PHP's globals as the loader wrote them into an extension's own table.

An extension that uses `executor_globals` has a slot for its address, which the loader filled. The
slot's place is in the extension's file, its contents are in the core: so the address is known
although PHP's own file is not at hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from triage.corefile import CoreFile
from triage.corefile.modules import MappedModule
from triage.symbols import Finder
from triage.symbols.whole import parse

_MOST_FILES = 60
_FILLED = {"X86_64_GLOB_DAT", "X86_64_64", "AARCH64_GLOB_DAT", "AARCH64_ABS64"}


def relocated(
    core: CoreFile, finder: Finder, php: MappedModule, names: Sequence[str]
) -> Iterator[tuple[str, int, str]]:
    """`(name, address, file)` for those of `names` that a proven library of this process refers to."""
    wanted = set(names)
    libraries = [module for module in core.modules if ".so" in module.path and module.path != php.path]
    for module in libraries[:_MOST_FILES]:
        file = finder.locate(module).file
        if file is None or not wanted:
            continue
        for name, place in _slots(str(file.path), wanted):
            raw = core.memory.dumped(module.base + place, 8)
            address = int.from_bytes(raw, "little") if raw and len(raw) == 8 else 0
            if php.start <= address < php.end:
                wanted.discard(name)
                yield name, address, module.path


def _slots(path: str, wanted: set[str]) -> list[tuple[str, int]]:
    """Names and virtual addresses of the slots of one file."""
    binary = parse(path, relocations=True)
    found = []
    for relocation in binary.dynamic_relocations if binary is not None else ():
        symbol = relocation.symbol if relocation.has_symbol and relocation.type.name in _FILLED else None
        if symbol is not None and str(symbol.name) in wanted:
            found.append((str(symbol.name), relocation.address))
    return found
