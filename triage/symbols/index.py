"""ELF files under a folder by their build-ids, whatever they are called there.

A folder of unpacked packages, an exported image, a share with every build ever shipped: each is walked
once, and what was learned is kept in the cache until a file changes.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from triage.config import cache_folder
from triage.corefile import elf
from triage.errors import InputError

_HEAD = 1 << 16
_MOST = 500_000
_FORMAT = 1


class Index:
    """Paths by build-id for one folder. Walked at the first question."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._paths: Mapping[str, list[str]] | None = None

    def paths(self, build_id: str) -> list[Path]:
        """Every file of that build under the folder: programs, libraries, separate debug files."""
        if self._paths is None:
            self._paths = self._read()
        return [Path(path) for path in self._paths.get(build_id, ())]

    def _read(self) -> Mapping[str, list[str]]:
        known = self._cached()
        fresh: dict[str, list[object]] = {}
        found: defaultdict[str, list[str]] = defaultdict(list)
        for path, stamp in _files(self._folder):
            entry = known.get(path)
            build = entry[1] if entry is not None and entry[0] == stamp else _build_id(path)
            fresh[path] = [stamp, build]
            if isinstance(build, str):
                found[build].append(path)
        if fresh != known:
            self._keep(fresh)
        return found

    @property
    def _cache(self) -> Path:
        name = hashlib.sha256(os.fsencode(self._folder.absolute())).hexdigest()[:24]
        return cache_folder() / "build-ids" / f"{name}.json"

    def _cached(self) -> dict[str, list[object]]:
        try:
            kept = json.loads(self._cache.read_text())
        except (OSError, ValueError):
            return {}  # none yet, or damaged: it is made anew
        files = kept.get("files") if isinstance(kept, dict) and kept.get("format") == _FORMAT else None
        return files if isinstance(files, dict) else {}

    def _keep(self, files: Mapping[str, list[object]]) -> None:
        target = self._cache
        with suppress(OSError):  # without a cache the next run walks again
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary = target.with_suffix(f".{os.getpid()}")
            temporary.write_text(json.dumps({"format": _FORMAT, "files": files}))
            temporary.replace(target)


def _files(folder: Path) -> Iterator[tuple[str, str]]:
    """`(path, stamp)` of the regular files, links not followed."""
    count = 0
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = f"{place}/{name}"
            with suppress(OSError):
                status = os.lstat(path)
                if stat.S_ISREG(status.st_mode) and status.st_size >= 64:
                    count += 1
                    if count > _MOST:
                        return
                    yield path, f"{status.st_size}:{status.st_mtime_ns}"


def _build_id(path: str) -> str | None:
    """The build-id from the file's head; separate debug files keep their notes at the place of the program's."""
    try:
        with Path(path).open("rb") as stream:
            head = stream.read(_HEAD)
            if head[:4] != b"\x7fELF":
                return None
            header = elf.read_header(head)
            for segment in elf.read_segments(head, header):
                if segment.type == elf.PT_NOTE and 0 < segment.file_size <= _HEAD:
                    stream.seek(segment.offset)
                    found = elf.build_id(stream.read(segment.file_size), segment.align)
                    if found:
                        return found
    except (OSError, InputError):
        return None
    return None
