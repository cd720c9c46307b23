"""Which cores are kept: a crash loop of one program must not push out the only core of another."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

STATE = ".state"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Sizes in bytes, `window` in seconds.

    Within a window the first `first` cores of a program are kept, then every `nth`. All cores together
    take at most `total`, one at most `largest`, and `reserve` stays free on the disk.
    """

    first: int = 5
    nth: int = 10
    window: int = 3600
    largest: int = 16 << 30
    total: int = 20 << 30
    reserve: int = 1 << 30


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One at a time: takers run side by side."""
    (folder / STATE).mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(folder / STATE / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def wanted(folder: Path, program: str, now: float, bounds: Bounds) -> tuple[bool, int]:
    """`(keep this core?, how many of this program there were in the window)`. Counts this one."""
    place = folder / STATE / f"{hashlib.sha256(os.fsencode(program)).hexdigest()[:24]}.json"
    begun, count = now, 0
    with suppress(OSError, ValueError, KeyError, TypeError):  # no count yet, or a damaged one: it begins anew
        state = json.loads(place.read_text())
        if 0 <= now - float(state["begun"]) < bounds.window:
            begun, count = float(state["begun"]), int(state["count"])
    count += 1
    place.write_text(json.dumps({"begun": begun, "count": count, "program": program}))
    return count <= bounds.first or (count - bounds.first) % bounds.nth == 0, count


def make_room(folder: Path, bounds: Bounds) -> list[str]:
    """Delete cores until they fit: always the oldest of the program that has most of them, never its last one."""
    gone = []
    groups: defaultdict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.glob("*.core*"), key=_time):
        groups[path.name.rsplit("-", 2)[0]].append(path)
    total = sum(_size(path) for paths in groups.values() for path in paths)
    while total > bounds.total:
        largest = max(groups.values(), key=lambda paths: (len(paths) > 1, sum(map(_size, paths))), default=[])
        if len(largest) < 2:
            break
        oldest = largest.pop(0)
        total -= _size(oldest)
        with suppress(OSError):
            oldest.unlink()
            gone.append(oldest.name)
    return gone


def _size(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_blocks * 512
    return 0


def _time(path: Path) -> float:
    with suppress(OSError):
        return path.stat().st_mtime
    return 0.0


def free(folder: Path) -> int:
    """Bytes that may still be written."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize
