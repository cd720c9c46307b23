"""Traits for crashes that were kept before triage read any: from the same files, found by build-id."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

from phps import home

from tests.lab import suites
from triage.errors import InputError
from triage.model import Crash
from triage.symbols.elffile import ElfFile
from triage.symbols.traits import tell


def with_traits(crash: Crash) -> Crash:
    """The crash as it would be read now; as it was read where a file is gone."""
    builds = {module.path: module.build_id for module in crash.modules}
    return replace(crash, threads=tuple(
        tell(thread, lambda path: _file(path, builds.get(path))) if thread.crashed else thread
        for thread in crash.threads))  # fmt: skip


@cache
def _file(path: str, build_id: str | None) -> ElfFile | None:
    roots = [Path("/"), *(suites.folder() / suite.name for suite in suites.SUITES)]
    for root in roots:
        place = root / path.lstrip("/")
        try:
            file = ElfFile(place)
        except (InputError, OSError):
            continue
        if build_id is not None and file.build_id == build_id:
            return file
    return _anywhere().get(build_id or "")


@cache
def _anywhere() -> dict[str, ElfFile]:
    """Every program and library of the corpus' folder by build-id."""
    found: dict[str, ElfFile] = {}
    for place in (home() / "builds", home() / "work", home() / "host"):
        for path in place.rglob("*"):
            if path.is_file() and not path.is_symlink() and path.suffix in ("", ".so") and "tree" not in path.parts:
                try:
                    file = ElfFile(path)
                except (InputError, OSError):
                    continue
                if file.build_id and not file.has_symtab:
                    found.setdefault(file.build_id, file)
    return found
