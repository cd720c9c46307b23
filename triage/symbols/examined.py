"""The modules of a process as its record has them, and what is wrong with their files."""

from __future__ import annotations

from typing import NamedTuple

from triage.corefile import CoreFile
from triage.model import Module, Symbols
from triage.symbols.finder import Finder


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
        located = finder.locate(module)
        if located.symbols is Symbols.MISMATCH:
            wrong.append(
                f"{module.path} on this machine is another build than the one that crashed "
                f"(build-id {module.build_id}): its names are not used. It was updated since, or the core "
                "comes from another machine (--sysroot, --debug-dir)."
            )
        elif not located.verified:
            doubtful.append(f"{module.path}: the core holds no build-id, so the file could not be proven")
        found.append(
            Module(
                path=module.path,
                build_id=module.build_id,
                start=module.start,
                end=module.end,
                symbols=located.symbols,
                base=module.base,
                deleted=module.deleted,
            )
        )
    executable = core.executable
    if executable is not None and finder.locate(executable).symbols is Symbols.MISSING:
        wrong.append(
            f"the program {executable.path} is not on this machine, so native names and frames are incomplete. "
            "Give the folder that has it with --sysroot or --debug-dir."
        )
    return Examined(tuple(found), tuple(wrong), tuple(doubtful))
