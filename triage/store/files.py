"""Files and folders that only their owner can read, whatever the umask.

A store holds request URIs, arguments and messages of production processes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from triage.errors import EnvironmentLacks, UsageError

# SQLite would take a file shorter than its smallest page for an empty one, and write over it.
_SMALLEST = 512

_CREATE = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW


def prepare(path: Path) -> None:
    """Make the file at `path`, empty, and the folders above it, unless they exist.

    Raises:
        UsageError: when `path` is something else than a file.
        EnvironmentLacks: when the system refuses.
    """
    try:
        make_folder(path.parent)
        _make_file(path)
        found = path.stat()
    except OSError as error:
        raise EnvironmentLacks(
            f"cannot create the store {path}: {error.strerror}",
            help="Choose a writable place with --store PATH or TRIAGE_STORE.",
        ) from error
    if not stat.S_ISREG(found.st_mode):
        raise UsageError(f"{path} is not a file", help="Give --store the path of a file.")
    if 0 < found.st_size < _SMALLEST:
        raise not_a_database(path)


def not_a_database(path: Path | str) -> UsageError:
    """The error for a file whose content is something else."""
    return UsageError(f"{path} is not a triage store: it is no SQLite database", help="Check --store.")


def make_folder(folder: Path) -> None:
    """Make `folder` and those above it that are missing, each 0700. Raises OSError."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    try:
        folder.mkdir(0o700)
    except FileExistsError:
        return  # another process was faster; if it is no folder, the next step fails
    folder.chmod(0o700)  # a umask such as 0777 takes even the owner's bits


def open_private(path: Path) -> int:
    """A descriptor of the file at `path`, made with 0600 if missing. Raises OSError."""
    descriptor = os.open(path, _CREATE, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
    except PermissionError:
        pass  # another user's file that we may write: its mode is that user's affair
    return descriptor


def tighten(paths: Iterable[Path]) -> None:
    """Take everyone else's permissions off those of our own files that exist."""
    for path in paths:
        try:
            found = path.lstat()
            if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and found.st_mode & 0o077:
                path.chmod(0o600)
        except FileNotFoundError:
            continue  # -wal and -shm come and go


def _make_file(path: Path) -> None:
    # O_EXCL: an existing file is not opened, since closing any descriptor of a database drops the
    # locks which SQLite holds on it in this process.
    try:
        descriptor = os.open(path, _CREATE | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    try:
        os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)
