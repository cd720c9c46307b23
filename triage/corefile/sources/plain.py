"""Inputs from plain paths: files, and folders with everything in them.

Nothing is left out in silence: a FIFO, a dangling link or a text file in the folder is an input
that fails with a reason when it is opened.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path


def find(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield every input under `paths` once, folders walked in name order; folders' links are not entered."""
    seen: set[Path] = set()
    for path in paths:
        for found in _under(path):
            if found not in seen:
                seen.add(found)
                yield found


def _under(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    unreadable: list[Path] = []

    def note(error: OSError) -> None:
        if error.filename is not None:
            unreadable.append(Path(error.filename))

    for folder, folders, files in os.walk(path, onerror=note):
        folders.sort()
        for name in sorted(files):
            yield Path(folder, name)
    yield from unreadable
