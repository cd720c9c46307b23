"""Makes packs: see `triage.corefile.sources.packed` for what is in one."""

from __future__ import annotations

import json
import os
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import zstandard

from triage.corefile import CoreFile
from triage.corefile.modules import VDSO
from triage.corefile.sources.packed import CORE, FORMAT, MANIFEST, RECORD
from triage.model import Crash
from triage.pack.strip import without_memory
from triage.symbols import Finder
from triage.symbols.elffile import ElfFile
from triage.symbols.proven import proven_files
from triage.symbols.separate import alt_link
from triage.wholefile import whole_file
from triage.wire import crash_to_json

_LEVEL = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """What was put in. `missing` are modules whose file of that very build is not on this machine."""

    path: Path
    bytes: int
    files: tuple[str, ...]
    debug_files: int
    missing: tuple[str, ...]


def make_pack(core: CoreFile, crash: Crash, finder: Finder, target: Path, *, memory: bool) -> Packed:
    """Write the pack of an open core, 0600, whole or not at all.

    Without `memory` the core keeps registers and native stacks only, and the crash's record goes along.

    Raises:
        EnvironmentLacks: when it cannot be written.
    """
    files, debug = _files(core, finder), dict(_debug_files(core, finder))
    links = _links(files)
    located = {module.path for module in core.modules if finder.locate(module).file is not None}
    wanted = [module.path for module in core.modules if module.path != VDSO]
    manifest = {
        "format": FORMAT,
        "memory": memory,
        "host": crash.host,
        "time": crash.time.isoformat() if crash.time else None,
        "crash": crash.id,
        "executable": crash.executable,
        "links": links,
        "modules": [{"path": m.path, "build_id": m.build_id, "packed": m.path in located} for m in core.modules],
    }
    with (
        whole_file(target, mode=0o600, help="Choose another place with -o, on a disk with room.") as out,
        zstandard.ZstdCompressor(level=_LEVEL).stream_writer(out, closefd=False) as packer,
        tarfile.open(fileobj=packer, mode="w|", format=tarfile.GNU_FORMAT) as archive,
    ):
        _text(archive, MANIFEST, json.dumps(manifest))
        if not memory:
            _text(archive, RECORD, json.dumps(crash_to_json(crash)))
        _core(archive, core, memory=memory)
        for name, path in sorted(files.items()):
            if name not in links:
                _file(archive, "root/" + "/".join(_parts(name)), path)
        for build, path in sorted(debug.items()):
            _file(archive, f"debug/.build-id/{build[:2]}/{build[2:]}.debug", path)
    return Packed(
        path=target,
        bytes=target.stat().st_size,
        files=tuple(sorted(set(files) - set(links))),
        debug_files=len(debug),
        missing=tuple(path for path in wanted if path not in located),
    )


def _files(core: CoreFile, finder: Finder) -> Mapping[str, Path]:
    """Proven files by every name the process knew them by."""
    return {name: path for name, path in proven_files(core, finder).items() if name.startswith("/")}


def _links(files: Mapping[str, Path]) -> dict[str, str]:
    """Names for a file that is there under another one: a library is known by its link and by its own name."""
    first: dict[Path, str] = {}
    links = {}
    for name, path in files.items():
        whole = path.resolve()
        if whole in first:
            links[name] = first[whole]
        else:
            first[whole] = name
    return links


def _parts(name: str) -> list[str]:
    return [part for part in name.split("/") if part not in ("", ".", "..")]


def _debug_files(core: CoreFile, finder: Finder) -> Iterator[tuple[str, Path]]:
    """Debug files by build-id, and what dwz moved out of them."""
    for module in core.modules:
        located = finder.locate(module)
        if located.debug is None or module.build_id is None:
            continue
        yield module.build_id, located.debug
        common = alt_link(ElfFile(located.debug).section(".gnu_debugaltlink"))
        if common is None:
            continue
        name, build = common
        for path in (
            *(folder / ".build-id" / build[:2] / f"{build[2:]}.debug" for folder in finder.debug_dirs),
            Path(name) if name.startswith("/") else located.debug.parent / name,
        ):
            if path.is_file() and ElfFile(path).build_id == build:
                yield build, path
                break


def _core(archive: tarfile.TarFile, core: CoreFile, *, memory: bool) -> None:
    if memory:
        _file(archive, CORE, core.path)
        return
    with tempfile.TemporaryFile() as stream:
        size = without_memory(core, stream)
        stream.seek(0)
        archive.addfile(_entry(CORE, size), stream)


def _file(archive: tarfile.TarFile, name: str, path: Path) -> None:
    with path.open("rb") as stream:
        archive.addfile(_entry(name, os.fstat(stream.fileno()).st_size), stream)


def _text(archive: tarfile.TarFile, name: str, text: str) -> None:
    data = text.encode()
    archive.addfile(_entry(name, len(data)), BytesIO(data))


def _entry(name: str, size: int) -> tarfile.TarInfo:
    """No times, owners or modes of this machine: the same input gives the same archive."""
    entry = tarfile.TarInfo(name)
    entry.size = size
    entry.mode = 0o600
    return entry
