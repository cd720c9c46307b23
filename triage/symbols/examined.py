"""The modules of a process as its record has them, and what is wrong with their files."""

from __future__ import annotations

from typing import NamedTuple

from triage.corefile import CoreFile
from triage.model import Module, Symbols
from triage.symbols.finder import Finder

_new = tuple.__new__  # a third of the time that calling a NamedTuple takes


class Examined(NamedTuple):
    """All modules, and sentences: `wrong` where a file is missing or is another one, `doubtful` where not proven."""

    modules: tuple[Module, ...]
    wrong: tuple[str, ...]
    doubtful: tuple[str, ...]


def examined(core: CoreFile, finder: Finder) -> Examined:
    """What there is to know of the files the process was made of."""
    found: list[Module] = []
    wrong: list[str] = []
    doubtful: list[str] = []
    for module in core.modules:
        path, start, end, base, build_id, deleted = module
        located = finder.locate(module)
        symbols = located.symbols
        if symbols is Symbols.MISMATCH:
            wrong.append(
                f"{path} on this machine is another build than the one that crashed "
                f"(build-id {build_id}): its names are not used. It was updated since, or the core "
                "comes from another machine (--sysroot, --debug-dir)."
            )
        elif not located.verified:
            doubtful.append(f"{path}: the core holds no build-id, so the file could not be proven")
        found.append(_new(Module, (path, build_id, start, end, symbols, base, deleted)))
    executable = core.executable
    if executable is not None and finder.locate(executable).symbols is Symbols.MISSING:
        wrong.append(
            f"the program {executable.path} is not on this machine, so native names and frames are incomplete. "
            "Give the folder that has it with --sysroot or --debug-dir."
        )
    return Examined(tuple(found), tuple(wrong), tuple(doubtful))
