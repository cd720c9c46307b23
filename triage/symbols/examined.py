"""The modules of a process as its record has them, and what is wrong with their files."""

from __future__ import annotations

from itertools import repeat
from operator import itemgetter
from typing import NamedTuple

from triage.corefile import CoreFile
from triage.corefile.movable import Files
from triage.corefile.twins import Twins
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
    twins = finder.kept(Twins)
    _, modules, bases = twins.files(core)
    symbols, sound = twins.alike(core, "symbols", lambda files: _symbols(files, finder))
    paths, starts, ends, _, build_ids, deleted = zip(*modules, strict=True) if modules else ((),) * 6
    rows = zip(paths, build_ids, starts, ends, symbols, bases, deleted, strict=True)
    found = sorted(map(_new, repeat(Module), rows), key=itemgetter(2))
    wrong, doubtful = ([], []) if sound else _amiss(core, finder)
    executable = core.executable
    if executable is not None and finder.locate(executable).symbols is Symbols.MISSING:
        wrong.append(
            f"the program {executable.path} is not on this machine, so native names and frames are incomplete. "
            "Give the folder that has it with --sysroot or --debug-dir."
        )
    return Examined(tuple(found), tuple(wrong), tuple(doubtful))


def _symbols(files: Files, finder: Finder) -> tuple[tuple[Symbols, ...], bool]:
    """What names each file offers, and whether all are proven."""
    located = [finder.locate(module) for module in files.modules]
    symbols = tuple(one.symbols for one in located)
    return symbols, Symbols.MISMATCH not in symbols and all(one.verified for one in located)


def _amiss(core: CoreFile, finder: Finder) -> tuple[list[str], list[str]]:
    """`wrong` and `doubtful`, as `Examined` has them."""
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
    return wrong, doubtful
