"""A folder of our own for unpacked cores, which leaves nothing behind even when we are killed."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from triage.errors import EnvironmentLacks

_PREFIX = "unpacked-"


class Scratch:
    """A folder 0700 below `base`, made at first use. Use as a context manager.

    Each run holds a lock on its own folder; one whose lock is free belongs to a run that was killed,
    and is removed.
    """

    def __init__(self, base: Path) -> None:
        self._base = base
        self._lock: int | None = None
        self._folder: Path | None = None

    def __enter__(self) -> Scratch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def file(self) -> Path:
        """A fresh empty file, 0600. The caller removes it.

        Raises:
            EnvironmentLacks: when the folder cannot be made.
        """
        try:
            folder = self._made()
            descriptor, name = tempfile.mkstemp(prefix="core-", dir=folder)
            os.close(descriptor)
        except OSError as error:
            raise EnvironmentLacks(
                f"cannot unpack cores below {self._base}: {error.strerror}",
                help="Set XDG_CACHE_HOME to a folder this user may write to, on a disk with room.",
            ) from error
        return Path(name)

    def folder(self) -> Path:
        """A fresh empty folder, 0700. The caller removes it. Raises as `file`."""
        place = self.file()
        place.unlink()
        place.mkdir(0o700)
        return place

    def close(self) -> None:
        """Remove the folder with what is in it."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _made(self) -> Path:
        if self._folder is None:
            self._base.mkdir(mode=0o700, parents=True, exist_ok=True)
            _sweep(self._base)
            self._folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self._base))
            self._lock = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        return self._folder


def _sweep(base: Path) -> None:
    """Remove what killed runs left."""
    for folder in base.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # another run removes it at the same time, or it is not ours
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
            finally:
                os.close(lock)
