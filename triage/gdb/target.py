"""What GDB is to open for a core: its program, the proven files, and where debug information lies."""

from __future__ import annotations

from pathlib import Path

from triage.corefile import CoreFile
from triage.gdb.session import Target
from triage.symbols import Finder
from triage.symbols.proven import debug_files, proven_files, proven_modules


def program_of(core: CoreFile, finder: Finder) -> Path | None:
    """The proven file of the program that crashed."""
    file = finder.locate(core.executable).file if core.executable else None
    return file.path if file else None


def target_of(core: CoreFile, finder: Finder) -> Target:
    """The target for an open core, all of its libraries included."""
    return Target(
        core=core.path,
        executable=program_of(core, finder),
        files=proven_files(core, finder),
        debug_dirs=finder.debug_dirs,
        debug_files=debug_files(core, finder),
        modules=proven_modules(core, finder),
    )
