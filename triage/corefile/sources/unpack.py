"""A core streamed out of its wrapping into a sparse file, within bounds.

A few kB can unpack to many GB. A core's own headers say how large it is, so a stream that is no
core is given up at once, and one that goes on past its core's end is cut there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from triage.corefile import elf
from triage.corefile.sources.streams import Broken
from triage.errors import InputError
from triage.text import size

_HEAD = 8 << 20
"""Enough for the segment table of a core with 100,000 mappings."""
_BLOCK = 1 << 16
_LOOK_EVERY = 16 << 20
_NOTHING = bytes(_BLOCK)


@dataclass(frozen=True, slots=True)
class Bounds:
    """The largest core that is unpacked, and what must stay free on the disk; both in bytes."""

    largest: int = 64 << 30
    reserve: int = 512 << 20
    free: Callable[[int], int] = lambda descriptor: free_bytes(descriptor)


def free_bytes(descriptor: int) -> int:
    """What a user may still write to the disk of an open file."""
    found = os.fstatvfs(descriptor)
    return found.f_bavail * found.f_frsize


def write_sparse(chunks: Iterable[bytes], target: Path, bounds: Bounds) -> str | None:
    """Write a core's bytes to the file at `target`, zeros as holes; says what was amiss with the stream.

    Raises:
        InputError: `not-a-core`, `too-large` or `no-space`; the target is then of no use.
    """
    stream = _Guarded(iter(chunks))
    head = stream.head()
    whole = _whole_size(head)
    if whole > bounds.largest:
        raise InputError(
            "too-large",
            f"unpacked it would take {size(whole)}; the limit is {size(bounds.largest)}",
            help="Raise it with --max-core, on a machine with that much room.",
        )
    with target.open("r+b", buffering=0) as out:
        written = _Writer(out.fileno(), bounds)
        for chunk in stream.rest(head):
            written.add(chunk[: max(0, whole - written.at)])
            if written.at >= whole:
                break
        os.ftruncate(out.fileno(), written.at)
    return stream.amiss


class _Guarded:
    """A stream that ends where it breaks, and remembers how."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self.amiss: str | None = None

    def _next(self) -> bytes | None:
        try:
            return next(self._chunks, None)
        except Broken as broken:
            self.amiss = str(broken)
            return None

    def head(self) -> bytes:
        """The beginning, as much as the segment table may need."""
        pieces = bytearray()
        while len(pieces) < _HEAD and (len(pieces) < 4 or pieces[:4] == b"\x7fELF"):
            chunk = self._next()
            if chunk is None:
                break
            pieces += chunk
        return bytes(pieces)

    def rest(self, head: bytes) -> Iterator[bytes]:
        """The head again, then everything after it."""
        yield head
        while self.amiss is None and (chunk := self._next()) is not None:
            yield chunk


def _whole_size(head: bytes) -> int:
    """How large the core is, by its own headers. Raises InputError when it is none."""
    header = elf.read_header(head)
    if header.type != elf.ET_CORE:
        raise InputError("not-a-core", f"not a core dump but {elf.TYPES.get(header.type, 'another ELF file')}")
    segments = elf.read_segments(head, header)
    return max((segment.offset + segment.file_size for segment in segments), default=len(head))


class _Writer:
    """Writes blocks that hold something, skips the others."""

    def __init__(self, descriptor: int, bounds: Bounds) -> None:
        self._descriptor = descriptor
        self._bounds = bounds
        self._since_look = _LOOK_EVERY
        self.at = 0

    def add(self, chunk: bytes) -> None:
        for begin in range(0, len(chunk), _BLOCK):
            block = chunk[begin : begin + _BLOCK]
            if block != _NOTHING[: len(block)]:
                self._put(block)
            self.at += len(block)

    def _put(self, block: bytes) -> None:
        self._since_look += len(block)
        if self._since_look >= _LOOK_EVERY:
            self._since_look = 0
            self._look()
        try:
            os.pwrite(self._descriptor, block, self.at)
        except OSError as error:
            raise _no_space(os.strerror(error.errno or 0), self.at) from error

    def _look(self) -> None:
        free = self._bounds.free(self._descriptor)
        if free < self._bounds.reserve:
            raise _no_space(f"{size(free)} are free, and {size(self._bounds.reserve)} must stay free", self.at)


def _no_space(why: str, done: int) -> InputError:
    return InputError(
        "no-space",
        f"no room to unpack it: {why} ({size(done)} were unpacked)",
        help="Make room, or set XDG_CACHE_HOME to a folder on another disk. The next run tries again.",
    )
