"""Debug information kept apart from a program: .gnu_debuglink, .gnu_debugaltlink, .gnu_debugdata."""

from __future__ import annotations

import lzma
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from triage.corefile.mapped import open_mapped
from triage.errors import InputError

_MOST = 512 << 20
_NAME = 4096


@dataclass(frozen=True, slots=True)
class DebugLink:
    """`.gnu_debuglink`: the name of the debug file, without a folder, and its CRC-32."""

    name: str
    crc: int


def debug_link(section: bytes) -> DebugLink | None:
    """The link in a section's bytes; a name with a folder in it is none of ours."""
    raw, _, _ = section[:_NAME].partition(b"\0")
    name = raw.decode("utf-8", "surrogateescape")
    if not name or "/" in name or len(section) < len(raw) + 5:
        return None
    return DebugLink(name, struct.unpack("<I", section[-4:])[0])


def alt_link(section: bytes) -> tuple[str, str] | None:
    """`(path, build-id)` of the file that dwz moved common parts to."""
    raw, found, build = section.partition(b"\0")
    return (raw.decode("utf-8", "surrogateescape"), build.hex()) if found and 0 < len(build) <= 64 else None


def mini_debug_data(section: bytes) -> bytes | None:
    """The ELF file within `.gnu_debugdata`, which has the names of static functions; None when damaged."""
    try:
        return lzma.LZMADecompressor(memlimit=256 << 20).decompress(section, _MOST)
    except (lzma.LZMAError, EOFError):
        return None


def places(program: Path, link: DebugLink, folders: tuple[Path, ...]) -> Iterator[Path]:
    """Where the linked file may be, in GDB's order (GDB manual, "Debugging Information in Separate Files")."""
    yield program.parent / link.name
    yield program.parent / ".debug" / link.name
    for folder in folders:
        yield folder / str(program.parent).lstrip("/") / link.name


def has_crc(path: Path, crc: int) -> bool:
    """Whether the regular file at `path` has that CRC-32."""
    try:
        contents = open_mapped(path)
    except InputError:
        return False
    total = 0
    for at in range(0, len(contents), 1 << 22):
        total = zlib.crc32(contents[at : at + (1 << 22)], total)
    return total == crc
