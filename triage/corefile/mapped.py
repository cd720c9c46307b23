"""A file opened without following surprises, and mapped without being loaded."""

from __future__ import annotations

import errno
import mmap
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from triage.corefile.elf import Buffer
from triage.errors import InputError

_KINDS = (
    (stat.S_ISDIR, "directory", "a directory"),
    (stat.S_ISFIFO, "fifo", "a named pipe (FIFO): reading it could wait for ever"),
    (stat.S_ISSOCK, "socket", "a socket"),
    (stat.S_ISCHR, "device", "a device"),
    (stat.S_ISBLK, "device", "a device"),
)


def describe_kind(mode: int) -> tuple[str, str] | None:
    """`(code, words)` for anything that is not a regular file, else `None`."""
    if stat.S_ISREG(mode):
        return None
    for test, code, words in _KINDS:
        if test(mode):
            return code, words
    return None


def open_regular(path: Path, *, follow: bool = True) -> int:
    """Open a regular file for reading and return its descriptor; a link is an error unless `follow`.

    Opens without blocking, so a FIFO that appears between a look and the open cannot hang us.

    Raises:
        InputError: with the code `missing`, `dangling-link`, `unreadable`, `fifo`, `directory`, ….
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY | (0 if follow else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        raise _refusal(path, error) from error
    other = describe_kind(os.fstat(descriptor).st_mode)
    if other is not None:
        os.close(descriptor)
        raise InputError(other[0], f"not a regular file but {other[1]}")
    return descriptor


def _refusal(path: Path, error: OSError) -> InputError:
    if error.errno == errno.ENOENT and path.is_symlink():
        return InputError("dangling-link", "a symbolic link whose target does not exist")
    if error.errno == errno.ENOENT:
        return InputError("missing", "no such file")
    if error.errno == errno.ELOOP:
        return InputError("link-loop", "a symbolic link that leads back to itself")
    if error.errno in (errno.EACCES, errno.EPERM):
        return InputError(
            "unreadable",
            "permission denied",
            help="Run triage as the owner of the core, or as root.",
        )
    if error.errno == errno.ENXIO:
        return InputError("socket", "not a regular file but a socket or an unconnected device")
    return InputError("unreadable", os.strerror(error.errno or 0))


class Mapped(mmap.mmap):
    """A file's map, and a way past it.

    The first touch of a stretch of a map costs the kernel as much as eight short reads: it maps 16 pages then,
    and takes each of them away again in the end.
    """

    descriptor = -1

    def fetch(self, at: int, size: int) -> bytes:
        """So many bytes of the file, fewer where it ends: for what is looked at once."""
        return os.pread(self.descriptor, size, at)


def open_mapped(path: Path) -> Buffer:
    """Map a regular file read-only; an empty one gives empty bytes. Unmapped when collected.

    Raises:
        InputError: see `open_regular`; also `unreadable` when it cannot be mapped.
    """
    descriptor = open_regular(path)
    try:
        return _map(descriptor)
    finally:
        os.close(descriptor)


def _map(descriptor: int) -> Mapped | bytes:
    try:
        if os.fstat(descriptor).st_size == 0:
            return b""
        return Mapped(descriptor, 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise InputError("unreadable", f"cannot be mapped: {error}") from error


@contextmanager
def mapped(path: Path) -> Iterator[Buffer]:
    """`open_mapped` for the length of a `with` block, for a file of which little is read, here and there.

    The kernel is told so: else it reads 32 pages for each one that is asked for.
    """
    descriptor = open_regular(path)
    try:
        view = _map(descriptor)
        if not isinstance(view, Mapped):
            yield view
            return
        with view:
            view.madvise(mmap.MADV_RANDOM)
            view.descriptor = descriptor
            try:
                yield view
            finally:
                view.descriptor = -1  # another file may get its number
    finally:
        os.close(descriptor)
