"""What is wrong with the files the process ran from: replaced, mixed, built for another PHP, or changed in memory."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from functools import lru_cache
from operator import itemgetter

from triage.diagnose.case import Case, file_name
from triage.model import Confidence, Finding, Module, Symbols, Topic
from triage.text import plural

_ANY = re.compile(r"\.so[.\d]*$")
_PATH = itemgetter(Module._fields.index("path"), Module._fields.index("build_id"))
_SYMBOLS, _DELETED = itemgetter(Module._fields.index("symbols")), itemgetter(Module._fields.index("deleted"))
_NOT_FILES = re.compile(r"^(/dev/|/memfd:|/SYSV|\[)")


def replaced_files(case: Case) -> Finding | None:
    """Files were replaced on the disk while the process still ran the old ones."""
    if True not in map(_DELETED, case.modules):
        return None
    gone = [module for module in case.modules if module.deleted and not _NOT_FILES.match(module.path)]
    if not gone:
        return None
    names = _names(gone)
    return Finding(
        rule="replaced-files",
        topic=Topic.SETUP,
        title=f"Files were replaced while the process was running: {names}",
        confidence=Confidence.PROVED,
        evidence=tuple(f"{module.path} is marked (deleted) in the core's list of mapped files" for module in gone),
        explanation=(
            "An update put new files in place, but this process went on with the old ones. Parts that are "
            "loaded later "
            "(extensions, scripts, locales) are then of another version than the rest. A restart was missed."
        ),
        next_steps=("Restart the service after updates: systemctl restart php8.2-fpm (with your version).",),
    )


def other_build(case: Case) -> Finding | None:
    """The file on this disk is not the one that crashed: said once, for whoever reads the crash on the same host."""
    if Symbols.MISMATCH not in map(_SYMBOLS, case.modules):
        return None
    other = [module for module in case.modules if module.symbols is Symbols.MISMATCH and not module.deleted]
    if not other:
        return None
    return Finding(
        rule="other-build-on-disk",
        topic=Topic.SETUP,
        title=f"The files on this disk are not the ones that crashed: {_names(other)}",
        confidence=Confidence.PROVED,
        evidence=tuple(
            f"{module.path}: the core has build-id {(module.build_id or '?')[:16]}, the file on the disk another one"
            for module in other
        ),
        explanation=(
            "Either the core is from another machine, or the files were updated after the crash. Names of functions "
            "in these files are not used, since they would be wrong."
        ),
        next_steps=("Read the core on the machine it is from, or give its files with --sysroot.",),
    )


@lru_cache(maxsize=1024)
def _library(path: str) -> str | None:
    """A library's name without its version; `None` for what is no library."""
    return _ANY.sub("", file_name(path)) if _ANY.search(path) else None


@lru_cache(maxsize=256)
def _any_twice(files: frozenset[tuple[str, str | None]]) -> bool:
    """Whether two of these files, each with its build, are one library. Processes of one kind have the same files."""
    names = [name for path, _ in files if (name := _library(path)) is not None]
    return len(set(names)) < len(names)


def two_versions(case: Case) -> Finding | None:
    """One library is loaded in two builds or versions."""
    if not _any_twice(frozenset(map(_PATH, case.modules))):
        return None
    libraries = [(name, module) for module in case.modules if (name := _library(module.path)) is not None]
    by_name: dict[str, dict[tuple[str, str | None], Module]] = defaultdict(dict)
    for name, module in libraries:
        by_name[name][(module.path, module.build_id)] = module
    doubled = [list(found.values()) for found in by_name.values() if len(found) > 1]
    doubled = [found for found in doubled if len({module.build_id or module.path for module in found}) > 1]
    if not doubled:
        return None
    first = doubled[0]
    return Finding(
        rule="two-versions",
        topic=Topic.SETUP,
        title=f"Two versions of one library are loaded: {_ANY.sub('', file_name(first[0].path))}",
        confidence=Confidence.PROVED,
        evidence=tuple(
            f"{module.path} (build-id {(module.build_id or '?')[:16]}) is mapped at {module.start:#x}"
            for found in doubled
            for module in found
        ),
        explanation=(
            "Both have functions of the same names. Code built for the one may be given structures of the "
            "other, which "
            "ends in damaged memory. That two are loaded is certain; that it is the cause is not."
        ),
        next_steps=("ldd on the extensions and programs tells who asks for which; rebuild or update the odd one.",),
    )


def mismatched_extension(case: Case) -> Finding | None:
    """An extension was built for another PHP."""
    wrong = case.runtime.mismatched if case.runtime is not None else {}
    if not wrong:
        return None
    return Finding(
        rule="mismatched-extension",
        topic=Topic.SETUP,
        title=f"An extension was built for another PHP: {', '.join(wrong)}",
        confidence=Confidence.PROVED,
        evidence=tuple(f"{name}: {why}" for name, why in wrong.items()),
        explanation=(
            "PHP's structures change between versions. An extension built for another one reads and writes at wrong "
            "places: it damages memory wherever it works."
        ),
        next_steps=(f"Install the build of {next(iter(wrong))} for this PHP, or switch it off.",),
    )


def changed_code(case: Case) -> Finding | None:
    """Program code in memory differs from its file."""
    if not case.flips:
        return None
    flip = case.flips[0]
    single = flip.bits == 1 and flip.count == 1 and len(case.flips) == 1
    return Finding(
        rule="bit-flip" if single else "changed-code",
        topic=Topic.SETUP,
        title=f"One bit of the program code of {file_name(flip.module)} was wrong in memory (bit flip)"
        if single
        else f"Program code of {file_name(flip.module)} was changed in memory",
        confidence=Confidence.LIKELY if single else Confidence.PROVED,
        evidence=tuple(
            f"{item.module} at {item.address:#x}: the file has {item.expected:#04x}, memory had {item.found:#04x} "
            f"({plural(item.bits, 'bit')}; {plural(item.count, 'such place')})"
            for item in case.flips
        ),
        explanation=(
            "Nothing writes to program code. One wrong bit there is typical of faulty memory (RAM) or of a disk or "
            "network error: the software is innocent."
            if single
            else "Debuggers, tracers, and some monitoring and security tools patch code at run time. It may "
            "have been "
            "one of these, or code that writes to a wrong address."
        ),
        next_steps=(
            "Do all such crashes come from one machine? Check its memory (mcelog, rasdaemon, memtest86+) and take it "
            "out of service."
            if single
            else "Is a debugger, profiler or monitoring agent attached to these processes?",
        ),
    )


def truncated_core(case: Case) -> Finding | None:
    """The core is cut off: what cannot be said because of it."""
    if not case.truncated:
        return None
    return Finding(
        rule="truncated-core",
        topic=Topic.SETUP,
        title="The core is cut off: part of the memory is missing",
        confidence=Confidence.PROVED,
        evidence=("the file is shorter than its own headers say",),
        explanation=(
            "A size limit or a full disk cut it. What is missing cannot be checked, so that nothing was found "
            "damaged "
            "means little here."
        ),
        next_steps=(
            "Raise the limit (LimitCORE=infinity, ulimit -c unlimited; ProcessSizeMax= of systemd-coredump).",
        ),
    )


def _names(modules: list[Module]) -> str:
    names = [file_name(module.path) for module in modules]
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


SETUP: tuple[Callable[[Case], Finding | None], ...] = (
    replaced_files, mismatched_extension, changed_code, two_versions, other_build, truncated_core,
)  # fmt: skip
