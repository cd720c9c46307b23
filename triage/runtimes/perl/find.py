"""Where Perl keeps its state: `PL_curinterp`, which every Perl exports, and the crashed thread's own interpreter."""

from __future__ import annotations

import re
from dataclasses import dataclass

from triage.corefile import CoreFile
from triage.corefile.modules import MappedModule
from triage.runtimes.first import first_read
from triage.runtimes.layout import Layout, known, load
from triage.runtimes.perl.values import Values
from triage.symbols import Finder

_LOOKS_LIKE_PERL = re.compile(r"/(?:lib)?perl(?:5[.\d]*)?(?:\.so[.\d]*)?$")
_PACKAGE = __package__ or ""
_WORDS = ("PL_revision", "PL_version", "PL_subversion")
# glibc, struct pthread: values by key, each after a sequence number (nptl/descr.h: specific_1stblock).
_SPECIFIC_AT, _SPECIFIC_SIZE, _MOST_KEYS = 0x310, 16, 32


@dataclass(frozen=True, slots=True)
class Perl:
    """Perl found in a core; `interpreter` is the crashed thread's, `threaded` tells a build with threads."""

    module: MappedModule
    interpreter: int
    version: str
    layout: Layout
    threaded: bool
    warnings: tuple[str, ...] = ()


def find_perl(core: CoreFile, finder: Finder) -> Perl | str | None:
    """Perl in this core; `None` when there is none; a sentence when there is but it cannot be read."""
    candidates = [module for module in core.modules if _LOOKS_LIKE_PERL.search(module.path)]
    candidates.sort(key=lambda module: ".so" not in module.path)
    if core.executable is not None and core.executable not in candidates:
        candidates.append(core.executable)
    return first_read(_in_module(core, finder, module) for module in candidates)


def _in_module(core: CoreFile, finder: Finder, module: MappedModule) -> Perl | str | None:
    located = finder.locate(module)
    what = f"Perl's own state was not read: {module.path}"
    if located.file is None:
        if not _LOOKS_LIKE_PERL.search(module.path):
            return None
        return (
            f"{what} (build-id {module.build_id or 'unknown'}) is not on this machine as the build that crashed. "
            "Give its folder with --sysroot or --debug-dir."
        )
    symbols = located.file.symbols
    if "PL_curinterp" not in symbols:
        return None
    words = [core.memory.read(symbols[name].address + module.base, 1) for name in _WORDS if name in symbols]
    numbers = [word[0] for word in words if word]
    if len(numbers) != len(_WORDS):
        return f"{what} does not tell its version"
    layout = load(_PACKAGE, f"{numbers[0]}.{numbers[1]}")
    version = ".".join(map(str, numbers))
    if layout is None:
        return f"{what}: no structure table for Perl {version}; known are {', '.join(known(_PACKAGE))}"
    values = Values(core.memory, layout)
    main = values.number(symbols["PL_curinterp"].address + module.base)
    key = values.number(symbols["PL_thr_key"].address + module.base, 4) if "PL_thr_key" in symbols else None
    own = _own(core, values, key)
    found = own or main
    if not found or not is_interpreter(values, found):
        return f"{what} {version}: its interpreter does not hold together; it was starting, ending, or is damaged"
    return Perl(module, found, version, layout, key is not None)


def _own(core: CoreFile, values: Values, key: int | None) -> int | None:
    """The interpreter of the thread that crashed, by the key that Perl keeps it under."""
    base = core.notes.threads[0].registers.get("fs_base")
    if not base or key is None or key >= _MOST_KEYS:
        return None
    found = values.number(base + _SPECIFIC_AT + key * _SPECIFIC_SIZE + 8)
    return found if found and is_interpreter(values, found) else None


def is_interpreter(values: Values, address: int) -> bool:
    """Whether the main package of the interpreter at `address` is one."""
    if not values.sound(address):
        return False
    return values.package(values.field(address, "interpreter", "defstash")) == "main"
