"""Packs of `triage pack`: a core and every file it needs, in one tar archive compressed with zstd.

`pack.json` comes first and says what it is; then `core`, the programs and libraries under `root/` at the
paths the process knew, and their debug files under `debug/.build-id/`. Nothing else is unpacked, no
links, and nothing outside the folder.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import IO, Any, BinaryIO

import zstandard

from triage.corefile.sources import streams
from triage.corefile.sources.unpack import Bounds, free_bytes, write_sparse
from triage.errors import InputError
from triage.model import Origin
from triage.text import size

FORMAT = "triage-pack-1"
MANIFEST, CORE, RECORD = "pack.json", "core", "crash.json"
_DEBUG = re.compile(r"debug/\.build-id/[0-9a-f]{2}/[0-9a-f]{1,126}\.debug")
_LARGEST_JSON = 64 << 20
_MAGIC_AT, _MAGIC = 257, b"ustar"


@dataclass(frozen=True, slots=True)
class Pack:
    """What was unpacked. `record` is the crash's JSON, where the pack carries no memory to read it from."""

    core: Path
    origin: Origin
    remarks: tuple[str, ...]
    record: str | None


def is_pack(descriptor: int) -> bool:
    """Whether the zstd file is a tar archive that begins with our manifest."""
    with open(descriptor, "rb", closefd=False) as stream:
        try:
            with zstandard.ZstdDecompressor().stream_reader(stream, closefd=False) as reader:
                head = reader.read(512)
        except zstandard.ZstdError:
            return False
        finally:
            stream.seek(0)
    return head[_MAGIC_AT : _MAGIC_AT + 5] == _MAGIC and head.startswith(MANIFEST.encode() + b"\0")


def unpack(stream: BinaryIO, folder: Path, bounds: Bounds) -> Pack:
    """Unpack into an empty folder.

    Raises:
        InputError: `damaged`, or as `unpack.write_sparse`.
    """
    manifest: Mapping[str, Any] = {}
    record = amiss = None
    found = False
    plain = zstandard.ZstdDecompressor(max_window_size=256 << 20).stream_reader(stream, closefd=False)
    try:
        with tarfile.open(fileobj=plain, mode="r|") as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isreg() else None
                if content is None:
                    continue
                if member.name == MANIFEST:
                    manifest = _json(content)
                elif member.name == RECORD:
                    record = content.read(_LARGEST_JSON).decode("utf-8", "replace")
                elif member.name == CORE:
                    amiss = _core(content, folder / CORE, bounds)
                    found = True
                else:
                    _file(member, content, folder, bounds)
    except (tarfile.TarError, zstandard.ZstdError, EOFError, OSError) as error:
        if not found:
            raise InputError("damaged", f"a damaged pack: {error}") from error
        amiss = f"it is cut off ({error})"
    if not found or manifest.get("format") != FORMAT:
        raise InputError("damaged", "a damaged pack: there is no core in it")
    _link(manifest.get("links"), folder / "root")
    remarks = (f"the pack ends early: {amiss}",) if amiss else ()
    return Pack(folder / CORE, _origin(manifest), remarks, record if manifest.get("memory") is False else None)


def _core(content: IO[bytes], target: Path, bounds: Bounds) -> str | None:
    target.touch(0o600)
    try:
        return write_sparse(_chunks(content), target, bounds)
    except InputError as error:
        if error.code in ("empty", "truncated"):
            raise InputError("damaged", "a damaged pack: it is cut off before its core is whole") from error
        raise


def _json(content: IO[bytes]) -> Mapping[str, Any]:
    try:
        found = json.loads(content.read(_LARGEST_JSON))
    except (ValueError, RecursionError) as error:
        raise InputError("damaged", f"a damaged pack: {error}") from error
    return found if isinstance(found, dict) else {}


def _chunks(content: IO[bytes]) -> Iterator[bytes]:
    while chunk := content.read(streams.CHUNK):
        yield chunk


def _file(member: tarfile.TarInfo, content: IO[bytes], folder: Path, bounds: Bounds) -> None:
    """One program, library or debug file, if it has a place under `root/` or `debug/`."""
    parts = member.name.split("/")
    if ".." in parts or "" in parts or not (_DEBUG.fullmatch(member.name) or parts[0] == "root") or len(parts) < 2:
        return
    target = folder.joinpath(*parts)
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with target.open("xb") as out:
        if free_bytes(out.fileno()) - member.size < bounds.reserve or member.size > bounds.largest:
            raise InputError("no-space", f"no room to unpack {size(member.size)} of the pack")
        for chunk in _chunks(content):
            out.write(chunk)


def _link(links: object, root: Path) -> None:
    """Second names of files, as links that `symbols.finder.resolve` keeps within the folder."""
    for name, target in links.items() if isinstance(links, dict) else ():
        parts = [part for part in str(name).split("/") if part]
        if not parts or ".." in parts:
            continue
        place = root.joinpath(*parts)
        if not place.exists() and not place.is_symlink():
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            place.symlink_to("/" + str(target).lstrip("/"))


def _origin(manifest: Mapping[str, Any]) -> Origin:
    """The time and host of the machine it was made on."""
    origin = Origin(kind="pack")
    host, stamp = manifest.get("host"), manifest.get("time")
    if isinstance(stamp, str):
        try:
            origin = replace(origin, time=datetime.fromisoformat(stamp), time_from="pack")
        except ValueError:
            pass  # then the time is not known
    return replace(origin, host=host if isinstance(host, str) else None)
