"""The files of this disk that are, byte for byte, those the process had mapped."""

from __future__ import annotations

from pathlib import Path

from triage.corefile import CoreFile
from triage.corefile.linkmap import loaded_names
from triage.symbols.finder import Finder


def proven_files(core: CoreFile, finder: Finder) -> dict[str, Path]:
    """Files of the very build that crashed, under each name the process knew them by.

    The kernel's list has the real path of a library, the dynamic loader's the one it was opened
    with (`/lib/…` for `/usr/lib/…`); a debugger asks for the latter.
    """
    files: dict[str, Path] = {}
    by_base: dict[int, Path] = {}
    for module in core.modules:
        located = finder.locate(module)
        if located.file is not None:
            files[module.path] = located.file.path
            by_base[module.base] = located.file.path
    for address, name in loaded_names(core.memory, core.notes.auxv):
        if address in by_base and name.startswith("/"):
            files[name] = by_base[address]
    return files
