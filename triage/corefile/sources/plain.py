"""Inputs from plain paths: files, patterns, and folders with everything in them.

Nothing is left out in silence: a FIFO, a dangling link or a text file in the folder is an input
that fails with a reason when it is opened. Only files that belong to another input are: the parts of
an ABRT problem, apport's own marks, the JSON file beside a collected core.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from triage.corefile.sources import abrt, collected

_PATTERN = re.compile(r"[*?[]")
_PARTS = re.compile(r"\.#core\..*|.*\.(upload|uploaded|hanging|crash\.lock)|\.lock")
"""What systemd-coredump and apport leave beside their files."""


def find(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield every input under `paths` once, folders walked in name order; folders' links are not entered."""
    seen: set[Path] = set()
    for path in paths:
        for found in _matching(path):
            if found not in seen:
                seen.add(found)
                yield found


def _matching(path: Path) -> Iterator[Path]:
    """Inputs under the path, or under everything that it matches as a pattern."""
    if os.path.lexists(path) or not _PATTERN.search(str(path)):
        yield from _under(path)
        return
    for name in sorted(glob.iglob(str(path), recursive=True)):  # noqa: PTH207 — Path.glob has no absolute patterns
        yield from _under(Path(name))


def _under(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    unreadable: list[Path] = []

    def note(error: OSError) -> None:
        if error.filename is not None:
            unreadable.append(Path(error.filename))

    for folder, folders, files in os.walk(path, onerror=note):
        folders[:] = sorted(name for name in folders if name != collected.STATE)
        yield from _inputs(Path(folder), sorted(files))
    yield from unreadable


def _inputs(folder: Path, names: list[str]) -> Iterator[Path]:
    if abrt.is_problem(folder, names):
        yield abrt.core_of(folder, names)
        return
    for name in names:
        if _PARTS.fullmatch(name) or _is_sidecar(name):
            continue
        yield folder / name


def _is_sidecar(name: str) -> bool:
    """Whether it is a JSON file about a core; those of cores that were left out only count crashes."""
    return name.endswith(collected.SUFFIX)
