"""The files of this disk that are, byte for byte, those the process had mapped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from triage.corefile import CoreFile
from triage.corefile.linkmap import loaded_names
from triage.corefile.modules import MappedModule
from triage.corefile.twins import Asked, Twins
from triage.symbols.elffile import ElfFile
from triage.symbols.finder import Finder


def proven_files(core: CoreFile, finder: Finder) -> dict[str, Path]:
    """Files of the very build that crashed, under each name the process knew them by.

    The kernel's list has the real path of a library, the dynamic loader's the one it was opened
    with (`/lib/…` for `/usr/lib/…`); a debugger asks for the latter.
    """
    found = list(_located(core, finder))
    by_base = {module.base: located.path for module, located in found}
    files = {module.path: located.path for module, located in found}
    for address, name in libraries(core, finder).names.items():
        if address in by_base and name.startswith("/"):
            files[name] = by_base[address]
    return files


def proven_modules(core: CoreFile, finder: Finder) -> tuple[MappedModule, ...]:
    """The modules whose files these are."""
    return tuple(module for module, _ in _located(core, finder))


def debug_files(core: CoreFile, finder: Finder) -> tuple[Path, ...]:
    """The separate files with debug information of the modules, resolved: links to them lie where GDB looks."""
    found = (finder.locate(module).debug for module in core.modules)
    return tuple(dict.fromkeys(path.resolve() for path in found if path is not None))


def _located(core: CoreFile, finder: Finder) -> Iterator[tuple[MappedModule, ElfFile]]:
    for module in core.modules:
        file = finder.locate(module).file
        if file is not None:
            yield module, file


@dataclass(frozen=True, slots=True)
class Libraries:
    """What the dynamic loader of the process had loaded: `names` by load address."""

    names: dict[int, str]

    def named(self, core: CoreFile) -> frozenset[str]:
        """Every path the core names, proven or not."""
        return frozenset((*self.names.values(), *(module.path for module in core.modules)))

    def on(self, core: CoreFile, addresses: Iterable[int]) -> tuple[str, ...]:
        """The loader's names of the libraries these addresses lie in."""
        bases = {module.base for module in map(core.module_at, addresses) if module is not None}
        return tuple(self.names[base] for base in sorted(bases) if base in self.names)


def libraries(core: CoreFile, finder: Finder) -> Libraries:
    """The dynamic loader's list."""
    twins, auxv = finder.kept(Twins), core.notes.auxv
    asked = Asked((twins.kind(core.modules), "libraries", tuple(auxv.items())))
    return twins.get(core, asked, lambda own: Libraries(dict(loaded_names(own.memory, auxv))))
